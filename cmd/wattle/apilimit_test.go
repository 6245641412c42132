package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/wattle-home/wattle/gateway"
)

// TestAPI_loginDoesNotVoidTheThrottle guesses at one member's password from
// where another logs in.
func TestAPI_loginDoesNotVoidTheThrottle(t *testing.T) {
	g := startGateway(t)
	for _, name := range []string{"anna", "boris"} {
		g.must("POST", "/members", map[string]string{"name": name, "role": "owner", "password": "correct horse"}, nil)
	}
	login := func(name, password string) answer {
		return g.doAs("", "POST", "/api/v1/login", map[string]string{"username": name, "password": password})
	}
	for range 19 {
		if a := login("anna", "a wrong horse"); a.status != http.StatusUnauthorized {
			t.Fatalf("a guess: got %d %s", a.status, a.body)
		}
	}
	if a := login("boris", "correct horse"); a.status != http.StatusNoContent {
		t.Fatalf("a login: got %d %s", a.status, a.body)
	}
	if a := login("anna", "a wrong horse"); a.status != http.StatusUnauthorized {
		t.Fatalf("the last guess: got %d %s", a.status, a.body)
	}
	a := login("anna", "correct horse")
	if a.status != http.StatusTooManyRequests {
		t.Fatalf("a guess too many: got %d %s", a.status, a.body)
	}
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || s < 1 || s > 180 {
		t.Errorf("it is to be tried again after %q", a.header.Get("Retry-After"))
	}
}

// openLive opens a live stream and returns its answer.
func (g *testGateway) openLive(change func(*http.Request)) *http.Response {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), "GET", g.http+"/api/v1/live", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	change(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// bearer sends a token.
func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func TestLive_endsWithItsCredential(t *testing.T) {
	g := startGateway(t)
	g.must("POST", "/members", map[string]string{"name": "anna", "role": "owner", "password": "correct horse"}, nil)
	in := g.doAs("", "POST", "/api/v1/login", map[string]string{"username": "anna", "password": "correct horse"})
	for _, c := range []struct {
		name, method, path string
		in                 any
		as                 func(*http.Request)
	}{
		{"token", "DELETE", "/tokens/guest", nil, bearer(g.newToken("guest", "viewer"))},
		{
			"session", "PUT", "/members/anna/password",
			map[string]string{"password": "another horse"},
			func(r *http.Request) { r.Header.Set("Cookie", in.header.Get("Set-Cookie")) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := g.openLive(c.as)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("got %s", resp.Status)
			}
			text := make(chan string, 1)
			go func() {
				body, _ := io.ReadAll(resp.Body) // however it ends, it has ended
				text <- string(body)
			}()
			g.must(c.method, c.path, c.in, nil)
			var got string
			eventually(t, "the stream to end", func() bool {
				g.d.hub.Publish(gateway.LiveEvent, gateway.Event{Kind: gateway.EventLogin, Text: "later"})
				select {
				case got = <-text:
					return true
				default:
					return false
				}
			})
			// One event each 20 ms; who has no rights gets those of a second at most.
			if n := strings.Count(got, "later"); n > 5*50 {
				t.Errorf("%d events came after the rights had ended", n)
			}
		})
	}
}

func TestLive_streamsOfOnePrincipal(t *testing.T) {
	g := startGateway(t)
	mine, other := bearer(g.newToken("many", "viewer")), bearer(g.newToken("few", "viewer"))
	var first *http.Response
	for i := range 64 {
		resp := g.openLive(mine)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("stream %d: got %s", i, resp.Status)
		}
		first = resp
	}
	resp := g.openLive(mine)
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a stream too many: got %s, again after %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	if resp := g.openLive(other); resp.StatusCode != http.StatusOK {
		t.Errorf("somebody else's stream: got %s", resp.Status)
	}
	_ = first.Body.Close() // it has been read as far as is of interest
	eventually(t, "room for another stream", func() bool {
		resp := g.openLive(mine)
		return resp.StatusCode == http.StatusOK
	})
}
