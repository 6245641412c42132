package energy_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// morning is a UTC midnight.
const morning gateway.Instant = 1_741_996_800_000 // 2025-03-15T00:00:00Z

// watts makes a reading, so many seconds after the morning.
func watts(second int, w float64) gateway.Reading {
	p, _ := gateway.Watts(w)
	return gateway.Reading{At: at(second), Power: p, Has: gateway.HasPower}
}

// counter makes a reading of a counter in watt-hours.
func counter(second int, wh float64) gateway.Reading {
	e, _ := gateway.WattHours(wh)
	return gateway.Reading{At: at(second), Energy: e, Has: gateway.HasEnergy}
}

// both makes a reading of both.
func both(second int, w, wh float64) gateway.Reading {
	return watts(second, w).Merge(counter(second, wh))
}

func at(second int) gateway.Instant { return morning + gateway.Instant(second)*gateway.Second }

// each makes n readings, step seconds apart.
func each(first, step, n int, make func(second int) gateway.Reading) (rs []gateway.Reading) {
	for i := range n {
		rs = append(rs, make(first+i*step))
	}
	return rs
}

func constant(w float64) func(int) gateway.Reading {
	return func(s int) gateway.Reading { return watts(s, w) }
}

func TestSeries_rule(t *testing.T) {
	const hour = 3600
	for _, tt := range []struct {
		name     string
		readings []gateway.Reading
		from, to int
		wh       float64
		minutes  float64 // covered
		bridged  float64 // minutes estimated
	}{
		{"no readings", nil, 0, hour, 0, 0, 0},
		{"one reading holds no time", []gateway.Reading{watts(5, 100)}, 0, hour, 0, 0, 0},
		{
			"an hour at 60 W, the last holds one interval",
			each(0, 60, 60, constant(60)), 0, 2 * hour, 60, 60, 0,
		},
		{"half of it", each(0, 60, 60, constant(60)), 900, 2700, 30, 30, 0},
		{"a reading before holds into the span", each(0, 600, 7, constant(600)), 650, 700, 600. * 50 / 3600, 50. / 60, 0},
		{
			"a pause of three intervals is none",
			slices.Concat(each(0, 600, 6, constant(60)), each(3000+1800, 600, 6, constant(60))),
			0, 3000 + 1800, 80, 80, 0,
		},
		{
			"a pause of more is, and the reading before holds once",
			slices.Concat(each(0, 600, 6, constant(60)), each(3000+1802, 600, 6, constant(60))),
			0, 3000 + 1802, 60, 60, 0,
		},
		{
			"under 15 minutes there is no gap",
			slices.Concat(each(0, 10, 7, constant(36)), each(60+898, 10, 7, constant(36))),
			0, 60 + 898, 958. / 100, 958. / 60, 0,
		},
		{
			"at 15 minutes there is one",
			slices.Concat(each(0, 10, 7, constant(36)), each(60+900, 10, 7, constant(36))),
			0, 60 + 900, 0.7, 70. / 60, 0,
		},
		{
			"what is fed in counts negative",
			each(0, 60, 60, constant(-60)), 0, hour, -60, 60, 0,
		},
		{
			"a counter stands against power",
			each(0, 60, 61, func(s int) gateway.Reading { return both(s, 999, 5000+float64(s)/60) }),
			0, hour, 60, 60, 0,
		},
		{
			"a counter alone",
			each(0, 60, 61, func(s int) gateway.Reading { return counter(s, 5000+float64(s)/60) }),
			0, hour, 60, 60, 0,
		},
		{
			"a counter bridges a gap evenly",
			slices.Concat(
				each(0, 60, 11, func(s int) gateway.Reading { return both(s, 60, 100+float64(s)/60) }),
				each(600+4*hour, 60, 11, func(s int) gateway.Reading {
					return both(s, 60, 100+10+400+float64(s-600-4*hour)/60)
				}),
			),
			600, 600 + hour, 100, 60, 60,
		},
		{
			"a counter that falls leaves its interval to power",
			slices.Concat(
				each(0, 60, 11, func(s int) gateway.Reading { return both(s, 120, 100+float64(s)/60) }),
				each(660, 60, 10, func(s int) gateway.Reading { return both(s, 120, float64(s-660)/60) }),
			),
			0, 1200, 10 + 2 + 9, 21 - 1, 0,
		},
		{
			"a counter that leaps, too",
			each(0, 60, 11, func(s int) gateway.Reading {
				if s < 300 {
					return both(s, 120, 0)
				}
				return both(s, 120, 5e6)
			}),
			0, 600, 2, 10, 0,
		},
		{
			"a coarse counter may rise by a kilowatt-hour at once",
			[]gateway.Reading{counter(0, 1000), counter(10, 2000), counter(20, 2000)},
			0, 20, 1000, 20. / 60, 0,
		},
		{
			"counter and power apart: power stands before the first counter and after the last",
			slices.Concat(
				each(0, 10, 60, constant(360)),
				[]gateway.Reading{counter(105, 50), counter(405, 51)},
			),
			0, 600, (105+195)*0.1 + 1, 10, 0,
		},
		{
			"a counter that falls between two readings of power",
			[]gateway.Reading{
				watts(0, 360), counter(2, 10), counter(4, 11), counter(6, 1), counter(8, 2), watts(10, 360),
				watts(20, 360), watts(30, 360),
			},
			0, 10, 2*0.1 + 1 + 2*0.1 + 1 + 2*0.1, 10. / 60, 0,
		},
		{
			"a day with few readings has the interval of the day before",
			slices.Concat(each(0, 60, 10, constant(60)), []gateway.Reading{watts(36*hour, 60), watts(40*hour, 60)}),
			24 * hour, 48 * hour, 2, 2, 0,
		},
		{
			"however far back that is",
			slices.Concat(each(0, 60, 10, constant(60)), []gateway.Reading{watts(36*hour, 60), watts(80*hour, 60)}),
			79 * hour, 90 * hour, 1, 1, 0,
		},
		{
			"power is looked for behind the counter, over midnight",
			slices.Concat(
				each(23*hour, 600, 6, constant(60)),
				[]gateway.Reading{counter(24*hour+60, 7), watts(24*hour+120, 0)},
				each(24*hour+600, 600, 6, constant(0)),
			),
			24*hour + 70, 24*hour + 600, 50. / 60, 530. / 60, 0,
		},
		{
			"else of a day after",
			slices.Concat([]gateway.Reading{watts(0, 60), watts(hour, 60)}, each(48*hour, 60, 10, constant(60))),
			0, 24 * hour, 2, 2, 0,
		},
		{
			"without such a day all intervals count",
			[]gateway.Reading{watts(0, 60), watts(24*hour, 60), watts(48*hour, 60)},
			0, 96 * hour, 72 * 60, 72 * 60, 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			edges := []gateway.Instant{at(tt.from), at(tt.to)}
			bs, err := series(merged(tt.readings), edges)
			if err != nil || len(bs) != 1 {
				t.Fatal(bs, err)
			}
			b := bs[0]
			if math.Abs(b.Energy.Wh()-tt.wh) > 0.0006 {
				t.Errorf("energy %v, want %v Wh", b.Energy, tt.wh)
			}
			minutes := func(i gateway.Instant) float64 { return float64(i) / float64(gateway.Minute) }
			if math.Abs(minutes(b.Covered)-tt.minutes) > 1e-6 {
				t.Errorf("covered %v, want %v minutes", minutes(b.Covered), tt.minutes)
			}
			if math.Abs(minutes(b.Estimated)-tt.bridged) > 1e-6 {
				t.Errorf("estimated %v, want %v minutes", minutes(b.Estimated), tt.bridged)
			}
		})
	}
}

