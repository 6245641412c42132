package main

import (
	"net/http"
	"strconv"
	"testing"
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
