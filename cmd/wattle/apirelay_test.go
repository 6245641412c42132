package main

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
)

// TestAPI_relays asks whether relays are good, and shows what is wrong with
// them.
func TestAPI_relays(t *testing.T) {
	g := startGateway(t)
	var asked []string
	problem := ""
	cfg := g.d.apiConfig()
	cfg.CheckRelay = func(id gateway.DeviceID, r gateway.Relay) error {
		asked = append(asked, fmt.Sprintf("%d %s %s", id, r.Line, r.Safe))
		if r.Line == "gpiochip0:9" {
			return gateway.Conflictf("line gpiochip0:9 belongs to Heater")
		}
		return nil
	}
	cfg.RelayProblem = func(gateway.DeviceID) string { return problem }
	h := api.New(cfg).LocalHandler()
	send := func(method, path, body string, want int) (d struct {
		ID      int64
		Problem *string `json:"relay_problem"`
		Relay   *gateway.Relay
	},
	) {
		t.Helper()
		r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Fatalf("%s %s: got %d %s, want %d", method, body, w.Code, w.Body, want)
		}
		unmarshal(t, w.Body.Bytes(), &d)
		return d
	}
	send("POST", "/devices", `{"alias":"Pump","relay":{"line":"gpiochip0:9"}}`, 409)
	if got := g.stored(); len(got) != 0 {
		t.Errorf("%q are stored", got)
	}
	d := send("POST", "/devices", `{"alias":"Pump","relay":{"line":"gpiochip0:4"}}`, 201)
	path := fmt.Sprintf("/devices/%d", d.ID)
	if d.Problem != nil {
		t.Errorf("a relay that works has the problem %q", *d.Problem)
	}
	send("PATCH", path, `{"relay":{"line":"gpiochip0:9"}}`, 409)
	problem = "line 4 is in use"
	d = send("GET", path, "", 200)
	if d.Relay.Line != "gpiochip0:4" || d.Problem == nil || *d.Problem != problem {
		t.Errorf("it is %+v after a change that was refused", d)
	}
	send("PATCH", path, `{"room":"Cellar"}`, 200)
	send("PATCH", path, `{"relay":{"line":"gpiochip0:4","initial":"off","safe":"off"}}`, 200) // as it is
	send("PATCH", path, `{"relay":{"line":"gpiochip0:4","safe":"hold"}}`, 200)
	if d := send("PATCH", path, `{"relay":null}`, 200); d.Problem != nil {
		t.Errorf("no relay has the problem %q", *d.Problem)
	}
	want := []string{
		"0 gpiochip0:9 off", "0 gpiochip0:4 off", fmt.Sprintf("%d gpiochip0:9 off", d.ID),
		fmt.Sprintf("%d gpiochip0:4 hold", d.ID),
	}
	if !slices.Equal(asked, want) {
		t.Errorf("it was asked for %q, want %q", asked, want)
	}
}

// TestAPI_nullTakesAway takes a relay and a parent away.
func TestAPI_nullTakesAway(t *testing.T) {
	g := startGateway(t)
	house := g.addDevice("House", "native", "house")
	var d struct {
		ID     int64
		Parent *int64 `json:"parent_id"`
		Relay  *gateway.Relay
	}
	g.must("POST", "/devices", json.RawMessage(fmt.Sprintf(
		`{"alias":"Pump","parent_id":%d,"relay":{"line":"gpiochip0:4"}}`, house.ID)), &d)
	path := fmt.Sprintf("/devices/%d", d.ID)
	g.must("PATCH", path, json.RawMessage(`{"room":"Cellar"}`), &d)
	if d.Relay == nil || d.Parent == nil || *d.Parent != house.ID {
		t.Fatalf("a change of something else leaves %+v", d)
	}
	g.must("PATCH", path, json.RawMessage(`{"relay":null}`), &d)
	if d.Relay != nil || d.Parent == nil {
		t.Errorf("without a relay it is %+v", d)
	}
	g.must("PATCH", path, json.RawMessage(`{"parent_id":null}`), &d)
	if d.Parent != nil {
		t.Errorf("without a parent it is %+v", d)
	}
}
