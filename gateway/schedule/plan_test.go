package schedule_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/schedule"
)

// zone loads a zone of the database that is built in.
func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// show writes occurrences as "03-29T01:30:00Z on".
func show(list []schedule.Occurrence) string {
	var lines []string
	for _, o := range list {
		line := o.At.UTC().Format("01-02T15:04Z ") + string(o.Action)
		if o.Action == gateway.ActionPowerState {
			line = o.At.UTC().Format("01-02T15:04Z ") + o.PowerState.String()
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestPlan_Occurrences_knownDays(t *testing.T) {
	powered := func(iv gateway.Interval, during, after gateway.PowerState) gateway.PowerInterval {
		return gateway.PowerInterval{Interval: iv, During: during, After: after}
	}
	tests := []struct {
		name, zone, from, to string
		s                    gateway.Schedule
		want                 string
	}{
		{
			"a usual day", "Europe/Berlin", "2026-01-14T00:00:00+01:00", "2026-01-15T00:00:00+01:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(800, 1100), span(2200, 600)}},
			"01-14T05:00Z off\n01-14T07:00Z on\n01-14T10:00Z off\n01-14T21:00Z on",
		},
		{
			"from is inside, to is not", "UTC", "2026-01-14T08:00:00Z", "2026-01-14T11:00:00Z",
			gateway.Schedule{Intervals: []gateway.Interval{span(800, 1100)}},
			"01-14T08:00Z on",
		},
		{
			"just after from", "UTC", "2026-01-14T08:00:00.001Z", "2026-01-14T11:00:00.001Z",
			gateway.Schedule{Intervals: []gateway.Interval{span(800, 1100)}},
			"01-14T11:00Z off",
		},
		{
			"days are those of the beginning", // a Friday
			"UTC", "2026-01-16T00:00:00Z", "2026-01-19T00:00:00Z",
			gateway.Schedule{Intervals: []gateway.Interval{span(2200, 600, 5)}},
			"01-16T22:00Z on\n01-17T06:00Z off",
		},
		{
			"24:00 and 00:00 meet", "UTC", "2026-01-14T00:00:00Z", "2026-01-16T00:00:00Z",
			gateway.Schedule{Intervals: []gateway.Interval{span(2200, 2400), span(0, 200)}},
			"01-14T02:00Z off\n01-14T22:00Z on\n01-15T02:00Z off\n01-15T22:00Z on",
		},
		{
			"skipped time, read with the offset before: 02:30 is 03:30",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(230, 500)}},
			"03-29T01:30Z on\n03-29T03:00Z off",
		},
		{
			"interval within the gap keeps its length",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(200, 230)}},
			"03-29T01:00Z on\n03-29T01:30Z off",
		},
		{
			"its end is not after its beginning: empty",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(230, 330)}},
			"",
		},
		{
			"the gap makes two of them meet: on in either",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(200, 250), span(310, 320)}},
			"03-29T01:00Z on\n03-29T01:50Z off",
		},
		{
			"time that occurs twice: the first",
			"Europe/Berlin", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(230, 300)}},
			"10-25T00:30Z on\n10-25T02:00Z off",
		},
		{
			"half an hour of daylight saving", "Australia/Lord_Howe",
			"2026-04-05T00:00:00+11:00", "2026-04-06T00:00:00+10:30",
			gateway.Schedule{Intervals: []gateway.Interval{span(145, 215)}},
			"04-04T14:45Z on\n04-04T15:45Z off",
		},
		{
			"a day that was left out",
			"Pacific/Apia", "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00",
			gateway.Schedule{Intervals: []gateway.Interval{span(800, 900)}},
			"12-29T18:00Z on\n12-29T19:00Z off\n12-30T18:00Z on\n12-30T19:00Z off",
		},
		{
			"power states: during, and after until something else", "UTC",
			"2026-01-14T00:00:00Z", "2026-01-15T00:00:00Z",
			gateway.Schedule{Power: []gateway.PowerInterval{
				powered(span(800, 900), gateway.D0, gateway.D2),
				powered(span(900, 1000), gateway.D1, gateway.D3hot),
				powered(span(1200, 1300), gateway.D3hot, gateway.D3hot),
			}},
			"01-14T08:00Z D0\n01-14T09:00Z D1\n01-14T10:00Z D3hot",
		},
		{
			"the power schedule wins", "UTC", "2026-01-14T00:00:00Z", "2026-01-15T00:00:00Z",
			gateway.Schedule{
				Intervals: []gateway.Interval{span(800, 900)},
				Power:     []gateway.PowerInterval{powered(span(2200, 600), gateway.D2, gateway.D0)},
			},
			"01-14T06:00Z D0\n01-14T22:00Z D2",
		},
		{
			"of power intervals that the gap lets meet the earlier of the list wins",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-29T12:00:00+02:00",
			gateway.Schedule{Power: []gateway.PowerInterval{
				powered(span(300, 400), gateway.D1, gateway.D3hot),
				powered(span(200, 230), gateway.D2, gateway.D0),
			}},
			"03-29T01:00Z D1\n03-29T02:00Z D3hot",
		},
		{
			"an empty power interval wants nothing after it either",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-29T12:00:00+02:00",
			gateway.Schedule{Power: []gateway.PowerInterval{
				powered(span(100, 130), gateway.D1, gateway.D3hot),
				powered(span(230, 330), gateway.D2, gateway.D0),
			}},
			"03-29T00:00Z D1\n03-29T00:30Z D3hot",
		},
		{
			"of power intervals that end together the earlier of the list wins",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-29T12:00:00+02:00",
			gateway.Schedule{Power: []gateway.PowerInterval{
				powered(span(300, 330), gateway.D1, gateway.D3hot),
				powered(span(2300, 230), gateway.D2, gateway.D0),
			}},
			"03-29T01:00Z D1\n03-29T01:30Z D3hot",
		},
		{
			"and in the other order",
			"Europe/Berlin", "2026-03-29T00:00:00+01:00", "2026-03-29T12:00:00+02:00",
			gateway.Schedule{Power: []gateway.PowerInterval{
				powered(span(100, 230), gateway.D2, gateway.D0),
				powered(span(300, 330), gateway.D1, gateway.D3hot),
			}},
			"03-29T00:00Z D2\n03-29T01:30Z D0",
		},
		{
			"always on", "UTC", "2026-01-14T00:00:00Z", "2026-01-15T00:00:00Z",
			gateway.Schedule{AlwaysOn: true, Intervals: []gateway.Interval{span(800, 900)}},
			"",
		},
		{
			"no span", "UTC", "2026-01-15T00:00:00Z", "2026-01-14T00:00:00Z",
			gateway.Schedule{Intervals: []gateway.Interval{span(800, 900)}},
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, err1 := time.Parse(time.RFC3339Nano, tt.from)
			to, err2 := time.Parse(time.RFC3339Nano, tt.to)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			p := schedule.NewPlan(tt.s, zone(t, tt.zone))
			if diff := cmp.Diff(tt.want, show(p.Occurrences(from, to))); diff != "" {
				t.Errorf("want -, got +\n%s", diff)
			}
		})
	}
}

