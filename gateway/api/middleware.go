package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
)

// Limits of a request.
const bodyLimit = 1 << 20 // bytes; an import streams and has none

// shield puts around everything what every answer needs: the headers that
// browsers obey, the check of the host, and a catch for our own faults.
func (s *Server) shield(next http.Handler, host func(name string) bool) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(s.plain(func(http.ResponseWriter, *http.Request) error {
		return forbidden("another site's page sent this request")
	}))
	inner := crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSecurityHeaders(w.Header(), r.URL.Path)
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.cfg.Logger.Error("recovering from a panic", "path", r.URL.Path, "panic", p,
				"stack", string(debug.Stack()))
			writeError(w, r, s.cfg.Logger, fmt.Errorf("panic: %v", p))
		}()
		if !host(hostOnly(r.Host)) {
			writeError(w, r, s.cfg.Logger, statusError{
				http.StatusMisdirectedRequest,
				"this gateway is not called " + clip(r.Host) + "; the flag --name adds a name",
			})
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// contentSecurityPolicy of answers that are no page; the page sets its own.
const contentSecurityPolicy = "default-src 'none'; frame-ancestors 'none'"

// setSecurityHeaders sets what browsers obey, on every answer.
func setSecurityHeaders(h http.Header, path string) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if strings.HasPrefix(path, "/api/") {
		h.Set("Cache-Control", "no-store")
	}
}

// hostOnly cuts the port from a Host header.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return strings.ToLower(h)
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

// plain adapts a handler that needs no credentials.
func (s *Server) plain(h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			writeError(w, r, s.cfg.Logger, err)
		}
	})
}

// guarded adapts a route's handler: credentials, then role, then the call.
func (s *Server) guarded(rt route, who func(*http.Request) (principal, error)) http.Handler {
	return s.plain(func(w http.ResponseWriter, r *http.Request) error {
		if rt.need != open {
			asked := r
			ask := func() (principal, error) {
				p, err := who(asked)
				if err == nil && !p.Role.Allows(rt.need) {
					err = forbidden(fmt.Sprintf("this needs the role %s; you are %s", rt.need, p.Role))
				}
				return p, err
			}
			p, err := ask()
			if err != nil {
				return err
			}
			ctx := context.WithValue(r.Context(), principalKey{}, p)
			r = r.WithContext(context.WithValue(ctx, againKey{}, func() error {
				_, err := ask()
				return err
			}))
		}
		if r.Body != nil && rt.operation != "importReadings" {
			r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		}
		return rt.handle(w, r)
	})
}

// sameOrigin reports whether a request comes from a page of this gateway, or
// from no page at all. CrossOriginProtection asks this of methods with effect
// only; the live stream asks it, too.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}
