package link_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/link"
)

// zone loads a zone or ends the test.
func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// index finds an appliance of the household by its icon.
func index(t testing.TB, h *link.Household, icon string) int {
	t.Helper()
	i := slices.IndexFunc(h.Appliances(), func(a link.Appliance) bool { return a.Icon == icon })
	if i < 0 {
		t.Fatalf("no appliance with the icon %q", icon)
	}
	return i
}

func TestHousehold_Appliances(t *testing.T) {
	icons := []string{
		"fridge", "freezer", "washing-machine", "dishwasher", "tv", "pc", "lamp", "router",
		"kettle", "heater", "oven", "plug",
	}
	topics, aliases, clients := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for n := 1; n <= 3; n++ {
		list := link.NewHousehold(n, time.UTC).Appliances()
		if len(list) < 10 {
			t.Fatalf("household %d: %d appliances, want 10 or more", n, len(list))
		}
		dialects := map[string]int{}
		for _, a := range list {
			dialects[a.Dialect]++
			if !slices.Contains(icons, a.Icon) {
				t.Errorf("household %d: %s: icon %q is unknown", n, a.Alias, a.Icon)
			}
			if topics[a.Topic] || aliases[a.Alias] || clients[a.ClientID] {
				t.Errorf("household %d: %+v is not the only one of its name", n, a)
			}
			topics[a.Topic], aliases[a.Alias], clients[a.ClientID] = true, true, true
			if !gateway.ValidTopic(a.Topic) || a.Room == "" {
				t.Errorf("household %d: %+v lacks a room or a topic", n, a)
			}
		}
		for _, d := range []string{"native", "tasmota", "shelly-gen2"} {
			if dialects[d] < 3 {
				t.Errorf("household %d: %d appliances speak %s, want 3 or more", n, dialects[d], d)
			}
		}
	}
}

func TestHousehold_Watts_deterministic(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	differ := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 50).Draw(t, "household")
		a, b := link.NewHousehold(n, berlin), link.NewHousehold(n, berlin)
		other := link.NewHousehold(n+1, berlin)
		i := rapid.IntRange(0, len(a.Appliances())-1).Draw(t, "appliance")
		m := a.Meter(i)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, berlin)
		// In any order, a meter shows what the model says.
		for range 5 {
			at := at.Add(time.Duration(rapid.Int64Range(-3e6, 9e6).Draw(t, "second")) * time.Second)
			w, e := m.Read(at)
			if got := b.Watts(i, at); got != w {
				t.Fatalf("at %s: %s and %s", at, got, w)
			}
			if _, again := b.Meter(i).Read(at); again != e {
				t.Fatalf("at %s: counters %s and %s", at, e, again)
			}
			if other.Watts(i, at) != w {
				differ++
			}
		}
	})
	if differ == 0 {
		t.Error("all households are the same")
	}
}

func TestMeter_Read_integral(t *testing.T) {
	berlin, lordHowe, cairo := zone(t, "Europe/Berlin"), zone(t, "Australia/Lord_Howe"),
		zone(t, "Africa/Cairo")
	days := []struct {
		name  string
		day   time.Time
		hours float64
	}{
		{"winter", time.Date(2026, 1, 14, 0, 0, 0, 0, berlin), 24},
		{"spring forward", time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), 23},
		{"fall back", time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), 25},
		{"half an hour", time.Date(2026, 4, 5, 0, 0, 0, 0, lordHowe), 24.5},
		{"no midnight", time.Date(2026, 4, 24, 12, 0, 0, 0, cairo), 24},
		{"before the meters", time.Date(2025, 12, 30, 0, 0, 0, 0, berlin), 24},
	}
	for _, d := range days {
		t.Run(d.name, func(t *testing.T) {
			h := link.NewHousehold(1, d.day.Location())
			end := d.day.AddDate(0, 0, 1)
			if got := end.Sub(d.day).Hours(); got != d.hours {
				t.Fatalf("the day has %v hours, want %v", got, d.hours)
			}
			for i, a := range h.Appliances() {
				m := h.Meter(i)
				_, first := m.Read(d.day)
				last, mws := first, int64(0)
				for at := d.day; at.Before(end); at = at.Add(time.Second) {
					w, e := m.Read(at)
					if e < last {
						t.Fatalf("%s: the counter falls from %s to %s at %s", a.Alias, last, e, at)
					}
					last, mws = e, mws+int64(w)
				}
				_, after := m.Read(end)
				got, want := (after - first).Wh(), float64(mws)/3600/1000
				if math.Abs(got-want) > 1 {
					t.Errorf("%s: the counter rose by %.3f Wh, the power amounts to %.3f Wh",
						a.Alias, got, want)
				}
			}
		})
	}
}

