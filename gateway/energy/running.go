package energy

import (
	"cmp"
	"slices"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of a Running.
const (
	runningDays  = 2
	runningSteps = 4096 // different intervals of a day
)

// Running sums up the days that are not settled yet by five minutes while they
// run, so that they need not be read again for each question. It works as long
// as no pause is so long that it might be a gap: then the usual interval, which
// nobody knows before the day ends, does not matter.
type Running struct {
	g      *Integrator
	from   gateway.Instant // a UTC midnight
	last   gateway.Instant // the newest reading that was added
	broken bool
	usuals []usualOf // of the days so far
	day    dayIntervals
}

// dayIntervals are the intervals between the readings of a UTC day.
type dayIntervals struct {
	day   gateway.Instant // its number
	last  gateway.Instant // reading of it; 0 for none
	steps []intervals     // in order
	n     int             // of intervals
}

// intervals are intervals of the same length.
type intervals struct {
	length gateway.Instant
	n      int
}

// StartRunning returns the sums of what src has from a UTC midnight on. An
// error is one of src.
func StartRunning(src Source, from gateway.Instant) (*Running, error) {
	edges := make([]gateway.Instant, 0, runningDays*24*12+1)
	for at := from; at <= from+runningDays*day; at += 5 * gateway.Minute {
		edges = append(edges, at)
	}
	g, err := NewIntegrator(edges)
	if err != nil {
		return nil, err
	}
	r := &Running{g: g, from: from, last: from - 1}
	first, err := oldest(src, from)
	if err != nil {
		return nil, err
	}
	if usual, ok, err := src.Usual(first); err != nil {
		return nil, err
	} else if ok {
		r.usuals = append(r.usuals, usualOf{utcDay(first), usual})
	}
	err = src.Scan(first, from, func(rs []gateway.Reading) error { r.take(rs); return nil })
	return r, err
}

// From returns where the sums begin.
func (r *Running) From() gateway.Instant { return r.from }

// Last returns the instant of the newest reading that was added.
func (r *Running) Last() gateway.Instant { return r.last }

// Catch adds the readings that src has after Last. It reports false if r is of
// no use, until more is settled and another one is started. An error is one of
// src, after which r is of no use either.
func (r *Running) Catch(src Source) (ok bool, err error) {
	if !r.broken {
		err = src.Scan(r.last+1, r.from+runningDays*day, func(rs []gateway.Reading) error {
			for i := range rs {
				r.day.add(rs[i].At, r)
			}
			r.take(rs)
			r.last = rs[len(rs)-1].At
			return nil
		})
	}
	return err == nil && !r.broken, err
}

// take works readings in.
func (r *Running) take(rs []gateway.Reading) {
	g := r.g
	for i := range rs {
		if g.takeNext(&rs[i]) {
			continue
		}
		next := told{Reading: rs[i]}
		if next.At >= g.edges[len(g.edges)-1] || next.At >= r.from &&
			(pauses(g.power, next, gateway.HasPower) || pauses(g.counter, next, gateway.HasEnergy)) {
			r.broken = true
			return
		}
		g.take(next)
	}
}

// pauses reports whether a field was told again after so long that the usual
// interval matters.
func pauses(last, next told, field gateway.ReadingFields) bool {
	return last.Has != 0 && next.Has&field != 0 && next.At-last.At >= MinGap
}

// add notes the instant of a reading.
func (d *dayIntervals) add(at gateway.Instant, r *Running) {
	if n := utcDay(at); n != d.day || d.last == 0 {
		d.close(r)
		*d = dayIntervals{day: n, last: at, steps: d.steps[:0]}
		return
	}
	step := intervals{length: at - d.last}
	d.last = at
	i, found := slices.BinarySearchFunc(d.steps, step, func(a, b intervals) int {
		return cmp.Compare(a.length, b.length)
	})
	if !found {
		if len(d.steps) == runningSteps {
			r.broken = true
			return
		}
		d.steps = slices.Insert(d.steps, i, step)
	}
	d.steps[i].n++
	d.n++
}

// close notes the usual interval of the day, if it has one.
func (d *dayIntervals) close(r *Running) {
	if usual, ok := d.median(); ok {
		r.usuals = append(r.usuals, usualOf{d.day, usual})
	} else if d.last != 0 && len(r.usuals) > 0 {
		r.usuals = append(r.usuals, usualOf{d.day, r.usuals[len(r.usuals)-1].usual})
	}
}

// median returns the usual interval of the day, if it has one of its own.
func (d *dayIntervals) median() (gateway.Instant, bool) {
	if d.n < minIntervals {
		return 0, false
	}
	at := func(place int) gateway.Instant {
		for _, s := range d.steps {
			if place -= s.n; place < 0 {
				return s.length
			}
		}
		return 0
	}
	return (at((d.n-1)/2) + at(d.n/2)) / 2, true
}

// Usual returns the usual interval of the UTC day of at as far as it is known,
// for what was added.
func (r *Running) Usual(at gateway.Instant) (gateway.Instant, bool) {
	n := utcDay(at)
	if n == r.day.day && r.day.last != 0 {
		if usual, ok := r.day.median(); ok {
			return usual, true
		}
		if k := len(r.usuals); k > 0 {
			return r.usuals[k-1].usual, true
		}
		return 0, false
	}
	for _, u := range r.usuals {
		if u.day == n {
			return u.usual, true
		}
	}
	return 0, false
}

// Sums appends the sums that meet a span to dst. The last one is of what came
// since the five minutes before, if the span ends after the newest reading.
func (r *Running) Sums(dst []Sum, from, to gateway.Instant) []Sum {
	const step = 5 * gateway.Minute
	g := r.g
	end := g.power.At // until here no reading that comes in order changes a sum
	if g.power.Has == 0 || g.counter.Has != 0 && g.counter.At < end {
		end = g.counter.At
	}
	whole := max(0, (end-r.from)/step)
	first, last := max(0, (from-r.from)/step), min(whole, (to-r.from)/step)
	if first < last {
		dst = append(dst, g.sums[first:last]...)
	}
	if to > r.last && first <= whole && r.last >= r.from {
		if s, ok := r.rest(int(whole), to); ok {
			dst = append(dst, s)
		}
	}
	return dst
}

// rest returns the sum from the bucket with the number to an instant after the
// newest reading, should none follow.
func (r *Running) rest(bucket int, to gateway.Instant) (Sum, bool) {
	usual, ok := r.Usual(r.g.power.At)
	if !ok && r.g.power.Has != 0 {
		return Sum{}, false
	}
	from := r.g.edges[bucket]
	s := Sum{From: from, To: to}
	for i := bucket; i < len(r.g.sums) && r.g.sums[i].From <= r.last; i++ {
		s.Add(r.g.sums[i])
	}
	g := *r.g // what follows is worked out on a copy with that bucket alone
	g.edges, g.sums, g.near = []gateway.Instant{from, to}, []Sum{s}, 0
	g.pending, g.runs = nil, slices.Clone(g.runs)
	for _, p := range r.g.pending {
		g.pending = append(g.pending, pending{sum: p.sum})
	}
	if g.power.Has != 0 {
		g.hold(g.power.At, g.power.At+usual, g.power.Power)
	}
	g.settle(true)
	return g.sums[0], true
}