func TestPlan_Wanted(t *testing.T) {
	p := schedule.NewPlan(gateway.Schedule{Intervals: []gateway.Interval{span(2200, 600, 5)}}, nil)
	at := time.Date(2026, 1, 17, 3, 0, 0, 0, time.UTC) // Saturday
	got, ok := p.Wanted(at)
	want := schedule.Want{
		Action: gateway.ActionOn, Source: "schedule",
		Since: time.Date(2026, 1, 16, 22, 0, 0, 0, time.UTC),
		Until: time.Date(2026, 1, 17, 6, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("inside, ok %v: want -, got +\n%s", ok, diff)
	}
	got, ok = p.Wanted(want.Until)
	if !ok || got.Action != gateway.ActionOff || !got.Since.Equal(want.Until) {
		t.Errorf("at the end: got %+v, %v; want off since then", got, ok)
	}
	got, ok = p.Wanted(want.Since)
	if !ok || got.Action != gateway.ActionOn || !got.Since.Equal(want.Since) {
		t.Errorf("at the beginning: got %+v, %v; want on since then", got, ok)
	}
	p = schedule.NewPlan(gateway.Schedule{Intervals: []gateway.Interval{span(0, 2400)}}, nil)
	got, ok = p.Wanted(at)
	want = schedule.Want{Action: gateway.ActionOn, Source: "schedule"}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("round the clock, ok %v: want -, got +\n%s", ok, diff)
	}
	for _, s := range []gateway.Schedule{
		{},
		{AlwaysOn: true, Intervals: []gateway.Interval{span(0, 2400)}},
	} {
		if got, ok = schedule.NewPlan(s, nil).Wanted(at); ok {
			t.Errorf("%+v wants %+v, want nothing", s, got)
		}
	}
}

