package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/power"
)

// around is a schedule that is on now: from an hour ago for two hours, in the
// household's zone.
func around(g *testGateway) string {
	now := time.Now().In(g.d.zone)
	return fmt.Sprintf(`{"schedule":[{"from":"%s","to":"%s"}]}`,
		now.Add(-time.Hour).Format("15:04"), now.Add(time.Hour).Format("15:04"))
}

// away is a schedule that is off now.
func away(g *testGateway) string {
	now := time.Now().In(g.d.zone)
	return fmt.Sprintf(`{"schedule":[{"from":"%s","to":"%s"}]}`,
		now.Add(2*time.Hour).Format("15:04"), now.Add(3*time.Hour).Format("15:04"))
}

func TestSchedule_switchesOverMQTT(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Heater", "native", "heater")
	p := newPlug(t, g, d)
	p.send("/state", `{"on":false}`)
	path := fmt.Sprintf("/devices/%d/schedule", d.ID)
	g.must("PUT", path, json.RawMessage(around(g)), nil)
	eventually(t, "the schedule to switch the device on", func() bool { return g.state(d.ID).On })
	var w struct {
		On     *bool
		Source string
		Until  *time.Time
	}
	g.get(fmt.Sprintf("/devices/%d/wanted", d.ID), &w)
	if w.On == nil || !*w.On || w.Source != "schedule" || w.Until == nil {
		t.Errorf("wanted: %+v", w)
	}
	g.must("PUT", path, json.RawMessage(away(g)), nil)
	eventually(t, "the schedule to switch the device off", func() bool { return !g.state(d.ID).On })
}

// level is a relay's line in memory.
type level struct {
	mu   sync.Mutex
	sets []bool
	end  bool
}

// Set implements power.Line.
func (l *level) Set(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sets = append(l.sets, on)
	return nil
}

// Close implements power.Line.
func (l *level) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = true
	return nil
}

func (l *level) now() (on, set, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sets) == 0 {
		return false, false, l.end
	}
	return l.sets[len(l.sets)-1], true, l.end
}

func TestSchedule_switchesARelay(t *testing.T) {
	g := startGateway(t)
	line := &level{}
	var asked gateway.Relay
	g.d.openRelay = func(r gateway.Relay) (power.Line, error) {
		if r.Line == "gpiochip0:99" {
			return nil, errors.New("there is no such line")
		}
		asked = r
		return line, nil
	}
	var d deviceJSON
	g.must("POST", "/devices", json.RawMessage(`{"alias":"Pump","dialect":"",
		"relay":{"line":"gpiochip0:17","active_low":true,"safe":"off"}}`), &d)
	if asked.Line != "gpiochip0:17" || !asked.ActiveLow || asked.Initial != "off" {
		t.Errorf("the line was asked for as %+v", asked)
	}
	if s := g.state(d.ID); !s.Known.Has(gateway.KnownOn) || s.On {
		t.Errorf("the level that it was opened with is not shown: %+v", s)
	}
	g.must("PUT", fmt.Sprintf("/devices/%d/schedule", d.ID), json.RawMessage(around(g)), nil)
	eventually(t, "the relay to be on", func() bool { on, set, _ := line.now(); return set && on })
	eventually(t, "the device to be on", func() bool { return g.state(d.ID).On })
	if c := g.command(d.ID, `{"action":"off"}`); c["status"] != "confirmed" {
		t.Errorf("the command ended %v: %v", c["status"], c["reason"])
	}
	if on, _, _ := line.now(); on {
		t.Error("the relay is on after the command")
	}
	// A second device on the same line, and a line that is not there.
	a := g.do("POST", "/api/v1/devices", `{"alias":"Other","dialect":"","relay":{"line":"gpiochip0:17"}}`)
	if a.status != http.StatusConflict || !strings.Contains(string(a.body), "Pump") {
		t.Errorf("a line that another device has: %d %s", a.status, a.body)
	}
	var lost struct {
		ID      int64
		Problem string `json:"relay_problem"`
	}
	g.must("POST", "/devices", json.RawMessage(`{"alias":"Lost","dialect":"","relay":{"line":"gpiochip0:99"}}`), &lost)
	g.get(fmt.Sprintf("/devices/%d", lost.ID), &lost)
	if !strings.Contains(lost.Problem, "no such line") {
		t.Errorf("the problem of a relay that is not there is %q", lost.Problem)
	}
	if c := g.command(lost.ID, `{"action":"on"}`); c["status"] != "failed" || c["reason"] == nil {
		t.Errorf("its command ended %v: %v", c["status"], c["reason"])
	}
	if on, _, _ := line.now(); on {
		t.Error("another device switched the relay")
	}
}

func TestSchedule_safeLevelAtTheEnd(t *testing.T) {
	line := &level{}
	t.Run("gateway", func(t *testing.T) {
		g := startGateway(t)
		g.d.openRelay = func(gateway.Relay) (power.Line, error) { return line, nil }
		var d deviceJSON
		g.must("POST", "/devices", json.RawMessage(`{"alias":"Freezer","dialect":"",
			"relay":{"line":"gpiochip0:4","safe":"on"}}`), &d)
		g.command(d.ID, `{"action":"off"}`)
	})
	if on, _, ended := line.now(); !on || !ended {
		t.Errorf("after the gateway ended the relay is on: %v, given back: %v", on, ended)
	}
}

func TestCommands_silentDeviceIsAnEvent(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Heater", "native", "heater") // never connects
	if a := g.do("POST", fmt.Sprintf("/api/v1/devices/%d/commands", d.ID), `{"action":"toggle"}`); a.status != http.StatusBadRequest {
		t.Errorf("toggling what is unknown: %d %s", a.status, a.body)
	}
	c := g.command(d.ID, `{"action":"on"}`) // takes 30 s: three tries
	if c["status"] != "failed" || c["tries"] != 3.0 || c["reason"] == nil {
		t.Errorf("the command ended %v", c)
	}
	eventually(t, "the event", func() bool {
		var page struct {
			Items []struct {
				Kind, Text string
			}
		}
		g.get("/events?kind=command_failed", &page)
		return slices.ContainsFunc(page.Items, func(e struct{ Kind, Text string }) bool {
			return strings.Contains(e.Text, "Heater")
		})
	})
}

func TestHousehold_broadcastReachesTheMember(t *testing.T) {
	g := startGateway(t)
	g.must("POST", "/members", map[string]string{"name": "anna", "role": "owner", "password": "correct horse"}, nil)
	d := g.addDevice("Heater", "native", "heater")
	if d.MQTT.Broadcast != "wattle/global/anna" {
		t.Fatalf("the device was told the channel %q", d.MQTT.Broadcast)
	}
	told := make(chan []byte, 1)
	c := connectPaho(t, g.mqtt, d.MQTT.Username, d.MQTT.Password, paho.ClientConfig{
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) {
				told <- r.Packet.Payload
				return true, nil
			},
		},
	})
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: d.MQTT.Broadcast, QoS: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	g.must("POST", "/household/shutdown", map[string]string{"member": "anna"}, nil)
	var got struct{ Kind string }
	unmarshal(t, <-told, &got)
	if got.Kind != "shutdown" {
		t.Errorf("the device received %+v", got)
	}
	if a := g.do("POST", "/api/v1/household/shutdown", `{"member":"nobody"}`); a.status != http.StatusNotFound {
		t.Errorf("a broadcast to nobody: %d", a.status)
	}
}
