package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// run starts a program of the outside world and returns what it prints once
// it has ended well.
func run(t *testing.T, name string, args ...string) func() string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	modules, err := filepath.Abs("../../.bench/mqttjs/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s (`make deps` installs it): %v", name, err)
	}
	return func() string {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s %v: %v\n%s%s", name, args, err, out.String(), errOut.String())
		}
		return out.String()
	}
}

// command sends a command and waits until it ended.
func (g *testGateway) command(id int64, body string) map[string]any {
	g.t.Helper()
	var c map[string]any
	g.must("POST", fmt.Sprintf("/devices/%d/commands", id), json.RawMessage(body), &c)
	eventually(g.t, "the command to end", func() bool {
		g.get("/commands/"+c["id"].(string), &c)
		return gateway.CommandStatus(c["status"].(string)).Ended()
	})
	return c
}

// mosquitto returns the arguments with which mosquitto's clients connect.
func (g *testGateway) mosquitto(d deviceJSON, args ...string) []string {
	g.t.Helper()
	host, port, err := net.SplitHostPort(g.mqtt)
	if err != nil {
		g.t.Fatal(err)
	}
	return append([]string{"-h", host, "-p", port, "-u", d.MQTT.Username, "-P", d.MQTT.Password, "-q", "1"}, args...)
}

// power waits for the first reading of a device and returns its power.
func (g *testGateway) power(id int64) float64 {
	g.t.Helper()
	eventually(g.t, "a reading", func() bool { return len(g.readings(id)) > 0 })
	r := g.readings(id)[0]
	if r.PowerW == nil {
		g.t.Fatalf("the reading has no power: %+v", r)
	}
	return *r.PowerW
}

// TestClients_native plays a native device with mosquitto's clients.
func TestClients_native(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Heater", "native", "heater")
	sub := run(t, "mosquitto_sub", g.mosquitto(d, "-i", "heater", "-t", "wattle/heater/set", "-C", "1", "-W", "30")...)
	eventually(t, "the device to be online", func() bool { return g.state(d.ID).Online })
	run(t, "mosquitto_pub", g.mosquitto(d, "-i", "pub", "-t", "wattle/heater/reading",
		"-m", `{"power_w":1480.5,"energy_wh":6294}`)...)()
	if got := g.power(d.ID); got != 1480.5 {
		t.Errorf("got %v W", got)
	}
	run(t, "mosquitto_pub", g.mosquitto(d, "-i", "pub", "-r", "-t", "wattle/heater/state", "-m", `{"on":false}`)...)()
	eventually(t, "the state", func() bool { return g.state(d.ID).Known.Has(gateway.KnownOn) })

	var c map[string]any
	g.must("POST", fmt.Sprintf("/devices/%d/commands", d.ID), json.RawMessage(`{"action":"on"}`), &c)
	var got struct{ ID, Kind, Sender string }
	unmarshal(t, []byte(sub()), &got)
	if got.Kind != "startup" || got.ID != c["id"] {
		t.Errorf("the device received %+v of command %v", got, c["id"])
	}
	run(t, "mosquitto_pub", g.mosquitto(d, "-i", "pub", "-r", "-t", "wattle/heater/state", "-m", `{"on":true}`)...)()
	eventually(t, "the confirmation", func() bool {
		g.get("/commands/"+c["id"].(string), &c)
		return c["status"] == "confirmed"
	})
}

// TestClients_tasmota plays a Tasmota plug with paho for Python.
func TestClients_tasmota(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Washing machine", "tasmota", "pow1")
	host, port, _ := net.SplitHostPort(g.mqtt)
	plug := run(t, "/usr/bin/python3", "testdata/tasmota.py", host, port, d.MQTT.Username, d.MQTT.Password, "pow1")
	if got := g.power(d.ID); got != 61 {
		t.Errorf("got %v W", got)
	}
	if r := g.readings(d.ID)[0]; r.EnergyWh == nil || *r.EnergyWh != 12345 {
		t.Errorf("got the counter %v", r.EnergyWh)
	}
	if c := g.command(d.ID, `{"action":"off"}`); c["status"] != "confirmed" {
		t.Errorf("the command ended %v: %v", c["status"], c["reason"])
	}
	if got, want := strings.TrimSpace(plug()), "cmnd/pow1/POWER OFF fresh"; got != want {
		t.Errorf("the plug received %q, want %q", got, want)
	}
}