// TestPlan_Wanted_weekWithoutInterval checks that the state after an interval
// lasts although the next one is empty: it lies in the gap of the clock.
func TestPlan_Wanted_weekWithoutInterval(t *testing.T) {
	z := zone(t, "Europe/Berlin")
	p := schedule.NewPlan(gateway.Schedule{Power: []gateway.PowerInterval{
		{Interval: span(230, 330, 0), During: gateway.D2, After: gateway.D1},
	}}, z)
	w, ok := p.Wanted(time.Date(2026, 4, 4, 12, 0, 0, 0, z))
	if !ok || w.PowerState != gateway.D1 || !w.Since.IsZero() {
		t.Errorf("got %+v, %v; want D1 since more than 8 days", w, ok)
	}
	o, ok := p.Next(time.Date(2026, 3, 23, 0, 0, 0, 0, z))
	if want := time.Date(2026, 4, 5, 2, 30, 0, 0, z); !ok || !o.At.Equal(want) {
		t.Errorf("next: got %+v, %v; want %v", o, ok, want)
	}
}

func TestPlan_Next(t *testing.T) {
	p := schedule.NewPlan(gateway.Schedule{Intervals: []gateway.Interval{span(800, 900, 1)}}, nil)
	on := time.Date(2026, 1, 19, 8, 0, 0, 0, time.UTC) // Monday
	for _, after := range []time.Time{
		on.Add(-6 * 24 * time.Hour), on.Add(-time.Nanosecond), on.Add(-time.Second),
	} {
		if o, ok := p.Next(after); !ok || !o.At.Equal(on) || o.Action != gateway.ActionOn {
			t.Errorf("after %v: got %+v, %v", after, o, ok)
		}
	}
	if o, ok := p.Next(on); !ok || !o.At.Equal(on.Add(time.Hour)) || o.Action != gateway.ActionOff {
		t.Errorf("after the beginning: got %+v, %v", o, ok)
	}
	p = schedule.NewPlan(gateway.Schedule{Intervals: []gateway.Interval{span(0, 2400)}}, nil)
	if o, ok := p.Next(on); ok {
		t.Errorf("round the clock: got %+v, want none", o)
	}
}

// TestPlan_Occurrences_onceADay checks that an interval of every day begins
// and ends once on each local day, and that on and off alternate.
func TestPlan_Occurrences_onceADay(t *testing.T) {
	zones := []string{
		"Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu",
		"America/New_York", "Pacific/Apia",
	}
	schedules := []gateway.Interval{span(800, 1100), span(2200, 600), span(200, 400), span(130, 145)}
	for _, name := range zones {
		z := zone(t, name)
		for _, iv := range schedules {
			s := gateway.Schedule{Intervals: []gateway.Interval{iv}}
			from, to := time.Date(2024, 1, 1, 0, 0, 0, 0, z), time.Date(2031, 1, 1, 0, 0, 0, 0, z)
			list := schedule.NewPlan(s, z).Occurrences(from, to)
			seen := map[string]int{}
			for i, o := range list {
				if i > 0 && (o.Action == list[i-1].Action || !o.At.After(list[i-1].At)) {
					t.Fatalf("%s: %+v follows %+v", name, o, list[i-1])
				}
				seen[string(o.Action)+o.At.Format(time.DateOnly)]++
			}
			days := 0
			for d := from; d.Before(to); d = time.Date(d.Year(), d.Month(), d.Day()+1, 0, 0, 0, 0, z) {
				days++
				for _, what := range []string{"on", "off"} {
					if n := seen[what+d.Format(time.DateOnly)]; n != 1 {
						t.Errorf("%s, %d-%d: %d × %s on %s",
							name, iv.From, iv.To, n, what, d.Format(time.DateOnly))
					}
				}
			}
			if days != 2557 || len(list) != 2*days {
				t.Errorf("%s: %d days, %d occurrences", name, days, len(list))
			}
		}
	}
}

// drawIntervals draws intervals that do not overlap within the week: the
// week's minutes are cut, and each piece of less than a day becomes one.
func drawIntervals(t *rapid.T, label string) (list []gateway.Interval) {
	used := [7 * 24 * 60]bool{}
	for range rapid.IntRange(0, 6).Draw(t, label) {
		// Early hours are where clocks are changed.
		from := rapid.OneOf(rapid.IntRange(0, 1439), rapid.IntRange(0, 240)).Draw(t, "from")
		length := rapid.OneOf(rapid.IntRange(1, 1439), rapid.IntRange(1, 150)).Draw(t, "minutes")
		days := rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 126)).Draw(t, "days")
		iv := gateway.Interval{
			From: gateway.Clock(from), To: gateway.Clock((from + length) % 1440), Days: gateway.Days(days),
		}
		if iv.To == 0 {
			iv.To = 1440
		}
		var slots []int
		for d := range 7 {
			if days == 0 || days>>d&1 == 1 {
				for m := from; m < from+length; m++ {
					slots = append(slots, (d*1440+m)%len(used))
				}
			}
		}
		free := true
		for _, s := range slots {
			free = free && !used[s]
		}
		if !free {
			continue
		}
		for _, s := range slots {
			used[s] = true
		}
		list = append(list, iv)
	}
	return list
}

