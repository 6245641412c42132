package dialect_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect"
)

// noon is when messages of these tests arrive.
const noon gateway.Instant = 1_743_336_000_000 // 2025-03-30T12:00:00Z

func row(t testing.TB, name string) dialect.Dialect {
	t.Helper()
	d, ok := dialect.ByName(name)
	if !ok {
		t.Fatalf("no dialect %q", name)
	}
	return d
}

func TestByName_isTheTable(t *testing.T) {
	for _, d := range dialect.All() {
		got, ok := dialect.ByName(d.Name)
		if !ok || got.Name != d.Name {
			t.Errorf("%s is in the table, but not found by name", d.Name)
		}
		v := reflect.ValueOf(d)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s has no %s", d.Name, v.Type().Field(i).Name)
			}
		}
	}
	if _, ok := dialect.ByName("morse"); ok {
		t.Error("an unknown dialect is found")
	}
}

// readingTopics are where each family tells power.
var readingTopics = map[string]string{
	dialect.Native:     "wattle/plug/reading",
	dialect.Tasmota:    "tele/plug/SENSOR",
	dialect.ShellyGen2: "plug/status/switch:0",
}

// spoilt are payloads that no family may take; FORM is a good value of power.
func spoilt(name string) map[string]string {
	good := map[string]string{
		dialect.Native:     `{"power_w":FORM}`,
		dialect.Tasmota:    `{"ENERGY":{"Power":FORM}}`,
		dialect.ShellyGen2: `{"apower":FORM}`,
	}[name]
	form := func(v string) string { return strings.ReplaceAll(good, "FORM", v) }
	inner := form("5")[strings.LastIndex(form("5"), "{")+1:]
	twice := strings.Replace(form("5"), "5}", "5,"+inner, 1)
	var wide []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + form("5"))) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	return map[string]string{
		"no JSON":          "power is 5",
		"empty":            "",
		"blank":            " \n",
		"bare string":      `"5"`,
		"bare word":        "ON",
		"null":             "null",
		"true":             "true",
		"nan":              form("nan"),
		"NaN":              form("NaN"),
		"infinity":         form("Infinity"),
		"minus infinity":   form("-inf"),
		"huge":             form("1e300"),
		"beyond int64":     form("-99999999999999999999"),
		"string":           form(`"5"`),
		"boolean":          form("true"),
		"brackets":         strings.Repeat("[", 60<<10),
		"closed brackets":  strings.Repeat("[", 30<<10) + strings.Repeat("]", 30<<10),
		"braces":           strings.Repeat(`{"a":`, 12<<10),
		"UTF-16":           string(wide),
		"byte order mark":  "\ufeff" + form("5"),
		"invalid UTF-8":    strings.Replace(form("5"), `{"`, "{\"\xff\":1,\"", 1),
		"trailing garbage": form("5") + "}",
		"two documents":    form("5") + form("5"),
		"cut":              form("5")[:len(form("5"))-1],
		"single quotes":    strings.ReplaceAll(form("5"), `"`, "'"),
		"trailing comma":   form("5,"),
		"leading zero":     form("05"),
		"NUL":              form("5") + "\x00",
		"key twice":        twice,
	}
}

func TestDialect_Decode_badInput(t *testing.T) {
	for name, topic := range readingTopics {
		d := row(t, name)
		for what, payload := range spoilt(name) {
			reports, err := d.Decode(topic, []byte(payload), noon)
			if err == nil || reports != nil {
				t.Errorf("%s takes %s (%.60q): %+v", name, what, payload, reports)
				continue
			}
			checkReason(t, err)
		}
	}
}

// checkReason holds an error to what is shown to people.
func checkReason(t testing.TB, err error) {
	t.Helper()
	text := err.Error()
	if gateway.CodeOf(err) != gateway.CodeInvalid || text == "" || len(text) > 400 ||
		!utf8.ValidString(text) {
		t.Errorf("reason with code %s: %q", gateway.CodeOf(err), text)
	}
}

