package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
)

// TestAPI_scheduleBodies sends schedules that are not whole or not JSON.
func TestAPI_scheduleBodies(t *testing.T) {
	g := startGateway(t)
	path := fmt.Sprintf("/api/v1/devices/%d/schedule", g.addDevice("Lamp", "native", "lamp").ID)
	send := func(head, body string, cut bool) *http.Response {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n%s",
			path, g.token, head, body)
		if err != nil {
			t.Fatal(err)
		}
		if cut { // else it would be a caller who hangs up
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // the status is what counts
		return resp
	}
	const json = "Content-Type: application/json\r\n"
	for _, c := range []struct {
		name, head, body string
		status           int
	}{
		{"whole", json + "Content-Length: 2", "{}", 200},
		{"half sent", json + "Content-Length: 100", `{"schedule":[`, 400},
		{"half a chunk", json + "Transfer-Encoding: chunked", "40\r\n{", 400},
		{"no chunk", json + "Transfer-Encoding: chunked", "zz\r\n", 400},
		{"of no type", "Content-Length: 2", "{}", 415},
		{"a form", "Content-Type: text/plain\r\nContent-Length: 2", "{}", 415},
		{"too large", json + "Content-Length: 1048577", strings.Repeat(" ", 1<<20+1), 413},
	} {
		if resp := send(c.head, c.body, c.status == 400); resp.StatusCode != c.status {
			t.Errorf("%s: got %s, want %d", c.name, resp.Status, c.status)
		}
	}
}

// TestAPI_channelIsTheOwners changes channels as each role.
func TestAPI_channelIsTheOwners(t *testing.T) {
	g := startGateway(t)
	path := fmt.Sprintf("/api/v1/devices/%d/schedule", g.addDevice("Lamp", "native", "lamp").ID)
	member := "Bearer " + g.newToken("helper", "member")
	const plan = `"schedule":[{"from":"08:00","to":"11:00"}]`
	for _, c := range []struct {
		auth, body string
		status     int
	}{
		{member, `{` + plan + `}`, 200},
		{member, `{"channel":"home/lamp"}`, 403},
		{"Bearer " + g.token, `{"channel":"home/lamp"}`, 200},
		{member, `{"channel":"home/lamp",` + plan + `}`, 200},
		{member, `{"channel":"home/other"}`, 403},
		{member, `{}`, 403},
		{"Bearer " + g.token, `{}`, 200},
	} {
		if a := g.doAs(c.auth, "PUT", path, c.body); a.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.body, a.status, a.body, c.status)
		}
	}
}

// TestAPI_checkChannel asks whether channels are good.
func TestAPI_checkChannel(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	var asked []string
	cfg := g.d.apiConfig()
	cfg.CheckChannel = func(d gateway.Device, channel string) error {
		asked = append(asked, fmt.Sprintf("%d %s", d.ID, channel))
		if strings.HasPrefix(channel, "bad") {
			return gateway.Conflictf("%s is another's", channel)
		}
		return nil
	}
	h := api.New(cfg).LocalHandler()
	for _, c := range []struct {
		channel string
		status  int
	}{{"bad/a", 409}, {"good", 200}, {"good", 200}, {"bad/b", 409}, {"", 200}} {
		r := httptest.NewRequest("PUT", fmt.Sprintf("/api/v1/devices/%d/schedule", lamp.ID),
			strings.NewReader(fmt.Sprintf(`{"channel":%q}`, c.channel)))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("channel %q: got %d %s, want %d", c.channel, w.Code, w.Body, c.status)
		}
	}
	if got, want := strings.Join(asked, ", "), fmt.Sprintf("%[1]d bad/a, %[1]d good, %[1]d bad/b", lamp.ID); got != want {
		t.Errorf("it was asked for %s, want %s", got, want)
	}
}
