package link_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/link"
)

// promptly is five times the time within which an appliance obeys.
const promptly = 5 * 200 * time.Millisecond

// simulate starts household 1 at a broker until the test ends.
func simulate(t *testing.T, b *mosquitto, change func(*link.Simulation)) (
	h *link.Household, stop func() error,
) {
	t.Helper()
	h = link.NewFitted(1, zone(t, "Europe/Berlin"), time.Now().AddDate(0, 0, -10))
	cfg := link.Simulation{
		Broker: b.url(), Household: h, Logger: quiet(), Step: time.Second,
		Broadcast: "wattle/global/anna",
	}
	if change != nil {
		change(&cfg)
	}
	return h, background(t, func(ctx context.Context) error { return link.Simulate(ctx, cfg) })
}

// object reads a JSON object.
func object(t *testing.T, payload string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(payload), &v); err != nil {
		t.Fatalf("%s: %v", payload, err)
	}
	return v
}

// reading is a native reading.
type reading struct {
	Time   time.Time `json:"time"`
	Power  float64   `json:"power_w"`
	Energy float64   `json:"energy_wh"`
}

// readings reads the payloads of a native reading topic.
func readings(t *testing.T, payloads []string) (list []reading) {
	t.Helper()
	for _, p := range payloads {
		if !strings.HasPrefix(p, "[") {
			p = "[" + p + "]"
		}
		var some []reading
		d := json.NewDecoder(strings.NewReader(p))
		d.DisallowUnknownFields()
		if err := d.Decode(&some); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		list = append(list, some...)
	}
	return list
}

