package api

import (
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// principal is who is asking.
type principal struct {
	ID   gateway.MemberID // 0 for the CLI, the demo and tokens of the CLI
	Name string
	Role gateway.Role
	via  string
}

// Ways in which a principal came.
const (
	viaSession = "session"
	viaToken   = "token"
	viaSocket  = "cli"
	viaDemo    = "demo"
)

// principalKey is where a request's context holds its principal.
type principalKey struct{}

// againKey is where a request's context holds a func() error that asks once
// more whether the principal may make this request.
type againKey struct{}

// principalOf returns who is asking, in a handler that needs a role.
func principalOf(r *http.Request) principal {
	p, _ := r.Context().Value(principalKey{}).(principal)
	return p
}

// source says who asked, for events and commands.
func source(r *http.Request) gateway.Source {
	p := principalOf(r)
	kind := "api"
	if p.via == viaSocket {
		return gateway.Source{Kind: "cli"}
	}
	return gateway.Source{Kind: kind, Member: p.Name, Remote: remoteHost(r)}
}

// remoteHost returns the address that a request came from, without the port.
func remoteHost(r *http.Request) string {
	if h, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return h
	}
	return r.RemoteAddr
}

// Lives of a session.
const (
	sessionIdle     = 12 * gateway.Hour
	sessionAbsolute = 30 * 24 * gateway.Hour
	sessionCookie   = "wattle_session"
)

// authenticate tells who sent a request from the network.
func (s *Server) authenticate(r *http.Request) (principal, error) {
	if s.cfg.Demo {
		return principal{Name: "demo", Role: gateway.RoleOwner, via: viaDemo}, nil
	}
	if header := r.Header.Get("Authorization"); header != "" {
		key, ok := strings.CutPrefix(header, "Bearer ")
		if !ok {
			return principal{}, unauthorized("the Authorization header must be Bearer TOKEN")
		}
		return s.byToken(r, key)
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		return s.bySession(r, c.Value)
	}
	return principal{}, unauthorized("log in, or send a token")
}

func (s *Server) byToken(r *http.Request, key string) (principal, error) {
	t, err := s.cfg.Tokens.TokenByHash(r.Context(), sha256.Sum256([]byte(key)))
	switch {
	case gateway.CodeOf(err) == gateway.CodeNotFound && err != nil:
		return principal{}, unauthorized("this token is not known; it may have been revoked")
	case err != nil:
		return principal{}, err
	case t.Expires != 0 && t.Expires <= s.now():
		return principal{}, unauthorized("this token has expired")
	}
	return principal{ID: t.Member, Name: t.Name, Role: t.Role, via: viaToken}, nil
}

func (s *Server) bySession(r *http.Request, key string) (principal, error) {
	hash := sha256.Sum256([]byte(key))
	m, err := s.cfg.Members.Session(r.Context(), hash, s.now())
	if gateway.CodeOf(err) == gateway.CodeNotFound && err != nil {
		return principal{}, unauthorized("the session has ended; log in again")
	}
	if err != nil {
		return principal{}, err
	}
	if s.throttle.due(hash, s.cfg.Now()) {
		if err := s.cfg.Members.TouchSession(r.Context(), hash, s.now()+sessionIdle); err != nil {
			s.cfg.Logger.WarnContext(r.Context(), "prolonging a session", "err", err)
		}
	}
	return principal{ID: m.ID, Name: m.Name, Role: m.Role, via: viaSession}, nil
}

// login checks name and password and begins a session.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	remote := remoteHost(r)
	if wait := s.throttle.guess(remote, s.cfg.Now()); wait > 0 {
		w.Header().Set("Retry-After", retryAfter(wait))
		return statusError{http.StatusTooManyRequests, "too many wrong passwords from here; wait a while"}
	}
	m, hash, err := s.cfg.Members.MemberByName(r.Context(), in.Username)
	if err != nil && gateway.CodeOf(err) != gateway.CodeNotFound {
		return err
	}
	if !s.hasher.Matches(hash, in.Password) || err != nil {
		return unauthorized("name or password is wrong")
	}
	s.throttle.right(remote, s.cfg.Now())
	key, keyHash := newSecret(sessionBits)
	now := s.now()
	if err := s.cfg.Members.AddSession(r.Context(), keyHash, m.ID, now,
		now+sessionIdle, now+sessionAbsolute); err != nil {
		return err
	}
	s.event(r.Context(), gateway.Event{
		Kind: gateway.EventLogin, Text: m.Name + " logged in",
		Source: gateway.Source{Kind: "api", Member: m.Name, Remote: remote},
	})
	http.SetCookie(w, s.cookie(r, key, int(sessionAbsolute/gateway.Second)))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

// logout ends the session, if there is one.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(sessionCookie); err == nil {
		hash := sha256.Sum256([]byte(c.Value))
		err := s.cfg.Members.DeleteSession(r.Context(), hash)
		if err != nil && gateway.CodeOf(err) != gateway.CodeNotFound {
			return err
		}
	}
	http.SetCookie(w, s.cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// getSession tells who is asking.
func (s *Server) getSession(w http.ResponseWriter, r *http.Request) error {
	p := principalOf(r)
	return writeJSON(w, http.StatusOK, map[string]any{
		"username": p.Name, "role": p.Role, "demo": s.cfg.Demo,
	})
}

// errNotRunning is the answer to what needs the running gateway.
var errNotRunning = errors.New("the gateway does not run; start it with `wattle serve`")
