package energy_test

import (
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// instant reads RFC 3339.
func instant(t testing.TB, s string) gateway.Instant {
	t.Helper()
	x, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return gateway.InstantOf(x)
}

func TestEdges(t *testing.T) {
	for _, tt := range []struct {
		name, zone, from, to string
		step                 energy.Step
		want                 []string // between from and to
	}{
		{
			"hours are cut where the clock strikes", "Europe/Berlin",
			"2025-01-10T10:20:00+01:00", "2025-01-10T13:00:00+01:00", energy.StepHour,
			[]string{"2025-01-10T11:00:00+01:00", "2025-01-10T12:00:00+01:00"},
		},
		{
			"half-hour zone", "Asia/Kolkata",
			"2025-01-10T10:20:00+05:30", "2025-01-10T12:10:00+05:30", energy.StepHour,
			[]string{"2025-01-10T11:00:00+05:30", "2025-01-10T12:00:00+05:30"},
		},
		{
			"quarter-hour zone", "Asia/Kathmandu",
			"2025-01-10T23:59:00+05:45", "2025-01-11T00:06:00+05:45", energy.Step5Min,
			[]string{"2025-01-11T00:00:00+05:45", "2025-01-11T00:05:00+05:45"},
		},
		{
			"the day of 23 hours", "Europe/Berlin",
			"2025-03-29T00:00:00+01:00", "2025-04-01T00:00:00+02:00", energy.StepDay,
			[]string{"2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00"},
		},
		{
			"the hour that is left out", "Europe/Berlin",
			"2025-03-30T00:30:00+01:00", "2025-03-30T04:00:00+02:00", energy.StepHour,
			[]string{"2025-03-30T01:00:00+01:00", "2025-03-30T03:00:00+02:00"},
		},
		{
			"the day of 25 hours", "America/New_York",
			"2025-11-01T12:00:00-04:00", "2025-11-04T00:00:00-05:00", energy.StepDay,
			[]string{"2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"},
		},
		{
			"the hour that comes twice", "Europe/Berlin",
			"2025-10-26T01:00:00+02:00", "2025-10-26T04:00:00+01:00", energy.StepHour,
			[]string{"2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00", "2025-10-26T03:00:00+01:00"},
		},
		{
			"a change by half an hour", "Australia/Lord_Howe",
			"2025-04-06T00:00:00+11:00", "2025-04-07T00:00:00+10:30", energy.StepDay, nil,
		},
		{
			"no midnight in spring", "America/Santiago",
			"2025-09-06T12:00:00-04:00", "2025-09-08T00:00:00-03:00", energy.StepDay,
			[]string{"2025-09-07T01:00:00-03:00"},
		},
		{
			"midnight twice in autumn", "America/Havana",
			"2025-11-01T12:00:00-04:00", "2025-11-03T12:00:00-05:00", energy.StepDay,
			[]string{"2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"},
		},
		{
			"23 o'clock twice in autumn", "America/Santiago",
			"2025-04-05T12:00:00-03:00", "2025-04-06T12:00:00-04:00", energy.StepDay,
			[]string{"2025-04-06T00:00:00-04:00"},
		},
		{
			"a day that is left out", "Pacific/Apia",
			"2011-12-28T12:00:00-10:00", "2012-01-01T00:00:00+14:00", energy.StepDay,
			[]string{"2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"},
		},
		{
			"months", "Europe/Berlin",
			"2024-01-31T10:00:00+01:00", "2024-04-01T00:00:00+02:00", energy.StepMonth,
			[]string{"2024-02-01T00:00:00+01:00", "2024-03-01T00:00:00+01:00"},
		},
		{"all", "Europe/Berlin", "2024-01-31T10:00:00+01:00", "2025-04-01T00:00:00+02:00", energy.StepAll, nil},
		{
			"auto takes five minutes for half an hour", "Europe/Berlin",
			"2024-01-31T10:00:00+01:00", "2024-01-31T10:11:00+01:00", energy.StepAuto,
			[]string{"2024-01-31T10:05:00+01:00", "2024-01-31T10:10:00+01:00"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := []string{tt.from}
			want = append(append(want, tt.want...), tt.to)
			edges, err := energy.Edges(instant(t, tt.from), instant(t, tt.to), tt.step, zone(t, tt.zone))
			var got []string
			for _, e := range edges {
				got = append(got, e.Time().In(zone(t, tt.zone)).Format(time.RFC3339))
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestEdges_refuses(t *testing.T) {
	for _, tt := range []struct {
		from, to gateway.Instant
		step     energy.Step
	}{
		{5, 5, energy.StepHour},
		{6, 5, energy.StepAll},
		{0, 1, "7m"},
		{0, 1, ""},
		{0, 3 * 366 * 24 * gateway.Hour, energy.Step5Min},
		{-1 << 62, 1 << 62, energy.StepMonth},
		{-1 << 62, -1<<62 + 1, energy.StepDay},
		{1 << 62, 1<<62 + 1, energy.StepAuto},
	} {
		if _, err := energy.Edges(tt.from, tt.to, tt.step, time.UTC); err == nil ||
			gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
}

// Whatever zone and span, edges ascend, days begin where the local date
// changes, and auto makes a chart of bearable size.
func TestEdges_anyZone(t *testing.T) {
	zones := []string{
		"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe",
		"Pacific/Apia", "America/Santiago", "America/Havana", "Asia/Beirut", "Africa/Casablanca",
		"America/Sao_Paulo", "Pacific/Chatham", "Antarctica/Troll",
	}
	first := instant(t, "2005-01-01T00:00:00Z")
	rapid.Check(t, func(t *rapid.T) {
		z, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		steps := []energy.Step{
			energy.Step5Min, energy.StepHour, energy.StepDay, energy.StepMonth, energy.StepAll, energy.StepAuto,
		}
		step := rapid.SampledFrom(steps).Draw(t, "step")
		hour := rapid.IntRange(0, 20*365*24).Draw(t, "hour")
		from := first + gateway.Instant(hour)*gateway.Hour + gateway.Instant(rapid.IntRange(0, 3_600_000).Draw(t, "ms"))
		to := from + gateway.Instant(rapid.IntRange(1, 90*24).Draw(t, "hours"))*gateway.Hour
		edges, err := energy.Edges(from, to, step, z)
		if err != nil {
			t.Fatal(err)
		}
		if edges[0] != from || edges[len(edges)-1] != to {
			t.Errorf("from %s to %s: edges begin with %s and end with %s", from, to, edges[0], edges[len(edges)-1])
		}
		if !slices.IsSorted(edges) || len(slices.Compact(slices.Clone(edges))) != len(edges) {
			t.Errorf("edges do not ascend: %v", edges)
		}
		if step == energy.StepAuto && len(edges) > 403 {
			t.Errorf("%d edges", len(edges))
		}
		if step != energy.StepDay {
			return
		}
		for i := 1; i+1 < len(edges); i++ {
			here, before := edges[i].Time().In(z), edges[i].Time().In(z).Add(-time.Millisecond)
			if here.Format(time.DateOnly) <= before.Format(time.DateOnly) {
				t.Errorf("no day begins at %v", here)
			}
			if length := edges[i] - edges[i-1]; length > 49*gateway.Hour {
				t.Errorf("the day before %v has %v hours", here, float64(length)/float64(gateway.Hour))
			}
		}
	})
}

func TestDayOf(t *testing.T) {
	z := zone(t, "Europe/Berlin")
	from, to := energy.DayOf(instant(t, "2025-10-26T23:59:59+01:00"), z)
	if from != instant(t, "2025-10-26T00:00:00+02:00") || to != instant(t, "2025-10-27T00:00:00+01:00") {
		t.Errorf("got %s to %s", from, to)
	}
}

// A device that draws 1 kW all day: the day of 25 hours costs 25 kWh.
func TestQuery_daylightSaving(t *testing.T) {
	z := zone(t, "Europe/Berlin")
	first := instant(t, "2025-10-25T00:00:00+02:00")
	var rs readings
	for i := range 4 * 24 * 12 {
		rs = append(rs, gateway.Reading{
			At: first + gateway.Instant(i)*5*gateway.Minute, Power: gateway.Kilowatt, Has: gateway.HasPower,
		})
	}
	step, got, err := energy.Query(rs, first, instant(t, "2025-10-28T00:00:00+01:00"), energy.StepDay, z)
	if err != nil || step != energy.StepDay {
		t.Fatal(step, err)
	}
	var kwh []float64
	for _, b := range got {
		kwh = append(kwh, b.Energy.KWh())
	}
	if diff := cmp.Diff([]float64{24, 25, 24}, kwh); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkSeries sums a year of readings, one every ten seconds, up in hours.
func BenchmarkSeries(b *testing.B) {
	for _, bb := range []struct {
		name string
		has  gateway.ReadingFields
	}{
		{"power", gateway.HasPower},
		{"power and counter", gateway.HasPower | gateway.HasEnergy},
	} {
		b.Run(bb.name, func(b *testing.B) {
			const n = 30 * 8640
			rs := make(readings, n)
			for i := range rs {
				rs[i] = gateway.Reading{
					At: morning + gateway.Instant(i)*10*gateway.Second, Has: bb.has,
					Power: gateway.Power(i*7919%3000) * gateway.Watt, Energy: gateway.Energy(i) * gateway.WattHour,
				}
			}
			edges, err := energy.Edges(rs[0].At, rs[n-1].At, energy.StepHour, time.UTC)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := energy.Series(rs, edges); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "readings/s")
		})
	}
}