// TestClients_shelly plays a Shelly plug with MQTT.js.
func TestClients_shelly(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Freezer", "shelly-gen2", "shellyplusplugs-3ce90e304de4")
	host, port, _ := net.SplitHostPort(g.mqtt)
	plug := run(t, "node", "testdata/shelly.cjs", host, port, d.MQTT.Username, d.MQTT.Password, d.Topic)
	if got := g.power(d.ID); got != 45.6 {
		t.Errorf("got %v W", got)
	}
	eventually(t, "the state", func() bool { return g.state(d.ID).Known.Has(gateway.KnownOn) })
	if c := g.command(d.ID, `{"action":"toggle"}`); c["status"] != "confirmed" || c["action"] != "on" {
		t.Errorf("the command %v ended %v: %v", c["action"], c["status"], c["reason"])
	}
	if got, want := strings.TrimSpace(plug()), d.Topic+"/command/switch:0 on fresh"; got != want {
		t.Errorf("the plug received %q, want %q", got, want)
	}
}

// TestClients_badPayloads sends what must not be stored; each is acknowledged,
// counted with a reason, and the connection stays.
func TestClients_badPayloads(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Heater", "native", "heater")
	payloads := map[string]string{
		"no JSON": "power=5", "NaN": `{"power_w":NaN}`, "infinite": `{"power_w":1e999}`,
		"absurd": `{"power_w":100001}`, "1970": `{"time":"1970-01-01T00:01:00Z","power_w":5}`,
		"ahead": fmt.Sprintf(`{"time":%d,"power_w":5}`, time.Now().Add(6*time.Minute).Unix()),
		"empty": "", "brackets": strings.Repeat("[", 60<<10), "bare string": `"warm"`,
		"UTF-16": "\xff\xfe{\x00\"\x00p\x00", "null": "null", "unknown key": `{"power_w":5,"volts":230}`,
		"twice": `{"power_w":5,"power_w":6}`, "after the end": `{"power_w":5}{}`,
	}
	count := int64(0)
	for name, payload := range payloads {
		file := filepath.Join(t.TempDir(), "payload")
		if err := os.WriteFile(file, []byte(payload), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"-i", "bad", "-t", "wattle/heater/reading", "-f", file}
		if payload == "" {
			args = []string{"-i", "bad", "-t", "wattle/heater/reading", "-n"}
		}
		run(t, "mosquitto_pub", g.mosquitto(d, args...)...)() // ends well: it was acknowledged
		count++
		s := g.state(d.ID)
		if s.Rejected.Count != count || s.Rejected.LastReason == "" {
			t.Errorf("%s: rejected %+v, want count %d", name, s.Rejected, count)
			count = s.Rejected.Count
		}
	}
	run(t, "mosquitto_pub", g.mosquitto(d, "-i", "good", "-t", "wattle/heater/reading", "-m", "42")...)()
	if got := g.readings(d.ID); len(got) != 1 || *got[0].PowerW != 42 {
		t.Errorf("stored %+v, want the good reading alone", got)
	}
	var dev struct {
		Rejected gateway.Rejected `json:"rejected"`
	}
	g.get(fmt.Sprintf("/devices/%d", d.ID), &dev)
	if dev.Rejected.Count != count || dev.Rejected.LastReason == "" {
		t.Errorf("the API tells %+v", dev.Rejected)
	}
}

// TestClients_foreignTopics publishes and subscribes where a device may not.
func TestClients_foreignTopics(t *testing.T) {
	g := startGateway(t)
	a := g.addDevice("A", "native", "a")
	b := g.addDevice("B", "native", "b")
	for _, topic := range []string{"wattle/b/reading", "wattle/a/set", "wattle/a/request", "wattle/global/anna", "$SYS/x"} {
		args := g.mosquitto(a, "-V", "5", "-i", "a", "-t", topic, "-m", "1")
		out, err := exec.CommandContext(t.Context(), "mosquitto_pub", args...).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "ot authorized") {
			t.Errorf("%s over MQTT 5: %v: %s", topic, err, out)
		}
		run(t, "mosquitto_pub", g.mosquitto(a, "-V", "311", "-i", "a", "-t", topic, "-m", "1")...)() // acknowledged and dropped
	}
	if got := g.readings(b.ID); len(got) != 0 {
		t.Errorf("a foreign reading was stored: %+v", got)
	}
	out, err := exec.CommandContext(t.Context(), "mosquitto_sub",
		g.mosquitto(a, "-i", "a", "-t", "wattle/b/#", "-C", "1", "-W", "10")...).CombinedOutput()
	if !strings.Contains(string(out), "denied") {
		t.Errorf("subscribing to another's topics: %v: %s", err, out)
	}
	wrong := g.mosquitto(a, "-i", "a", "-t", "wattle/a/reading", "-m", "1")
	wrong[7] += "x"
	if err := exec.CommandContext(t.Context(), "mosquitto_pub", wrong...).Run(); err == nil {
		t.Error("a wrong password connects")
	}
	if err := exec.CommandContext(t.Context(), "mosquitto_pub", "-h", "127.0.0.1", "-p", wrong[3],
		"-t", "wattle/a/reading", "-m", "1").Run(); err == nil {
		t.Error("nobody connects")
	}
}