// span sums up what an appliance does from a day on.
type span struct {
	kwhDay   float64 // kWh a day
	peak     float64 // W
	least    float64 // W
	above60  float64 // part of the time above 60 W
	readings int
}

// spanOf looks at an appliance each minute of so many days.
func spanOf(h *link.Household, i int, from time.Time, days int) span {
	m := h.Meter(i)
	s := span{least: math.Inf(1)}
	to := from.AddDate(0, 0, days)
	_, first := m.Read(from)
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		w, _ := m.Read(at)
		s.readings++
		s.peak, s.least = max(s.peak, w.W()), min(s.least, w.W())
		if w > 60*gateway.Watt {
			s.above60++
		}
	}
	_, last := m.Read(to)
	s.kwhDay = (last - first).KWh() / float64(days)
	s.above60 /= float64(s.readings)
	return s
}

func TestHousehold_Watts_plausible(t *testing.T) {
	// What measured appliances of these kinds draw, with room for habits.
	want := map[string]struct{ kwhLow, kwhHigh, peakLow, peakHigh float64 }{
		"fridge":          {0.5, 1.3, 90, 210},
		"freezer":         {0.6, 1.4, 95, 150},
		"washing-machine": {0.1, 1.3, 1800, 2400},
		"dishwasher":      {0.4, 1.4, 1800, 2300},
		"tv":              {0.15, 0.7, 75, 140},
		"pc":              {0.1, 1.4, 130, 260},
		"router":          {0.18, 0.29, 8, 16},
		"kettle":          {0.15, 1.0, 1900, 3000},
		"heater":          {2.5, 9, 1800, 2300},
		"lamp":            {0.02, 0.15, 8, 20},
		"oven":            {0.15, 1.6, 2100, 2800},
		"plug":            {0.5, 1.2, 40, 75},
	}
	berlin := zone(t, "Europe/Berlin")
	for n := 1; n <= 6; n++ {
		h := link.NewHousehold(n, berlin)
		for i, a := range h.Appliances() {
			s := spanOf(h, i, time.Date(2026, 9, 1, 0, 0, 0, 0, berlin), 60)
			w := want[a.Icon]
			if s.kwhDay < w.kwhLow || s.kwhDay > w.kwhHigh {
				t.Errorf("%s: %.2f kWh a day, want %v to %v", a.Alias, s.kwhDay, w.kwhLow, w.kwhHigh)
			}
			if s.peak < w.peakLow || s.peak > w.peakHigh || s.least < 0 {
				t.Errorf("%s: from %.1f W to %.1f W, want a peak of %v to %v",
					a.Alias, s.least, s.peak, w.peakLow, w.peakHigh)
			}
			if a.Icon == "fridge" || a.Icon == "freezer" {
				if s.above60 < 0.30 || s.above60 > 0.47 {
					t.Errorf("%s: runs %.0f %% of the time, want 30 to 47", a.Alias, 100*s.above60)
				}
			}
		}
	}
}

func TestHousehold_Watts_seasons(t *testing.T) {
	h := link.NewHousehold(1, zone(t, "Europe/Berlin"))
	january := time.Date(2026, 1, 5, 0, 0, 0, 0, h.Zone())
	july := time.Date(2026, 7, 6, 0, 0, 0, 0, h.Zone())
	for _, c := range []struct {
		icon   string
		winter bool // draws more in winter
	}{{"heater", true}, {"lamp", true}, {"fridge", false}} {
		i := index(t, h, c.icon)
		w, s := spanOf(h, i, january, 21).kwhDay, spanOf(h, i, july, 21).kwhDay
		if w > s != c.winter {
			t.Errorf("%s: %.2f kWh a day in January, %.2f in July", c.icon, w, s)
		}
	}
}