// drawSchedule draws a valid schedule.
func drawSchedule(t *rapid.T) (s gateway.Schedule) {
	s.Intervals = drawIntervals(t, "intervals")
	state := rapid.SampledFrom([]gateway.PowerState{
		gateway.D0, gateway.D1, gateway.D2, gateway.D3hot, gateway.D3cold,
	})
	for _, iv := range drawIntervals(t, "power intervals") {
		s.Power = append(s.Power, gateway.PowerInterval{
			Interval: iv, During: state.Draw(t, "during"), After: state.Draw(t, "after"),
		})
	}
	return s
}

// place is a zone and a day on which its clocks change.
type place struct {
	zone string
	day  time.Time
}

var places = []place{
	{"Europe/Berlin", time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC)},
	{"Europe/Berlin", time.Date(2027, 10, 31, 0, 0, 0, 0, time.UTC)},
	{"Australia/Lord_Howe", time.Date(2026, 4, 5, 0, 0, 0, 0, time.UTC)},
	{"Australia/Lord_Howe", time.Date(2026, 10, 4, 0, 0, 0, 0, time.UTC)},
	{"America/St_Johns", time.Date(2026, 3, 8, 0, 0, 0, 0, time.UTC)},
	{"America/St_Johns", time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
	{"America/St_Johns", time.Date(2010, 11, 7, 0, 0, 0, 0, time.UTC)}, // at 00:01
	{"America/New_York", time.Date(2030, 3, 10, 0, 0, 0, 0, time.UTC)},
	{"America/New_York", time.Date(2030, 11, 3, 0, 0, 0, 0, time.UTC)},
	{"Asia/Kathmandu", time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)},
	{"UTC", time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)},
	{"Pacific/Apia", time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)},
	{"Pacific/Apia", time.Date(2011, 12, 30, 0, 0, 0, 0, time.UTC)},      // left out
	{"America/Sao_Paulo", time.Date(2017, 10, 15, 0, 0, 0, 0, time.UTC)}, // at midnight
}

// minutes is the naive picture of a place: the minutes around its day one by
// one, and at which of them the wall clock shows a time for the first time.
type minutes struct {
	start time.Time // of minute 0
	n     int
	wall  map[int64]int // wall clock in Unix minutes as if UTC → minute
	last  []int64       // wall clock at each minute
}

const (
	daysBefore = 26 // of the day, from which on intervals are looked at
	daysAfter  = 12
)

func naive(t testing.TB, p place) (m minutes) {
	z := zone(t, p.zone)
	m.start = p.day.Add(-(daysBefore + 3) * 24 * time.Hour)
	m.n = (daysBefore + daysAfter + 6) * 24 * 60
	m.wall = make(map[int64]int, m.n)
	for i := range m.n {
		at := m.start.Add(time.Duration(i) * time.Minute)
		_, offset := at.In(z).Zone()
		w := at.Unix()/60 + int64(offset)/60
		if _, ok := m.wall[w]; !ok {
			m.wall[w] = i
		}
		m.last = append(m.last, w)
	}
	return m
}

// resolve finds the minute of a wall clock by looking.
func (m minutes) resolve(w int64) int {
	if i, ok := m.wall[w]; ok {
		return i
	}
	// Skipped: count on from the last minute before the gap.
	for i := range m.last {
		if m.last[i] > w {
			return i - 1 + int(w-m.last[i-1])
		}
	}
	panic("beyond the minutes looked at")
}

// words are what may be wanted; the first is nothing, and power states stand at
// their own number.
var words = []string{"", "D0", "D1", "D2", "D3hot", "D3cold", "off", "on"}

const wordOff, wordOn = 6, 7

