package energy_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// keeper is a Source that keeps sums, too.
type keeper struct {
	readings
	kept map[energy.Level][]energy.Sum
}

func (k keeper) Sums(level energy.Level, from, to gateway.Instant) (out []energy.Sum, err error) {
	for _, s := range k.kept[level] {
		if s.From < to && s.To > from {
			out = append(out, s)
		}
	}
	return out, nil
}

func (k keeper) Usual(at gateway.Instant) (gateway.Instant, bool, error) {
	for _, sums := range k.kept {
		for _, s := range sums {
			if s.From/utcDay == at/utcDay && s.Usual > 0 {
				return s.Usual, true, nil
			}
		}
	}
	return 0, false, nil
}

// keep keeps the sums of all that is settled, but for those that are kept
// already.
func (k keeper) keep(t *rapid.T, zone *time.Location, rnd *rand.Rand) {
	t.Helper()
	from, to, ok, err := energy.Settled(k)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return
	}
	for _, level := range []energy.Level{energy.LevelFive, energy.LevelHour, energy.LevelDay} {
		if level == energy.LevelFive && rnd.IntN(3) > 0 {
			continue
		}
		edges := energy.Grid(from, to, level, zone)
		for i := 1; i < len(edges); i++ {
			if old, _ := k.Sums(level, edges[i-1], edges[i]); len(old) > 0 {
				continue
			}
			n := min(i+1+rnd.IntN(50), len(edges))
			for j := i; j < n; j++ { // up to what is kept
				if old, _ := k.Sums(level, edges[j-1], edges[j]); len(old) > 0 {
					n = j
				}
			}
			sums, err := energy.Summarize(k, edges[i-1:n], level)
			if err != nil {
				t.Fatal(err)
			}
			k.kept[level] = append(k.kept[level], sums...)
			i = n - 1
		}
		slices.SortFunc(k.kept[level], func(a, b energy.Sum) int { return int(a.From - b.From) })
	}
}

// drop forgets the sums that meet a span.
func (k keeper) drop(from, to gateway.Instant) {
	for level, sums := range k.kept {
		k.kept[level] = slices.DeleteFunc(sums, func(s energy.Sum) bool {
			return s.From < to && s.To > from
		})
	}
}

// calm makes readings that are hours apart, on some days too few for a usual
// interval.
func calm(rnd *rand.Rand) (rs []gateway.Reading) {
	second, wh := 0, 0.0
	for range 20 + rnd.IntN(60) {
		second += 2 * rnd.IntN([]int{2, 4, 16, 48}[rnd.IntN(4)]*900)
		wh += float64(rnd.IntN(3000))
		if rnd.IntN(3) == 0 {
			rs = append(rs, both(second, float64(rnd.IntN(2000)), wh))
		} else {
			rs = append(rs, watts(second, float64(rnd.IntN(2000))))
		}
	}
	return rs
}

// Whatever was kept when, and whichever readings came later, with kept sums
// the answer is that of the readings alone.
func TestSeries_fromKept(t *testing.T) {
	var used int
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		zone, err := time.LoadLocation([]string{
			"UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe",
		}[rnd.IntN(4)])
		if err != nil {
			t.Fatal(err)
		}
		all := household(t)
		if rnd.IntN(2) == 0 {
			all = calm(rnd)
		}
		k := keeper{kept: map[energy.Level][]energy.Sum{}}
		for len(all) > 0 {
			n := 1 + rnd.IntN(len(all))
			part := all[:n]
			all = all[n:]
			if rnd.IntN(3) == 0 && len(all) > 0 { // some of these come late
				late := 1 + rnd.IntN(len(part))
				all = slices.Concat(all, part[len(part)-late:])
				part = part[:len(part)-late]
			}
			if len(part) == 0 {
				continue
			}
			first, last := part[0].At, part[0].At
			for _, r := range part {
				first, last = min(first, r.At), max(last, r.At)
			}
			inOrder := len(k.readings) == 0 || first > k.readings[len(k.readings)-1].At
			if !inOrder {
				from, to, err := energy.Reach(k, first, last)
				if err != nil {
					t.Fatal(err)
				}
				k.drop(from, to)
			}
			k.readings = merged(append(slices.Clone(k.readings), part...))
			if rnd.IntN(2) == 0 {
				k.keep(t, zone, rnd)
			}
		}
		used += len(k.kept[energy.LevelHour])
		for _, step := range []energy.Step{energy.StepHour, energy.StepDay, energy.StepAll, energy.Step5Min} {
			from, to := span(t, k.readings)
			from, to = from-gateway.Instant(rnd.IntN(5))*utcDay, to+gateway.Instant(rnd.IntN(5))*utcDay
			edges, err := energy.Edges(from, to, step, zone)
			if err != nil {
				t.Fatal(err)
			}
			got, err := series(k, edges)
			if err != nil {
				t.Fatal(err)
			}
			want, err := series(k.readings, edges)
			if err != nil {
				t.Fatal(err)
			}
			compareKept(t, got, want, k)
		}
	})
	if used == 0 {
		t.Error("nothing was kept")
	}
}

// compareKept compares buckets; energies may differ by what rounding cut.
func compareKept(t *rapid.T, got, want []energy.Bucket, k keeper) {
	t.Helper()
	slack := gateway.Energy(2 + len(k.kept[energy.LevelDay]) + len(k.kept[energy.LevelHour])/20)
	for i := range want {
		g, w := got[i], want[i]
		if d := g.Energy - w.Energy; d > slack || -d > slack {
			t.Errorf("energy %+v, want %+v", g, w)
		}
		if g.Covered != w.Covered || g.Estimated != w.Estimated || g.Seen != w.Seen {
			t.Errorf("got %+v, want %+v", g, w)
		}
		// Least and greatest are moved to where the mean is, if it lies beyond.
		near := 1 + gateway.Power(int64(slack)*gateway.MilliwattMilliseconds/max(1, int64(w.Covered)))
		if g.Min < w.Min-near || g.Min > w.Min+near || g.Max < w.Max-near || g.Max > w.Max+near {
			t.Errorf("range of %+v, want %+v", g, w)
		}
	}
}