func TestDialect_Decode_foreignTopics(t *testing.T) {
	for _, d := range dialect.All() {
		for _, topic := range []string{
			"", "/", "a", "//", "wattle//reading", "wattle/x/other", "tele", "zigbee2mqtt/plug", "a/b/c",
		} {
			if _, err := d.Decode(topic, []byte("0"), noon); err == nil {
				t.Errorf("%s takes the topic %q", d.Name, topic)
			} else {
				checkReason(t, err)
			}
			if d.Matches(topic) {
				t.Errorf("%s matches the topic %q", d.Name, topic)
			}
		}
	}
}

// Numbers beyond 100 kW are decoded as they are; they are refused later, by
// gateway.Reading.Check, with a reason.
func TestDialect_Decode_absurdPower(t *testing.T) {
	for name, payload := range map[string]string{
		dialect.Native:     `{"power_w":250000}`,
		dialect.Tasmota:    `{"ENERGY":{"Power":250000}}`,
		dialect.ShellyGen2: `{"apower":250000}`,
	} {
		rs, err := row(t, name).Decode(readingTopics[name], []byte(payload), noon)
		if err != nil || len(rs) != 1 {
			t.Fatalf("%s: %v, %v", name, rs, err)
		}
		rd, ok := rs[0].Reading(noon)
		if err := rd.Check(noon); !ok || err == nil || !strings.Contains(err.Error(), "250000 W") {
			t.Errorf("%s: %+v, %v", name, rd, err)
		}
	}
}

func TestNative_Decode_time(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		time   string
		zone   *time.Location
		want   gateway.Instant
		reason string
	}{
		{`"2025-03-30T12:00:00Z"`, nil, noon, ""},
		{`"2025-03-30T14:05:00+02:00"`, nil, noon + 5*gateway.Minute, ""},
		{`"2025-03-30T12:05:00.001Z"`, nil, 0, "5 minutes ahead"},
		{`"2000-01-01T00:00:00Z"`, nil, gateway.EarliestReading, ""},
		{`"1999-12-31T23:59:59.999Z"`, nil, 0, "before 2000"},
		{`"2025-02-30T12:00:00Z"`, nil, 0, "neither RFC 3339"},
		{`"2025-03-30 14:00:00"`, nil, 0, "neither RFC 3339"},
		{`"2025-03-30 14:00:00"`, berlin, noon, ""},
		{`1743336000`, nil, noon, ""},
		{`1743335999.123`, nil, noon - 877, ""},
		{`1743336000000`, nil, 0, "ahead"}, // milliseconds
		{`12`, nil, 0, "before 2000"},
		{`1e30`, nil, 0, "beyond all range"},
		{`[]`, nil, 0, "time is an array"},
	} {
		d := row(t, dialect.Native).In(tt.zone)
		rs, err := d.Decode("wattle/plug/reading", []byte(`{"power_w":1,"time":`+tt.time+`}`), noon)
		switch {
		case tt.reason != "":
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%s: got %v, want %q", tt.time, err, tt.reason)
			}
		case err != nil || len(rs) != 1 || rs[0].At != tt.want || !rs[0].Tells(gateway.ReportAt):
			t.Errorf("%s: got %+v, %v", tt.time, rs, err)
		}
	}
}

func TestNative_Decode_list(t *testing.T) {
	d := row(t, dialect.Native)
	rs, err := d.Decode("wattle/plug/reading",
		[]byte(`[{"time":1743335940,"power_w":1},{"energy_wh":2.5}]`), noon)
	want := []gateway.Report{
		{Device: "plug", Has: gateway.ReportAt | gateway.ReportPower, At: noon - gateway.Minute, Power: 1000},
		{Device: "plug", Has: gateway.ReportEnergy, Energy: 2500},
	}
	if diff := cmp.Diff(want, rs); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for payload, reason := range map[string]string{
		`[]`:                           "empty list",
		`[1]`:                          "item 0 is a number",
		`[{"power_w":1},{"x":1}]`:      `item 1: unknown key "x"`,
		`[{"power_w":1},{}]`:           "item 1: has neither",
		`[{"power_w":1,"power_w":1}]`:  "stands twice",
		`[[{"power_w":1}]]`:            "item 0 is an array",
		`{"power_w":null,"time":null}`: "has neither",
	} {
		if _, err := d.Decode("wattle/plug/reading", []byte(payload), noon); err == nil ||
			!strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v, want %q", payload, err, reason)
		}
	}
}