// wants is what is wanted at each minute, as an index into words.
func (m minutes) wants(s gateway.Schedule, p place) []uint8 {
	want := make([]uint8, m.n)
	paint := func(iv gateway.Interval, fn func(begin, end int)) {
		for d := -daysBefore; d <= daysAfter; d++ {
			day := p.day.AddDate(0, 0, d)
			if iv.Days != 0 && iv.Days>>int(day.Weekday())&1 == 0 {
				continue
			}
			end := day.Unix()/60 + int64(iv.To)
			if iv.To <= iv.From {
				end = day.AddDate(0, 0, 1).Unix()/60 + int64(iv.To)
			}
			if b, e := m.resolve(day.Unix()/60+int64(iv.From)), m.resolve(end); b < e {
				fn(b, e)
			}
		}
	}
	if len(s.Intervals) > 0 {
		for i := range want {
			want[i] = wordOff
		}
	}
	for _, iv := range s.Intervals {
		paint(iv, func(b, e int) {
			for ; b < e; b++ {
				want[b] = wordOn
			}
		})
	}
	during, after := make([]uint8, m.n), make([]uint8, m.n)
	for i := len(s.Power) - 1; i >= 0; i-- { // the first of the list is painted last
		iv := s.Power[i]
		paint(iv.Interval, func(b, e int) {
			for k := b; k < e; k++ {
				during[k] = uint8(iv.During)
			}
			after[e] = uint8(iv.After)
		})
	}
	held := uint8(0)
	for i := range want {
		if after[i] != 0 {
			held = after[i]
		}
		if held != 0 {
			want[i] = held
		}
		if during[i] != 0 {
			want[i] = during[i]
		}
	}
	return want
}

func word(a gateway.Action, s gateway.PowerState) string {
	if a == gateway.ActionPowerState {
		return s.String()
	}
	return string(a)
}

// TestPlan_againstMinutes compares a plan with the naive picture.
func TestPlan_againstMinutes(t *testing.T) {
	pictures := make([]minutes, len(places))
	for i, p := range places {
		pictures[i] = naive(t, p)
	}
	rounds := 2 // of 100 schedules for each place
	if testing.Short() {
		rounds = 1
	}
	for range rounds {
		for i, p := range places {
			z, m := zone(t, p.zone), pictures[i]
			rapid.Check(t, func(t *rapid.T) { checkAgainst(t, p, z, m) })
		}
	}
}

// checkAgainst draws a schedule and compares what the plan says of 4 days
// around the switch with the naive picture.
func checkAgainst(t *rapid.T, p place, z *time.Location, m minutes) {
	s := drawSchedule(t)
	want := m.wants(s, p)
	plan := schedule.NewPlan(s, z)
	from := (daysBefore+3-1)*1440 - rapid.IntRange(0, 1440).Draw(t, "before")
	to := from + 4*1440
	at := func(i int) time.Time { return m.start.Add(time.Duration(i) * time.Minute) }
	var changes []string
	for i := from; i < to; i++ {
		if want[i] != want[i-1] {
			changes = append(changes, at(i).Format("01-02T15:04Z ")+words[want[i]])
		}
	}
	got := show(plan.Occurrences(at(from), at(to)))
	if diff := cmp.Diff(strings.Join(changes, "\n"), got); diff != "" {
		t.Fatalf("%s: %+v\nwant -, got +\n%s", p.zone, s, diff)
	}
	now := rapid.IntRange(from, to).Draw(t, "now")
	w, ok := plan.Wanted(at(now))
	if got := word(w.Action, w.PowerState); got != words[want[now]] || ok != (got != "") {
		t.Fatalf("%s: %+v\nat %v: got %q, %v; want %q", p.zone, s, at(now), got, ok, words[want[now]])
	}
	since, until := now, now+1
	for want[since-1] == want[now] && since > now-9*1440 {
		since--
	}
	for want[until] == want[now] && until < now+9*1440 {
		until++
	}
	if d := now - since; ok && d < 8*1440 && !w.Since.Equal(at(since)) {
		t.Fatalf("%s: %+v\nat %v: since %v, want %v", p.zone, s, at(now), w.Since, at(since))
	}
	if d := until - now; ok && d < 8*1440 && !w.Until.Equal(at(until)) {
		t.Fatalf("%s: %+v\nat %v: until %v, want %v", p.zone, s, at(now), w.Until, at(until))
	}
	next, ok := plan.Next(at(now))
	if until < now+8*1440 && (!ok || !next.At.Equal(at(until)) ||
		word(next.Action, next.PowerState) != words[want[until]]) {
		t.Fatalf("%s: %+v\nafter %v: got %+v, want %q at %v",
			p.zone, s, at(now), next, words[want[until]], at(until))
	}
}
