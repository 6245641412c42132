package energy_test

import (
	"cmp"
	"errors"
	"slices"
	"sort"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// readings is a Source in memory, in order of time.
type readings []gateway.Reading

// from returns the index of the first reading at or after at.
func (rs readings) from(at gateway.Instant) int {
	return sort.Search(len(rs), func(i int) bool { return rs[i].At >= at })
}

func (rs readings) Before(
	at, since gateway.Instant, has gateway.ReadingFields,
) (gateway.Reading, bool, error) {
	for i := rs.from(at) - 1; i >= 0 && rs[i].At >= since; i-- {
		if rs[i].Has&has != 0 {
			return rs[i], true, nil
		}
	}
	return gateway.Reading{}, false, nil
}

func (rs readings) After(
	at, until gateway.Instant, has gateway.ReadingFields,
) (gateway.Reading, bool, error) {
	for i := rs.from(at); i < len(rs) && rs[i].At < until; i++ {
		if rs[i].Has&has != 0 {
			return rs[i], true, nil
		}
	}
	return gateway.Reading{}, false, nil
}

// Scan hands over a few readings at a time.
func (rs readings) Scan(from, to gateway.Instant, fn func([]gateway.Reading) error) error {
	rs = rs[rs.from(from):max(rs.from(from), rs.from(to))]
	for part := range slices.Chunk(rs, 3) {
		if err := fn(slices.Clone(part)); err != nil {
			return err
		}
	}
	return nil
}

func (rs readings) Sums(energy.Level, gateway.Instant, gateway.Instant) ([]energy.Sum, error) {
	return nil, nil
}

func (rs readings) Usual(gateway.Instant) (gateway.Instant, bool, error) { return 0, false, nil }

// failing is a Source whose disk is broken.
type failing struct{ readings }

var errBroken = errors.New("broken")

func (failing) Scan(gateway.Instant, gateway.Instant, func([]gateway.Reading) error) error {
	return errBroken
}

// merged sorts readings and joins those of one instant, as a store does.
func merged(in []gateway.Reading) readings {
	rs := slices.Clone(in)
	slices.SortStableFunc(rs, func(a, b gateway.Reading) int { return cmp.Compare(a.At, b.At) })
	var out readings
	for _, r := range rs {
		if n := len(out); n > 0 && out[n-1].At == r.At {
			out[n-1] = out[n-1].Merge(r)
			continue
		}
		out = append(out, r)
	}
	return out
}

const utcDay = 24 * gateway.Hour

// reference works the rule out second by second, straight from its words. All
// readings are at whole seconds, and an even number of seconds apart.
type reference struct {
	power, counter readings
	usual          map[gateway.Instant]gateway.Instant // by UTC day
}

func newReference(rs readings) reference {
	ref := reference{usual: map[gateway.Instant]gateway.Instant{}}
	byDay := map[gateway.Instant][]gateway.Instant{}
	var all, days []gateway.Instant
	for i, r := range rs {
		if r.Has&gateway.HasPower != 0 {
			ref.power = append(ref.power, r)
		}
		if r.Has&gateway.HasEnergy != 0 {
			ref.counter = append(ref.counter, r)
		}
		if d := r.At / utcDay; len(days) == 0 || days[len(days)-1] != d {
			days = append(days, d)
		}
		if i > 0 {
			all = append(all, r.At-rs[i-1].At)
			if d := r.At / utcDay; rs[i-1].At/utcDay == d {
				byDay[d] = append(byDay[d], r.At-rs[i-1].At)
			}
		}
	}
	for i, d := range days {
		u, ok := nearest(byDay, days[:i+1], false)
		if !ok {
			u, ok = nearest(byDay, days[i:], true)
		}
		if !ok {
			u = min(middle(all), utcDay)
		}
		ref.usual[d] = u
	}
	return ref
}

// nearest returns the median of the last of days that has one; of the first if
// forward.
func nearest(
	byDay map[gateway.Instant][]gateway.Instant, days []gateway.Instant, forward bool,
) (gateway.Instant, bool) {
	days = slices.Clone(days)
	if !forward {
		slices.Reverse(days)
	}
	for _, d := range days {
		if len(byDay[d]) >= 4 {
			return middle(byDay[d]), true
		}
	}
	return 0, false
}

func middle(steps []gateway.Instant) gateway.Instant {
	if len(steps) == 0 {
		return 0
	}
	steps = slices.Clone(steps)
	slices.Sort(steps)
	return (steps[(len(steps)-1)/2] + steps[len(steps)/2]) / 2
}

// at returns the power in milliwatts in the second that begins at t; known is
// false in a gap.
func (ref reference) at(t gateway.Instant) (mw float64, known bool) {
	if i := ref.counter.from(t + 1); i > 0 && i < len(ref.counter) {
		a, b := ref.counter[i-1], ref.counter[i]
		seconds := float64(b.At-a.At) / 1000
		rise := float64(b.Energy-a.Energy) * 3600 // in mWs
		q := ref.power.from(a.At + 1)             // the first power after a
		rests := q < len(ref.power) && ref.power[q].At < b.At && b.At-ref.power[q].At > utcDay
		if rise >= 0 && rise <= 1e8*max(seconds, 60) && !rests {
			return rise / seconds, true
		}
	}
	i := ref.power.from(t + 1)
	if i == 0 {
		return 0, false
	}
	p := ref.power[i-1]
	usual := ref.usual[p.At/utcDay]
	held := t < p.At+usual
	if i < len(ref.power) {
		pause := ref.power[i].At - p.At
		if !(pause > 3*usual && pause >= 15*gateway.Minute) {
			held = true
		}
	}
	return float64(p.Power), held
}

// sum returns the energy in milliwatt-hours and the time known.
func (ref reference) sum(from, to gateway.Instant) (mwh float64, covered gateway.Instant) {
	for t := from; t < to; t += 1000 {
		if mw, known := ref.at(t); known {
			mwh += mw / 3600
			covered += 1000
		}
	}
	return mwh, covered
}