func TestSeries_buckets(t *testing.T) {
	rs := merged([]gateway.Reading{
		watts(0, 100), watts(600, 200), watts(1200, 0), watts(1800, 50), watts(2400, 50), watts(3000, 50),
	})
	got, err := series(rs, []gateway.Instant{at(300), at(900), at(1500), at(9000), at(9001)})
	want := []energy.Bucket{
		{
			From: at(300), To: at(900), Energy: 25_000, Covered: 600 * gateway.Second,
			Min: 100_000, Max: 200_000, Mean: 150_000, Seen: true,
		},
		{
			From: at(900), To: at(1500), Energy: 16_667, Covered: 600 * gateway.Second,
			Min: 0, Max: 200_000, Mean: 100_000, Seen: true,
		},
		{
			From: at(1500), To: at(9000), Energy: 25_000, Covered: 2100 * gateway.Second,
			Min: 0, Max: 50_000, Mean: 42_857, Seen: true,
		},
		{From: at(9000), To: at(9001)},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if got[0].Empty() || !got[3].Empty() {
		t.Error("Empty is wrong")
	}
}

func TestSeries_sourceFails(t *testing.T) {
	if _, err := energy.Series(failing{}, []gateway.Instant{1, 2}); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if _, _, err := energy.Query(failing{}, 1, 2, energy.StepRaw, time.UTC); !errors.Is(err, errBroken) {
		t.Errorf("raw: got %v", err)
	}
}

func TestNewIntegrator_refuses(t *testing.T) {
	for _, edges := range [][]gateway.Instant{nil, {1}, {1, 1}, {1, 3, 2}} {
		if _, err := energy.NewIntegrator(edges); gateway.CodeOf(err) != gateway.CodeInvalid || err == nil {
			t.Errorf("%v: got %v", edges, err)
		}
	}
	g, err := energy.NewIntegrator([]gateway.Instant{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Add(watts(5, 1)), g.Add(watts(5, 2))); err != nil {
		t.Error(err)
	}
	if err := g.Add(watts(4, 1)); gateway.CodeOf(err) != gateway.CodeInvalid || err == nil {
		t.Errorf("an older reading: got %v", err)
	}
}

func TestQuery_raw(t *testing.T) {
	rs := merged(each(0, 60, 10, constant(60)))
	step, got, err := energy.Query(rs, at(60), at(210), energy.StepRaw, time.UTC)
	if err != nil || step != energy.StepRaw || len(got) != 3 {
		t.Fatal(step, got, err)
	}
	for i, b := range got {
		if want := at(60 + 60*i); b.From != want || !b.Seen || b.Mean != 60_000 {
			t.Errorf("point %d: %+v", i, b)
		}
	}
	// A second at 5 W is less than two milliwatt-hours, and still 5 W.
	_, got, err = energy.Query(merged(each(0, 1, 30, constant(5))), at(5), at(15), energy.StepRaw, time.UTC)
	for _, b := range got {
		if b.Mean != 5000 || b.Min != 5000 || b.Max != 5000 {
			t.Errorf("a second at 5 W: %+v", b)
		}
	}
	if err != nil || len(got) != 10 {
		t.Error(len(got), err)
	}
	// A lone reading covers no time, and is still seen.
	_, got, err = energy.Query(readings{watts(60, 5)}, at(0), at(90), energy.StepRaw, time.UTC)
	if err != nil || len(got) != 1 || got[0].Mean != 5000 || got[0].Max != 5000 || got[0].Energy != 0 {
		t.Error(got, err)
	}
}

// household draws readings as devices send them: regular with pauses, of power,
// counter or both, now and then a counter that falls or leaps. They begin up to
// two days after the morning, and last some hours or days. The numbers come
// from a seed, because rapid's own are mostly small.
func household(t *rapid.T) []gateway.Reading {
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	step := 2 * (1 + rnd.IntN([]int{5, 150, 900, 10_000}[rnd.IntN(4)]))
	kind := rnd.IntN(5)
	second, total := 2*rnd.IntN(86_400), 1000.0
	var rs []gateway.Reading
	for range rnd.IntN(120) {
		w := float64(rnd.IntN(3500) - 500)
		switch rnd.IntN(20) {
		case 0:
			second += 2 * rnd.IntN(30_000)
		case 1:
			second += 2 * rnd.IntN(3*step)
		default:
			second += step
		}
		switch rnd.IntN(30) {
		case 0:
			total = 0
		case 1:
			total += 1e6
		default:
			total += float64(rnd.IntN(50))
		}
		has := kind
		if kind == 4 {
			has = rnd.IntN(3)
		}
		switch has {
		case 0, 3:
			rs = append(rs, watts(second, w))
		case 1:
			rs = append(rs, counter(second, total))
		case 2:
			rs = append(rs, both(second, w, total))
		}
	}
	return rs
}

// span draws a span of seconds around and between the readings.
func span(t *rapid.T, rs []gateway.Reading) (from, to gateway.Instant) {
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "span"), 0))
	from = at(rnd.IntN(3 * 86_400))
	if len(rs) > 0 {
		from = rs[rnd.IntN(len(rs))].At + gateway.Instant(rnd.IntN(7200)-3600)*gateway.Second
	}
	return from, from + gateway.Instant(1+rnd.IntN([]int{60, 3600, 86_400}[rnd.IntN(3)]))*gateway.Second
}