func TestSimulate_native(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("#")
	h, stop := simulate(t, b, nil)
	i := index(t, h, "router")
	o.after("wattle/router/availability", 0, is("online"))
	o.after("wattle/router/state", 0, is(`{"on":true,"power_state":"D0"}`))
	o.after("wattle/router/reading", 3, anything)
	for _, r := range readings(t, o.all("wattle/router/reading")) {
		w, e := h.Meter(i).Read(r.Time)
		if math.Abs(w.W()-r.Power) > 0.002 || math.Abs(e.Wh()-r.Energy) > 0.01 {
			t.Errorf("got %+v, the model has %s and %s", r, w, e)
		}
		if d := time.Since(r.Time); d < 0 || d > patience {
			t.Errorf("the reading of %s is %s old", r.Time, d)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	o.after("wattle/router/availability", 1, is("offline"))
	late := b.observe("wattle/router/#")
	late.after("wattle/router/availability", 0, is("offline"))
	if m := late.after("wattle/router/state", 0, anything); m.retained != "1" {
		t.Errorf("the state is not retained: %+v", m)
	}
}

func TestSimulate_nativeCommands(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("wattle/#")
	simulate(t, b, nil)
	const name = "wattle/workstation"
	o.after(name+"/reading", 0, anything)
	steps := []struct {
		topic, command, state string
		low, high             float64
	}{
		{
			name + "/set", `{"id":"1","kind":"shutdown","sender":"scheduler","urgent":false}`,
			`{"on":false,"power_state":"D3hot"}`, 0.9, 0.9,
		},
		{
			name + "/set", `{"id":"2","kind":"power_state","power_state":"D3cold"}`,
			`{"on":false,"power_state":"D3cold"}`, 0, 0,
		},
		{
			"wattle/global/anna", `{"id":"3","kind":"startup"}`,
			`{"on":true,"power_state":"D0"}`, 1, 300,
		},
		{
			"wattle/global/anna", `{"id":"4","kind":"shutdown"}`,
			`{"on":false,"power_state":"D3hot"}`, 0.9, 0.9,
		},
	}
	for _, s := range steps {
		states, seen := len(o.all(name+"/state")), len(o.all(name+"/reading"))
		sent := time.Now()
		b.publish(s.topic, s.command)
		m := o.after(name+"/state", states, is(s.state))
		if d := m.at.Sub(sent); d > promptly {
			t.Errorf("%s was obeyed after %s", s.command, d)
		}
		o.after(name+"/reading", seen, func(p string) bool {
			for _, r := range readings(t, []string{p}) {
				if r.Power >= s.low && r.Power <= s.high {
					return true
				}
			}
			return false
		})
	}
	// What is never to be off stays on, and nonsense changes nothing.
	if got := o.all("wattle/router/state"); len(got) == 0 || strings.Contains(got[len(got)-1], "false") {
		t.Errorf("the router's states are %q, want it on", got)
	}
	states := len(o.all(name + "/state"))
	for _, bad := range []string{`{`, `"off"`, `{"kind":"explode"}`, `{"kind":"power_state"}`} {
		b.publish(name+"/set", bad)
	}
	b.publish(name+"/set", `{"kind":"startup"}`)
	o.after(name+"/state", states, holds(`"on":true`))
	if got := len(o.all(name+"/state")) - states; got != 1 {
		t.Errorf("%d states after nonsense and one command, want 1", got)
	}
	// The counter never falls and does not rise while nothing is drawn.
	last := reading{}
	for _, r := range readings(t, o.all(name+"/reading")) {
		if r.Energy < last.Energy || r.Time.Before(last.Time) {
			t.Errorf("%+v follows %+v", r, last)
		}
		last = r
	}
}

func TestSimulate_tasmota(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("#")
	h, stop := simulate(t, b, nil)
	o.after("tele/fridge/LWT", 0, is("Online"))
	o.after("tele/fridge/SENSOR", 1, anything)
	i := index(t, h, "fridge")
	_, low := h.Meter(i).Read(time.Now().Add(-time.Minute))
	_, high := h.Meter(i).Read(time.Now().Add(time.Second))
	state := object(t, o.all("tele/fridge/STATE")[0])
	if state["POWER"] != "ON" || state["UptimeSec"] == nil || state["Wifi"] == nil {
		t.Errorf("STATE is %v", state)
	}
	raw := o.all("tele/fridge/SENSOR")[0]
	sensor := object(t, raw)
	if tm, _ := sensor["Time"].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$`).MatchString(tm) {
		t.Errorf("Time is %q, want it without offset", tm)
	}
	if !regexp.MustCompile(`"Total":\d+\.\d{3},`).MatchString(raw) {
		t.Errorf("Total has not three decimals: %s", raw)
	}
	energy := sensor["ENERGY"].(map[string]any)
	total := energy["Total"].(float64)
	if total < low.KWh()-0.001 || total > high.KWh()+0.001 {
		t.Errorf("Total is %v, the model has %v to %v", total, low.KWh(), high.KWh())
	}
	for _, key := range []string{
		"TotalStartTime", "Yesterday", "Today", "Period", "Power",
		"ApparentPower", "ReactivePower", "Factor", "Voltage", "Current",
	} {
		if energy[key] == nil {
			t.Errorf("ENERGY lacks %s: %s", key, raw)
		}
	}

	power := func(payload, want string) {
		t.Helper()
		words, results := len(o.all("stat/fridge/POWER")), len(o.all("stat/fridge/RESULT"))
		sent := time.Now()
		b.publish("cmnd/fridge/POWER", payload)
		if m := o.after("stat/fridge/POWER", words, is(want)); m.at.Sub(sent) > promptly {
			t.Errorf("POWER %q was answered after %s", payload, m.at.Sub(sent))
		}
		o.after("stat/fridge/RESULT", results, is(`{"POWER":"`+want+`"}`))
	}
	power("", "ON")
	power("OFF", "OFF")
	o.after("tele/fridge/SENSOR", 2, holds(`"Power":0.0,`))
	power("", "OFF")
	power("toggle", "ON")
	power("TOGGLE", "OFF")
	power("on", "ON")
	b.publish("cmnd/fridge/POWER", "perhaps")
	o.after("stat/fridge/RESULT", 0, is(`{"Command":"Error"}`))
	b.publish("cmnd/fridge/Brew", "coffee")
	o.after("stat/fridge/RESULT", 0, is(`{"Command":"Unknown"}`))
	b.publish("cmnd/fridge/Status", "8")
	o.after("stat/fridge/STATUS8", 0, holds(`{"StatusSNS":{"Time":"`))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	o.after("tele/fridge/LWT", 1, is("Offline"))
}

func TestSimulate_shelly(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("#")
	h, stop := simulate(t, b, nil)
	i := index(t, h, "plug")
	p := h.Appliances()[i].Topic
	o.after(p+"/online", 0, is("true"))
	o.after(p+"/status/switch:0", 0, anything)
	full := object(t, o.after(p+"/events/rpc", 0, holds("NotifyFullStatus")).payload)
	if full["src"] != p || full["dst"] != p+"/events" {
		t.Errorf("the notification is %v", full)
	}
	status := object(t, o.all(p + "/status/switch:0")[0])
	if status["output"] != true || status["apower"].(float64) < 5 {
		t.Errorf("the status is %v", status)
	}
	_, e := h.Meter(i).Read(time.Now())
	if got := status["aenergy"].(map[string]any)["total"].(float64); math.Abs(got-e.Wh()) > 1 {
		t.Errorf("aenergy.total is %v, the model has %v", got, e.Wh())
	}

	order := func(topic, payload string, want bool) {
		t.Helper()
		n, events := len(o.all(p+"/status/switch:0")), len(o.all(p+"/events/rpc"))
		word := `"output":false`
		if want {
			word = `"output":true`
		}
		sent := time.Now()
		b.publish(topic, payload)
		if m := o.after(p+"/status/switch:0", n, holds(word)); m.at.Sub(sent) > promptly {
			t.Errorf("%s was obeyed after %s", payload, m.at.Sub(sent))
		}
		o.after(p+"/events/rpc", events, func(s string) bool {
			return strings.Contains(s, `"method":"NotifyStatus"`) && strings.Contains(s, word)
		})
	}
	order(p+"/command/switch:0", "off", false)
	o.after(p+"/status/switch:0", 1, holds(`"apower":0.0,`))
	order(p+"/command/switch:0", "toggle", true)
	order(p+"/command/switch:0", "toggle", false)
	order(p+"/command/switch:0", "on", true)
	order(p+"/rpc", `{"id":7,"src":"me","method":"Switch.Set","params":{"id":0,"on":false}}`, false)
	o.after("me/rpc", 0, is(`{"id":7,"src":"`+p+`","dst":"me","result":{"was_on":true}}`))
	b.publish(p+"/rpc", `{"id":8,"src":"me","method":"Switch.Fly","params":{"id":0}}`)
	o.after("me/rpc", 1, holds(`"code":404`))
	b.publish(p+"/rpc", `{"id":9,"src":"me","method":"Switch.Set","params":{"id":0}}`)
	o.after("me/rpc", 2, holds(`"code":-103`))
	b.publish(p+"/rpc", `{"id":`)
	b.publish(p+"/rpc", `{"id":1,"src":"bad/#","method":"Switch.GetStatus"}`)
	b.publish(p+"/command/switch:0", "perhaps")
	o.after(p+"/error/switch:0", 0, anything)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	o.after(p+"/online", 1, is("false"))
}

func TestSimulate_past(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("wattle/#")
	from := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	h, _ := simulate(t, b, func(c *link.Simulation) {
		c.From, c.Speed, c.Step = from, 3600, time.Minute
	})
	const topic = "wattle/water-heater/reading"
	// Two hours pass in two seconds; then the household lives in the present.
	o.after(topic, 0, func(p string) bool {
		list := readings(t, []string{p})
		return time.Since(list[len(list)-1].Time) < 2*time.Minute
	})
	list := readings(t, o.all(topic))
	i, seen := index(t, h, "heater"), map[time.Time]bool{}
	for n, r := range list {
		if n > 0 && !r.Time.After(list[n-1].Time) {
			t.Fatalf("%s follows %s", r.Time, list[n-1].Time)
		}
		if r.Time.After(time.Now()) {
			t.Errorf("a reading of the future: %s", r.Time)
		}
		if _, e := h.Meter(i).Read(r.Time); math.Abs(e.Wh()-r.Energy) > 0.01 {
			t.Errorf("at %s the counter is %v, the model has %s", r.Time, r.Energy, e)
		}
		seen[r.Time.Truncate(time.Minute)] = true
	}
	for m := from.Truncate(time.Minute).Add(2 * time.Minute); m.Before(from.Add(118 * time.Minute)); m = m.Add(time.Minute) {
		if !seen[m.UTC()] {
			t.Errorf("no reading in the minute of %s", m)
		}
	}
}

func TestSimulate_ends(t *testing.T) {
	before := runtime.NumGoroutine()
	b := startMosquitto(t)
	var (
		mu     sync.Mutex
		logged strings.Builder
	)
	_, stop := simulate(t, b, func(c *link.Simulation) {
		c.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return logged.Write(p)
		}), nil))
	})
	eventually(t, "all appliances connect", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Count(logged.String(), "mqtt connected") == 12
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.stop()
	noLeak(t, before)
}

// writer is an io.Writer made of a function.
type writer func(p []byte) (int, error)

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestSimulate_refused(t *testing.T) {
	b := startMosquitto(t, "fridge:word")
	h := link.NewFitted(1, time.UTC, time.Now())
	before := runtime.NumGoroutine()
	err := link.Simulate(t.Context(), link.Simulation{
		Broker: b.url(), Household: h, Logger: quiet(),
		Credential: func(a link.Appliance) (string, string) {
			if a.Icon == "oven" {
				return "oven", "wrong"
			}
			return "fridge", "word"
		},
	})
	if err == nil || !strings.Contains(err.Error(), "Oven") {
		t.Errorf("got %v, want an error that names the oven", err)
	}
	noLeak(t, before)
}

func TestSimulate_settings(t *testing.T) {
	good := link.Simulation{
		Broker: "mqtt://127.0.0.1:1", Household: link.NewFitted(1, time.UTC, time.Now()), Logger: quiet(),
	}
	for name, change := range map[string]func(*link.Simulation){
		"broker":      func(c *link.Simulation) { c.Broker = "127.0.0.1" },
		"speed":       func(c *link.Simulation) { c.Speed = -1 },
		"no number":   func(c *link.Simulation) { c.Speed = math.NaN() },
		"step":        func(c *link.Simulation) { c.Step = time.Millisecond },
		"future":      func(c *link.Simulation) { c.From = time.Now().Add(time.Hour) },
		"before 2000": func(c *link.Simulation) { c.From = time.Unix(0, 0) },
	} {
		cfg := good
		change(&cfg)
		err := link.Simulate(t.Context(), cfg)
		if gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("%s: got %v, want it refused as invalid", name, err)
		}
	}
}