func TestHousehold_Watts_alive(t *testing.T) {
	h := link.NewHousehold(1, zone(t, "Europe/Berlin"))
	day := time.Date(2026, 10, 1, 0, 0, 0, 0, h.Zone())
	typical, all := 0, 0
	for range 60 {
		for at := day.Add(8 * time.Hour); at.Before(day.Add(22 * time.Hour)); at = at.Add(10 * time.Minute) {
			total, busy := gateway.Power(0), map[gateway.Power]bool{}
			for i := range h.Appliances() {
				w := h.Watts(i, at)
				total += w
				if w > 0 {
					busy[w] = true
				}
			}
			if len(busy) < 6 {
				t.Errorf("at %s only %d different watts are drawn", at, len(busy))
			}
			if total > 10*gateway.Kilowatt {
				t.Errorf("at %s the household draws %s", at, total)
			}
			all++
			if total > 100*gateway.Watt && total < 4*gateway.Kilowatt {
				typical++
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	if typical*10 < all*8 {
		t.Errorf("only %d of %d instants are between 100 W and 4 kW", typical, all)
	}
}

func TestHousehold_History(t *testing.T) {
	h := link.NewHousehold(2, zone(t, "Europe/Berlin"))
	from := time.Date(2026, 10, 24, 13, 0, 0, 0, h.Zone())
	to := from.AddDate(0, 0, 2)
	perAppliance := make([]int, len(h.Appliances()))
	last := make([]gateway.Reading, len(h.Appliances()))
	err := h.History(from, to, time.Minute, func(i int, r gateway.Reading) error {
		if r.At < last[i].At || r.At < gateway.InstantOf(from) || r.At >= gateway.InstantOf(to) {
			t.Fatalf("appliance %d: %s after %s", i, r.At, last[i].At)
		}
		if err := r.Check(r.At); err != nil {
			t.Fatalf("appliance %d: %v", i, err)
		}
		if r.Energy < last[i].Energy {
			t.Fatalf("appliance %d: the counter falls at %s", i, r.At)
		}
		perAppliance[i]++
		last[i] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range perAppliance {
		if n != 49*60 { // the clocks go back in these two days
			t.Errorf("appliance %d: %d readings, want %d", i, n, 49*60)
		}
		w, e := h.Meter(i).Read(to)
		if rise := e - last[i].Energy; rise < 0 || rise > gateway.Energy(3*gateway.Kilowatt)/60 {
			t.Errorf("appliance %d: %s after the history is %s, its end %s", i, w, e, last[i].Energy)
		}
	}
}

func TestHousehold_History_ends(t *testing.T) {
	h := link.NewHousehold(1, time.UTC)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stop, calls := errors.New("enough"), 0
	err := h.History(from, from.AddDate(0, 0, 1), time.Minute,
		func(int, gateway.Reading) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("got %v after %d calls, want the function's error after one", err, calls)
	}
	err = h.History(from, from.AddDate(0, 0, 1), 0,
		func(int, gateway.Reading) error { return nil })
	if gateway.CodeOf(err) != gateway.CodeInvalid {
		t.Errorf("step 0: got %v, want it refused", err)
	}
}

func BenchmarkHousehold_History(b *testing.B) {
	h := link.NewHousehold(1, zone(b, "Europe/Berlin"))
	to := time.Date(2026, 11, 25, 0, 0, 0, 0, h.Zone())
	n := 0
	for b.Loop() {
		err := h.History(to.AddDate(0, 0, -60), to, time.Minute,
			func(int, gateway.Reading) error { n++; return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "readings/s")
}

func TestNewFitted(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	day := time.Date(2026, 9, 26, 15, 0, 0, 0, berlin)
	a, b := link.NewHousehold(1, berlin), link.NewFitted(1, berlin, day)
	if want := time.Date(2026, 9, 26, 0, 0, 0, 0, berlin); !b.Fitted().Equal(want) {
		t.Errorf("fitted %s, want %s", b.Fitted(), want)
	}
	// The same people do the same; their counters differ by a constant.
	for i, x := range a.Appliances() {
		ma, mb := a.Meter(i), b.Meter(i)
		_, first := ma.Read(day)
		_, start := mb.Read(day)
		for n := range 50 {
			at := day.Add(time.Duration(n) * 47 * time.Minute)
			wa, ea := ma.Read(at)
			wb, eb := mb.Read(at)
			if d := (ea - first) - (eb - start); wa != wb || d < -1 || d > 1 {
				t.Fatalf("%s at %s: %s and %s, the counters rose by %s and %s",
					x.Alias, at, wa, wb, ea-first, eb-start)
			}
		}
	}
}