// series returns the buckets between edges.
func series(src energy.Source, edges []gateway.Instant) (bs []energy.Bucket, err error) {
	sums, err := energy.Series(src, edges)
	for _, s := range sums {
		bs = append(bs, s.Bucket())
	}
	return bs, err
}

func one(t *rapid.T, rs readings, from, to gateway.Instant) energy.Bucket {
	bs, err := series(rs, []gateway.Instant{from, to})
	if err != nil {
		t.Fatal(err)
	}
	return bs[0]
}

func TestSeries_likeReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := merged(household(t))
		from, to := span(t, rs)
		got := one(t, rs, from, to)
		mwh, covered := newReference(rs).sum(from, to)
		if math.Abs(float64(got.Energy)-mwh) > 1 || got.Covered != covered {
			t.Errorf("got %d mWh in %d ms, want %.1f mWh in %d ms", got.Energy, got.Covered, mwh, covered)
		}
	})
}

// However a span is cut, the parts make up the whole.
func TestSeries_additive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := merged(household(t))
		from, to := span(t, rs)
		cuts := []gateway.Instant{from, to}
		for range rapid.IntRange(0, 20).Draw(t, "cuts") {
			cuts = append(cuts, from+gateway.Instant(rapid.Int64Range(0, int64(to-from)).Draw(t, "cut")))
		}
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
		whole := one(t, rs, from, to)
		joined, err := series(rs, cuts)
		if err != nil {
			t.Fatal(err)
		}
		var sum, apart energy.Bucket
		for i, b := range joined {
			sum.Energy += b.Energy
			sum.Covered += b.Covered
			sum.Estimated += b.Estimated
			sum.Seen = sum.Seen || b.Seen
			if b.Covered > 0 && (b.Mean < b.Min || b.Mean > b.Max) || b.Covered > b.To-b.From {
				t.Errorf("bucket %+v", b)
			}
			alone := one(t, rs, cuts[i], cuts[i+1])
			apart.Energy += alone.Energy
			apart.Covered += alone.Covered
		}
		if d := sum.Energy - whole.Energy; d > gateway.Energy(len(joined)) || -d > gateway.Energy(len(joined)) {
			t.Errorf("%d buckets make up %v, the whole is %v", len(joined), sum.Energy, whole.Energy)
		}
		if sum.Covered != whole.Covered || sum.Estimated != whole.Estimated || sum.Seen != whole.Seen {
			t.Errorf("parts %+v, whole %+v", sum, whole)
		}
		if apart.Energy != sum.Energy || apart.Covered != sum.Covered {
			t.Errorf("asked for alone the buckets make up %v, together %v", apart.Energy, sum.Energy)
		}
	})
}

// Repeats and any order of arrival give the same.
func TestSeries_anyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := household(t)
		from, to := span(t, rs)
		want := one(t, merged(rs), from, to)
		again := slices.Concat(rs, rs)
		shuffled := rapid.Permutation(again).Draw(t, "order")
		if diff := cmp.Diff(want, one(t, merged(shuffled), from, to)); diff != "" {
			t.Error(diff)
		}
	})
}

// Power alone makes no energy in a gap.
func TestSeries_nothingInGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := rapid.IntRange(1, 299).Draw(t, "step")
		pause := rapid.IntRange(900, 30*3600).Draw(t, "pause")
		before := each(0, step, 10, constant(500))
		last := 9 * step
		after := each(last+pause, step, 10, constant(500))
		got := one(t, merged(slices.Concat(before, after)), at(last+step), at(last+pause))
		if got.Energy != 0 || got.Covered != 0 {
			t.Errorf("%+v", got)
		}
	})
}