func TestDialect_Encode(t *testing.T) {
	type message struct{ topic, payload string }
	state := func(s gateway.PowerState) gateway.Command {
		return gateway.Command{ID: "c3", Action: gateway.ActionPowerState, PowerState: s}
	}
	on := gateway.Command{ID: "c1", Action: gateway.ActionOn, Urgent: true}
	off := gateway.Command{ID: "c2", Action: gateway.ActionOff}
	toggle := gateway.Command{ID: "c4", Action: gateway.ActionToggle}
	const (
		startup  = `{"id":"c1","kind":"startup","sender":"scheduler","urgent":true}`
		shutdown = `{"id":"c2","kind":"shutdown","sender":"scheduler","urgent":false}`
		d3hot    = `{"id":"c3","kind":"power_state","power_state":"D3hot","sender":"scheduler","urgent":false}`
	)
	for _, tt := range []struct {
		dialect, topic, channel string
		command                 gateway.Command
		want                    []message
		reason                  string
	}{
		{dialect.Native, "heater", "", on, []message{{"wattle/heater/set", startup}}, ""},
		{dialect.Native, "heater", "shared/heating", off, []message{{"shared/heating", shutdown}}, ""},
		{dialect.Native, "pc", "", state(gateway.D3hot), []message{{"wattle/pc/set", d3hot}}, ""},
		{dialect.Native, "pc", "", state(gateway.PowerUnknown), nil, "no power state"},
		{dialect.Native, "pc", "", toggle, nil, "toggle"},
		{
			dialect.Tasmota, "pow1", "", on,
			[]message{{"cmnd/pow1/POWER", "ON"}, {"pow1/cmnd/POWER", "ON"}},
			"",
		},
		{
			dialect.Tasmota, "home/%prefix%/pow1", "", off,
			[]message{{"home/cmnd/pow1/POWER", "OFF"}},
			"",
		},
		{
			dialect.Tasmota, "strip", "cmnd/strip/POWER3", state(gateway.D3cold),
			[]message{{"cmnd/strip/POWER3", "OFF"}},
			"",
		},
		{
			dialect.Tasmota, "pow1", "", state(gateway.D2), nil,
			`"D2": a Tasmota device knows D0, D3hot and D3cold`,
		},
		{dialect.Tasmota, "pow1", "", toggle, nil, "toggle"},
		{
			dialect.ShellyGen2, "desk/lamp", "", state(gateway.D0),
			[]message{{"desk/lamp/command/switch:0", "on"}},
			"",
		},
		{
			dialect.ShellyGen2, "desk/lamp", "desk/lamp/command/switch:1", off,
			[]message{{"desk/lamp/command/switch:1", "off"}},
			"",
		},
		{
			dialect.ShellyGen2, "desk/lamp", "", state(gateway.D1), nil,
			`"D1": a Shelly knows D0, D3hot and D3cold`,
		},
		{dialect.ShellyGen2, "desk/lamp", "", toggle, nil, "toggle"},
	} {
		d := gateway.Device{Topic: tt.topic, Schedule: gateway.Schedule{Channel: tt.channel}}
		ms, err := row(t, tt.dialect).Encode(d, tt.command, "scheduler")
		if tt.reason != "" {
			if err == nil || !strings.Contains(err.Error(), tt.reason) {
				t.Errorf("%s %+v: got %v, want %q", tt.dialect, tt.command, err, tt.reason)
			} else {
				checkReason(t, err)
			}
			continue
		}
		var got []message
		for _, m := range ms {
			got = append(got, message{m.Topic, string(m.Payload)})
			if m.QoS != 1 || m.Retain {
				t.Errorf("%s: QoS %d, retain %v", m.Topic, m.QoS, m.Retain)
			}
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(message{})); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
}

// A device may say what its captures say, and may hear what Encode sends, and
// neither the other way round.
func TestDialect_Topics_grant(t *testing.T) {
	for _, tt := range []struct {
		dialect, topic         string
		says, hears, forbidden []string
	}{
		{
			dialect.Native, "kettle",
			[]string{"wattle/kettle/reading", "wattle/kettle/state", "wattle/kettle/availability"},
			[]string{"wattle/kettle/set"},
			[]string{
				"wattle/kettle/set", "wattle/kettle/set/x", "wattle/kettle/request",
				"wattle/other/reading", "wattle/global/anna", "wattle/kettles/reading",
			},
		},
		{
			dialect.Tasmota, "pow1",
			[]string{"tele/pow1/SENSOR", "stat/pow1/RESULT", "pow1/tele/LWT", "pow1/stat/POWER"},
			[]string{"cmnd/pow1/POWER", "pow1/cmnd/Status"},
			[]string{
				"cmnd/pow1/POWER", "pow1/cmnd/POWER", "tele/pow2/SENSOR", "tele/pow1x/SENSOR", "pow1/other",
			},
		},
		{
			dialect.Tasmota, "home/%prefix%/pow1",
			[]string{"home/tele/pow1/SENSOR", "home/stat/pow1/RESULT"},
			[]string{"home/cmnd/pow1/POWER"},
			[]string{"home/cmnd/pow1/POWER", "tele/pow1/SENSOR", "home/tele/pow2/SENSOR"},
		},
		{
			dialect.ShellyGen2, "desk/lamp",
			[]string{"desk/lamp/online", "desk/lamp/status/switch:0", "desk/lamp/events/rpc"},
			[]string{"desk/lamp/command/switch:0", "desk/lamp/command", "desk/lamp/rpc"},
			[]string{"desk/lamp/command/switch:0", "desk/lamp/rpc", "desk/other/online", "desk/lamp"},
		},
	} {
		topics := row(t, tt.dialect).Topics(tt.topic)
		g := gateway.Grant{Publish: topics.Publish, Deny: topics.Deny, Subscribe: topics.Subscribe}
		for _, s := range tt.says {
			if !g.MayPublish(s) {
				t.Errorf("%s may not say %s", tt.topic, s)
			}
			if names := row(t, tt.dialect).Names(s); !slices.Contains(names, tt.topic) {
				t.Errorf("%s is not among the names of %s: %v", tt.topic, s, names)
			}
		}
		for _, s := range tt.hears {
			if !g.MayRead(s) {
				t.Errorf("%s may not hear %s", tt.topic, s)
			}
		}
		for _, s := range tt.forbidden {
			if g.MayPublish(s) {
				t.Errorf("%s may say %s", tt.topic, s)
			}
		}
		for _, f := range append(append(topics.Publish, topics.Subscribe...), topics.Deny...) {
			if !gateway.ValidFilter(f) {
				t.Errorf("%s: %q is no filter", tt.topic, f)
			}
		}
		if !g.MayRead(topics.Channel) || g.MayPublish(topics.Channel) {
			t.Errorf("%s: channel %s is not its own", tt.topic, topics.Channel)
		}
		on := gateway.Command{Action: gateway.ActionOn}
		ms, err := row(t, tt.dialect).Encode(gateway.Device{Topic: tt.topic}, on, "")
		if err != nil || ms[0].Topic != topics.Channel {
			t.Errorf("%s: Encode sends to %v (%v), the channel is %s", tt.topic, ms, err, topics.Channel)
		}
	}
}

func TestMain_ofOutputs(t *testing.T) {
	rs, err := row(t, dialect.Tasmota).Decode("tele/strip/STATE",
		[]byte(`{"UptimeSec":5,"POWER1":"ON","POWER2":"OFF"}`), noon)
	if err != nil || len(rs) != 3 {
		t.Fatal(rs, err)
	}
	for i, want := range []bool{true, true, false} {
		if dialect.Main(rs[i]) != want {
			t.Errorf("output %q is the device's: want %v", rs[i].Output, want)
		}
	}
}

func TestHousehold(t *testing.T) {
	m, err := dialect.Household("anna", "h1", "shutdown", "api")
	if err != nil || m.Topic != "wattle/global/anna" || m.QoS != 1 || m.Retain {
		t.Fatalf("%+v, %v", m, err)
	}
	var got map[string]any
	if err := json.Unmarshal(m.Payload, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"id": "h1", "kind": "shutdown", "sender": "api", "urgent": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := dialect.Household("anna", "h1", "explode", "api"); err == nil {
		t.Error("an unknown kind is sent")
	}
}

func TestGuess_foreign(t *testing.T) {
	for _, tt := range []struct{ client, topic, payload string }{
		{"", "tele/OBK/SENSOR", `{"ENERGY":{"Power":0,"ConsumptionTotal":255.3}}`}, // OpenBeken
		{"", "shellies/shellyplug-s-1/online", "true"},                             // first generation
		{"", "shellies/shellyplug-s-1/relay/0", "on"},
		{"", "attic/status", "online"},           // ESPHome
		{"", "homeassistant/status", "online"},   //
		{"", "solar/114/status/reachable", "1"},  // OpenDTU
		{"", "zigbee2mqtt/plug", `{"power":1}`},  //
		{"", "homie/5/lamp/light/power", "true"}, //
		{"", "house/online", "yes"},              //
	} {
		if d, ok := dialect.Guess(tt.client, tt.topic, []byte(tt.payload)); ok {
			t.Errorf("%s is taken for %s", tt.topic, d.Name)
		}
	}
	d, ok := dialect.Guess("DVES_49A3BC", "home/stat/x/TIMERS", []byte("{}"))
	if !ok || d.Name != dialect.Tasmota {
		t.Error("a Tasmota client is not recognised by its id")
	}
}

// fuzz holds one family to what is true for any input.
func fuzz(f *testing.F, name string) {
	d := row(f, name)
	for _, c := range captures(f, families[name]) {
		f.Add(c.Topic, []byte(c.Payload))
	}
	for what, payload := range spoilt(name) {
		if !strings.Contains(what, "brac") {
			f.Add(readingTopics[name], []byte(payload))
		}
	}
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		before := string(payload)
		reports, err := d.Decode(topic, payload, noon)
		if string(payload) != before {
			t.Error("the payload was changed")
		}
		dialect.Fields(reports, err)
		d.Names(topic)
		d.Matches(topic)
		if err != nil {
			if utf8.ValidString(topic) {
				checkReason(t, err)
			}
			return
		}
		for _, r := range reports {
			if r.Has == 0 || r.Device == "" {
				t.Errorf("an empty report: %+v", r)
			}
			for _, f := range []float64{r.Voltage, r.Current} {
				if math.IsInf(f, 0) || math.IsNaN(f) {
					t.Errorf("no number: %+v", r)
				}
			}
			if r.Tells(gateway.ReportAt) && (r.At < gateway.EarliestReading || r.At > noon+gateway.MaxAhead) {
				t.Errorf("believes the time %v", r.At)
			}
		}
		if len(payload) == 0 || payload[0] != '{' {
			return
		}
		again, err := d.Decode(topic, append([]byte("\n "), append(payload, '\t')...), noon)
		if err != nil || cmp.Diff(reports, again) != "" {
			t.Errorf("with blanks around it: %v, %s", err, cmp.Diff(reports, again))
		}
	})
}

func FuzzNative(f *testing.F)  { fuzz(f, dialect.Native) }
func FuzzTasmota(f *testing.F) { fuzz(f, dialect.Tasmota) }
func FuzzShelly(f *testing.F)  { fuzz(f, dialect.ShellyGen2) }
