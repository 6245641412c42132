package schedule_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/schedule"
)

// span is an interval for tests: hours and minutes as 830 for 08:30.
func span(from, to int, days ...int) gateway.Interval {
	iv := gateway.Interval{
		From: gateway.Clock(from/100*60 + from%100), To: gateway.Clock(to/100*60 + to%100),
	}
	for _, d := range days {
		iv.Days |= 1 << d
	}
	return iv
}

func TestParse_accepts(t *testing.T) {
	tests := []struct {
		name, in string
		want     gateway.Schedule
	}{
		{"nothing", `{}`, gateway.Schedule{}},
		{
			"everything empty",
			` {"always_on":false,"schedule":[],"power_schedule":[],"handlers":{},"channel":""} `,
			gateway.Schedule{},
		},
		{"handlers as an empty list", `{"handlers":[ ]}`, gateway.Schedule{}},
		{
			"objects",
			`{"always_on":true,"channel":"wattle/heater/set",
			  "schedule":[{"from":"08:00","to":"11:00","days":["mon","TUE"]},{"from":"22:30","to":"24:00"}],
			  "power_schedule":[{"from":"22:00","to":"06:00","during":"d2","after":"D0"}]}`,
			gateway.Schedule{
				AlwaysOn: true, Channel: "wattle/heater/set",
				Intervals: []gateway.Interval{span(800, 1100, 1, 2), span(2230, 2400)},
				Power: []gateway.PowerInterval{
					{Interval: span(2200, 600), During: gateway.D2, After: gateway.D0},
				},
			},
		},
		{
			"older lists",
			`{"schedule":[[8,11],[20.5,24]],"power_schedule":[[8,11,"D0","D3hot"]]}`,
			gateway.Schedule{
				Intervals: []gateway.Interval{span(800, 1100), span(2030, 2400)},
				Power: []gateway.PowerInterval{
					{Interval: span(800, 1100), During: gateway.D3hot, After: gateway.D0},
				},
			},
		},
		{
			"hours that are thirds of an hour", `{"schedule":[[8.33,8.6667]]}`,
			gateway.Schedule{Intervals: []gateway.Interval{span(820, 840)}},
		},
		{
			"all days are the same as none",
			`{"schedule":[{"from":"08:00","to":"09:00",
				"days":["mon","tue","wed","thu","fri","sat","sun"]}]}`,
			gateway.Schedule{Intervals: []gateway.Interval{span(800, 900)}},
		},
		{
			"intervals that touch, also at midnight and at the week's end",
			`{"schedule":[{"from":"08:00","to":"12:00"},{"from":"12:00","to":"24:00"},
			  {"from":"00:00","to":"08:00"}]}`,
			gateway.Schedule{
				Intervals: []gateway.Interval{span(800, 1200), span(1200, 2400), span(0, 800)},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schedule.Parse([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
		})
	}
}

func TestParse_refuses(t *testing.T) {
	tests := []struct {
		name, in string
		fields   string // the faulty paths
		detail   string // part of the first detail
	}{
		{"no JSON", `{"schedule":`, "schedule", "not valid JSON"},
		{"nothing at all", ``, "schedule", "not valid JSON"},
		{"two objects", `{} {}`, "schedule", "not valid JSON"},
		{"no UTF-8", "{\"channel\":\"\xff\"}", "schedule", "UTF-8"},
		{"a list", `[]`, "schedule", "is a list"},
		{"null", `null`, "schedule", "is null"},
		{"deep", strings.Repeat("[", 60000), "schedule", "not valid JSON"},
		{"unknown field", `{"shedule":[]}`, "shedule", "not known"},
		{"other case", `{"Schedule":[]}`, "Schedule", "not known"},
		{"field twice", `{"schedule":[],"schedule":[]}`, "schedule", "twice"},
		{
			"wrong types", `{"always_on":1,"schedule":{},"power_schedule":null,"handlers":"x","channel":[]}`,
			"always_on schedule power_schedule handlers channel", "is a number, want true or false",
		},
		{"null for a yes or no", `{"always_on":null}`, "always_on", "is null"},
		{"handlers", `{"handlers":{"alarm":{"seconds":60}}}`, "handlers", "not supported by this"},
		{"list of handlers", `{"handlers":[{"name":"alarm"}]}`, "handlers", "not supported by this"},
		{"wildcard", `{"channel":"wattle/+/set"}`, "channel", "wildcards"},
		{"broker's topic", `{"channel":"$SYS/x"}`, "channel", "belongs to the broker"},
		{"long topic", `{"channel":"` + strings.Repeat("x", 257) + `"}`, "channel", "longer"},
		{"deep topic", `{"channel":"a/b/c/d/e/f/g/h/i/j/k/l/m"}`, "channel", "longer"},
		{"element of another type", `{"schedule":[8]}`, "schedule[0]", "is a number"},
		{"empty element", `{"schedule":[{}]}`, "schedule[0].from schedule[0].to", "missing"},
		{
			"unknown field in it", `{"schedule":[{"from":"08:00","to":"09:00","during":"D0"}]}`,
			"schedule[0].during", "not known",
		},
		{
			"no clock", `{"schedule":[{"from":"8:00","to":"25:00"},{"from":"08:60","to":"0x:00"}]}`,
			"schedule[0].from schedule[0].to schedule[1].from schedule[1].to", `"8:00" is not a time`,
		},
		{
			"clock as a number", `{"schedule":[{"from":8,"to":"11:00"}]}`,
			"schedule[0].from", "is a number",
		},
		{
			"24:00 as from", `{"schedule":[{"from":"24:00","to":"11:00"}]}`,
			"schedule[0].from", "only",
		},
		{
			"after midnight's end", `{"schedule":[{"from":"23:00","to":"24:01"}]}`,
			"schedule[0].to", "not a time",
		},
		{
			"no length", `{"schedule":[{"from":"08:00","to":"08:00"}]}`,
			"schedule[0].to", "same as from",
		},
		{"no length in hours", `{"schedule":[[8,8.001]]}`, "schedule[0][1]", "same"},
		{
			"days", `{"schedule":[{"from":"08:00","to":"09:00","days":["mon","monday",3,"MON"]}]}`,
			"schedule[0].days[1] schedule[0].days[2] schedule[0].days[3]", `"monday" is not one of`,
		},
		{
			"no days", `{"schedule":[{"from":"08:00","to":"09:00","days":[]}]}`,
			"schedule[0].days", "empty",
		},
		{
			"days as text", `{"schedule":[{"from":"08:00","to":"09:00","days":"mon"}]}`,
			"schedule[0].days", "is text",
		},
		{
			"hours", `{"schedule":[[24,3],[-1,25],["8",11]]}`,
			"schedule[0][0] schedule[1][0] schedule[1][1] schedule[2][0]",
			"24 is not an hour from 0 to 23:59",
		},
		{"hours that are huge", `{"schedule":[[1e400,3]]}`, "schedule[0][0]", "not an hour"},
		{
			"a list too short", `{"schedule":[[8]],"power_schedule":[[8,11,"D0"]]}`,
			"schedule[0] power_schedule[0]", "has 1 elements, want 2",
		},
		{
			"states", `{"power_schedule":[{"from":"08:00","to":"09:00","during":"D4","after":null},
			[10,11,"D0",2]]}`,
			"power_schedule[0].during power_schedule[0].after power_schedule[1][3]",
			`"D4"`,
		},
		{
			"no states", `{"power_schedule":[{"from":"08:00","to":"09:00"}]}`,
			"power_schedule[0].during power_schedule[0].after", "missing",
		},
		{"overlap", `{"schedule":[[8,11],[10,12]]}`, "schedule[1]", "overlaps schedule[0]"},
		{"overlap past midnight", `{"schedule":[{"from":"22:00","to":"06:00","days":["sun"]},
			{"from":"05:59","to":"07:00","days":["mon"]}]}`, "schedule[1]", "overlaps schedule[0]"},
		{"overlap past the week's end", `{"schedule":[{"from":"00:00","to":"01:00","days":["sun"]},
			{"from":"23:00","to":"00:01","days":["sat"]}]}`, "schedule[1]", "overlaps schedule[0]"},
		{
			"overlap of states", `{"power_schedule":[[8,11,"D0","D2"],[10,12,"D0","D2"]]}`,
			"power_schedule[1]", "overlaps power_schedule[0]",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := schedule.Parse([]byte(tt.in))
			var e *gateway.Error
			if !errors.As(err, &e) || e.Code != gateway.CodeInvalid {
				t.Fatalf("got %v, want an invalid schedule", err)
			}
			var fields []string
			for _, f := range e.Fields {
				fields = append(fields, f.Field)
			}
			if got := strings.Join(fields, " "); got != tt.fields {
				t.Errorf("faulty fields: got %q, want %q", got, tt.fields)
			}
			if len(e.Fields) > 0 && !strings.Contains(e.Fields[0].Detail, tt.detail) {
				t.Errorf("first fault: got %q, want it to say %q", e.Fields[0].Detail, tt.detail)
			}
		})
	}
}

// TestParse_intervalsInDifferentLists checks that the two lists may overlap
// each other, and the same hours on other days.
func TestParse_intervalsInDifferentLists(t *testing.T) {
	in := `{"schedule":[{"from":"08:00","to":"11:00","days":["mon"]},
			{"from":"08:00","to":"11:00","days":["tue"]}],
		"power_schedule":[[8,11,"D0","D2"]]}`
	if _, err := schedule.Parse([]byte(in)); err != nil {
		t.Fatal(err)
	}
}

func TestParse_countOfIntervals(t *testing.T) {
	list := func(n int) []byte {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,{"from":"%02d:%02d","to":"%02d:%02d"}`, i/60, i%60, (i+1)/60, (i+1)%60)
		}
		return []byte(`{"schedule":[` + b.String()[1:] + `]}`)
	}
	s, err := schedule.Parse(list(schedule.MaxIntervals))
	if err != nil || len(s.Intervals) != schedule.MaxIntervals {
		t.Fatalf("got %d intervals, %v", len(s.Intervals), err)
	}
	_, err = schedule.Parse(list(schedule.MaxIntervals + 1))
	if gateway.CodeOf(err) != gateway.CodeInvalid {
		t.Fatalf("one more: got %v, want it refused", err)
	}
	many := []byte(`{"schedule":[` + strings.Repeat(`8,`, 999) + `8]}`)
	_, err = schedule.Parse(many)
	var e *gateway.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 || len(e.Fields) > 50 {
		t.Fatalf("a thousand faults: got %d listed", len(e.Fields))
	}
}

func TestFormat_canonical(t *testing.T) {
	s := gateway.Schedule{
		Channel:   "a/b",
		Intervals: []gateway.Interval{span(830, 2400, 0, 6, 1), span(0, 800)},
		Power: []gateway.PowerInterval{
			{Interval: span(2200, 600), During: gateway.D2, After: gateway.D0},
		},
	}
	got, err := schedule.Format(s)
	want := `{"always_on":false,"schedule":[{"from":"08:30","to":"24:00",` +
		`"days":["mon","sat","sun"]},{"from":"00:00","to":"08:00"}],` +
		`"power_schedule":[{"from":"22:00","to":"06:00","during":"D2","after":"D0"}],` +
		`"handlers":{},"channel":"a/b"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	got, err = schedule.Format(gateway.Schedule{})
	want = `{"always_on":false,"schedule":[],"power_schedule":[],"handlers":{}}`
	if err != nil || string(got) != want {
		t.Errorf("empty: got %s, %v; want %s", got, err, want)
	}
	s.Handlers = []gateway.Handler{{Name: "alarm", Settings: json.RawMessage(`{}`)}}
	if _, err := schedule.Format(s); err == nil {
		t.Error("handlers were left out without a word")
	}
}

func TestFormat_roundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSchedule(t)
		want.AlwaysOn = rapid.Bool().Draw(t, "always on")
		want.Channel = rapid.SampledFrom([]string{"", "a", "wattle/ü/set", `a"b\c`}).Draw(t, "channel")
		text, err := schedule.Format(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := schedule.Parse(text)
		if err != nil {
			t.Fatalf("parsing %s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("want -, got +\n%s", diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schedule":[[8,11]],"power_schedule":[[8,11,"D0","D2"]],"handlers":{}}`))
	f.Add([]byte(`{"schedule":[{"from":"22:00","to":"06:00","days":["mon"]}],"always_on":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := schedule.Parse(data)
		if err != nil {
			return
		}
		text, err := schedule.Format(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := schedule.Parse(text)
		if err != nil {
			t.Fatalf("%s became %s: %v", data, text, err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatalf("%s became %s\n%s", data, text, diff)
		}
	})
}
