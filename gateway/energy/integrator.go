package energy

import (
	"sort"

	"github.com/wattle-home/wattle/gateway"
)

// Constants of the rule; see the package comment.
const (
	day = 24 * gateway.Hour
	// MinGap is the shortest pause that may be a gap.
	MinGap = 15 * gateway.Minute
	// minIntervals is how many intervals make a day's median.
	minIntervals = 4
	// shortest is the shortest time over which a counter's rise is judged:
	// coarse counters rise in jumps.
	shortest = gateway.Minute
	// counterRests is how long a counter may be silent after power was told.
	counterRests = day
)

// Integrator works out the energy of one device. Readings go in by Add in
// order of time; what they were belongs to the sums that Finish returns. It
// remembers one UTC day of readings, and of days with next to none as many as
// it takes to know the usual interval.
type Integrator struct {
	edges []gateway.Instant
	sums  []Sum
	near  int // a bucket where the next search begins

	today  []gateway.Reading // of the running UTC day
	held   []gateway.Reading // of earlier days, until the usual interval is known
	usual  gateway.Instant   // of the last day that had one; 0 for none yet
	known  []usualOf
	steps  []gateway.Instant // scratch memory of median
	closed bool

	power, counter told            // the last of each
	since          gateway.Instant // of the first power after counter; 0 for none

	// runs says which spans since the last power reading counters decided.
	runs []run
	// pending is energy by power since the last counter reading. The next one
	// decides whether it stands.
	pending []pending
}

// usualOf is the usual interval of a UTC day that was told beforehand.
type usualOf struct{ day, usual gateway.Instant }

// told is a reading with the usual interval of its day.
type told struct {
	gateway.Reading
	usual gateway.Instant
}

// run is a span between counter readings.
type run struct {
	from, to gateway.Instant
	valid    bool // the counter tells its energy
}

// pending is energy of one bucket that may be dropped.
type pending struct {
	bucket int
	sum    Sum
}

// NewIntegrator returns an Integrator for the buckets between edges, which
// must ascend; two at least. The error is a *gateway.Error with CodeInvalid.
func NewIntegrator(edges []gateway.Instant) (*Integrator, error) {
	if len(edges) < 2 {
		return nil, gateway.Invalidf("%d edges make no bucket", len(edges))
	}
	for i := range edges[1:] {
		if edges[i] >= edges[i+1] {
			return nil, gateway.Invalidf("edge %s does not come before edge %s", edges[i], edges[i+1])
		}
	}
	g := &Integrator{edges: edges, sums: make([]Sum, len(edges)-1)}
	for i := range g.sums {
		g.sums[i].From, g.sums[i].To = edges[i], edges[i+1]
	}
	return g, nil
}

// Know tells the usual interval of the UTC day of at, of which then not all
// readings need to be added.
func (g *Integrator) Know(at, usual gateway.Instant) {
	g.known = append(g.known, usualOf{utcDay(at), usual})
}

// Add takes the next readings, in order of time. One of the instant before is
// merged with that. The error is a *gateway.Error with CodeInvalid if one is
// older than the one before.
func (g *Integrator) Add(rs ...gateway.Reading) error {
	for len(rs) > 0 {
		last, ok := g.last()
		r := rs[0]
		switch {
		case r.Has == 0:
			rs = rs[1:]
			continue
		case ok && r.At < last.At:
			return gateway.Invalidf("reading of %s comes after that of %s", r.At, last.At)
		case ok && r.At == last.At:
			*last = last.Merge(r)
			rs = rs[1:]
			continue
		case ok && utcDay(r.At) != utcDay(last.At):
			g.closeDay()
		}
		// As many more as are of the day and in order go in at once.
		end := (utcDay(r.At) + 1) * day
		n := 1
		for n < len(rs) && rs[n].At < end && rs[n].At > rs[n-1].At && rs[n].Has != 0 {
			n++
		}
		g.today = append(g.today, rs[:n]...)
		rs = rs[n:]
	}
	return nil
}

// last returns the newest reading.
func (g *Integrator) last() (*gateway.Reading, bool) {
	if n := len(g.today); n > 0 {
		return &g.today[n-1], true
	}
	return nil, false
}

// Finish returns the sums. Nothing may be added afterwards.
func (g *Integrator) Finish() []Sum {
	if !g.closed {
		g.closed = true
		g.closeDay()
		if len(g.held) > 0 {
			g.usual = min(g.median(g.held), day)
			g.release()
		}
		if g.power.Has != 0 {
			g.hold(g.power.At, g.power.At+g.power.usual, g.power.Power)
		}
		g.settle(true)
	}
	return g.sums
}

// closeDay works off the readings of a day that is complete.
func (g *Integrator) closeDay() {
	if len(g.today) == 0 {
		return
	}
	if usual, ok := g.toldBefore(utcDay(g.today[0].At)); ok {
		g.usual = usual
		g.release()
	} else if len(g.today) > minIntervals {
		g.usual = g.median(g.today)
		g.release()
	}
	if g.usual == 0 {
		g.held = append(g.held, g.today...)
	} else {
		g.note(g.today)
		g.takeAll(g.today)
	}
	g.today = g.today[:0]
}

// toldBefore returns what Know was told of a day.
func (g *Integrator) toldBefore(day gateway.Instant) (gateway.Instant, bool) {
	for _, k := range g.known {
		if k.day == day {
			return k.usual, true
		}
	}
	return 0, false
}

// note notes the usual interval of the UTC day of rs, which is complete, in
// the sums that begin in it.
func (g *Integrator) note(rs []gateway.Reading) {
	first := utcDay(rs[0].At)
	i := sort.Search(len(g.sums), func(i int) bool { return utcDay(g.sums[i].From) >= first })
	for ; i < len(g.sums) && utcDay(g.sums[i].From) == first; i++ {
		g.sums[i].Usual = g.usual
	}
}

// release works off what was held back.
func (g *Integrator) release() {
	g.takeAll(g.held)
	g.held = nil
}

// median returns the median of the intervals between readings, the mean of the
// middle two if their number is even; 0 without any interval.
func (g *Integrator) median(rs []gateway.Reading) gateway.Instant {
	if len(rs) < 2 {
		return 0
	}
	g.steps = g.steps[:0]
	for i := range rs[1:] {
		g.steps = append(g.steps, rs[i+1].At-rs[i].At)
	}
	n := len(g.steps)
	upper := nth(g.steps, n/2)
	lower := upper
	if n%2 == 0 { // what stands before it is no larger
		lower = g.steps[0]
		for _, s := range g.steps[:n/2] {
			lower = max(lower, s)
		}
	}
	return (lower + upper) / 2
}

// nth returns what stands at place n once vs is in order, and puts in order as
// much of it as that takes: nothing before n is larger. (Hoare's selection.)
func nth(vs []gateway.Instant, n int) gateway.Instant {
	for lo, hi := 0, len(vs)-1; lo < hi; {
		pivot := vs[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for vs[i] < pivot {
				i++
			}
			for vs[j] > pivot {
				j--
			}
			if i <= j {
				vs[i], vs[j] = vs[j], vs[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			hi = j
		case n >= i:
			lo = i
		default:
			return vs[n]
		}
	}
	return vs[n]
}

// utcDay numbers the days of UTC.
func utcDay(i gateway.Instant) gateway.Instant { return (i - mod(i, day)) / day }

// isGap reports whether a pause after a reading is one.
func isGap(pause, usual gateway.Instant) bool { return pause > 3*usual && pause >= MinGap }

// takeAll works readings in.
func (g *Integrator) takeAll(rs []gateway.Reading) {
	for i := range rs {
		if !g.takeNext(&rs[i]) {
			if g.beyond() {
				return
			}
			g.take(told{rs[i], g.usual})
		}
	}
}

// beyond reports whether all was told at the end of the buckets or later, so
// that nothing that follows matters.
func (g *Integrator) beyond() bool {
	end := g.edges[len(g.edges)-1]
	return (g.power.Has == 0 || g.power.At >= end) &&
		(g.counter.Has == 0 || g.counter.At >= end) && g.power.Has|g.counter.Has != 0
}

// takeNext works in a reading that tells what the last one told, in the same
// bucket and without a gap; most are so. It returns false, and does nothing,
// for all others.
func (g *Integrator) takeNext(r *gateway.Reading) bool {
	const both = gateway.HasPower | gateway.HasEnergy
	i := g.near
	from := g.power.At
	if g.power.Has != r.Has || len(g.runs) > 0 || len(g.pending) > 0 ||
		from < g.edges[i] || r.At >= g.edges[i+1] || isGap(r.At-from, g.power.usual) {
		return false
	}
	s := &g.sums[i]
	switch {
	case r.Has == gateway.HasPower && g.counter.Has == 0:
		s.addPart(g.power.Power.Over(from, r.At))
	case r.Has == both && g.counter.At == from && validRise(g.counter.Reading, *r):
		s.Energy += r.Energy - g.counter.Energy
		g.counter, g.since = told{*r, g.usual}, 0
	default:
		return false
	}
	s.Covered += r.At - from
	s.Seen = true
	s.reach(PowerRange, r.Power)
	g.power = told{*r, g.usual}
	return true
}

// take works one reading in.
func (g *Integrator) take(r told) {
	if i, ok := g.bucketOf(r.At); ok {
		g.sums[i].Seen = true
		if r.Has&gateway.HasPower != 0 {
			g.sums[i].reach(PowerRange, r.Power)
		}
	}
	if r.Has&gateway.HasEnergy != 0 {
		if g.counter.Has != 0 {
			g.rise(g.counter, r)
		} else {
			g.settle(true)
		}
		g.counter, g.since = r, 0
	}
	if r.Has&gateway.HasPower != 0 {
		if g.rests(r.At) {
			g.settle(true)
			g.counter, g.since = told{}, 0
		} else if g.since == 0 && g.counter.Has != 0 && r.At > g.counter.At {
			g.since = r.At
		}
		if p := g.power; p.Has != 0 {
			until := r.At
			if isGap(until-p.At, p.usual) {
				until = p.At + p.usual
			}
			g.hold(p.At, until, p.Power)
		}
		g.power = r
		g.runs = g.runs[:0]
	}
}

// validRise reports whether what a counter says at a and b can be.
func validRise(a, b gateway.Reading) bool {
	up := b.Energy - a.Energy
	most := int64(gateway.MaxPower) * int64(max(b.At-a.At, shortest)/gateway.Second) / 3600
	return up >= 0 && int64(up) <= most
}

// rests reports whether the counter was silent until at for so long, after
// power was told again, that it says nothing of the time.
func (g *Integrator) rests(at gateway.Instant) bool {
	return g.since != 0 && at-g.since > counterRests
}

// rise takes the span between two counter readings in.
func (g *Integrator) rise(a, b told) {
	all, up := b.At-a.At, b.Energy-a.Energy
	valid := validRise(a.Reading, b.Reading) && !g.rests(b.At)
	g.settle(!valid)
	if g.power.Has != 0 {
		if n := len(g.runs); n > 0 && g.runs[n-1].valid == valid {
			g.runs[n-1].to = b.At
		} else {
			g.runs = append(g.runs, run{a.At, b.At, valid})
		}
	}
	if !valid {
		return
	}
	mean, _ := gateway.Watts(up.Wh() / (float64(all) / float64(gateway.Hour)))
	bridged := isGap(all, a.usual)
	g.each(a.At, b.At, func(i int, from, to gateway.Instant) {
		s := &g.sums[i]
		until, before := share(up, to-a.At, all), share(up, from-a.At, all)
		s.Energy += until.whole - before.whole
		s.addPart(until.part - before.part)
		s.Covered += to - from
		if bridged {
			s.Estimated += to - from
		}
		s.reach(MeanRange, mean)
	})
}

// hold takes a span of constant power in: its energy where no counter tells
// it, its height anyway.
func (g *Integrator) hold(from, to gateway.Instant, p gateway.Power) {
	g.each(from, to, func(i int, _, _ gateway.Instant) { g.sums[i].reach(PowerRange, p) })
	for _, r := range g.runs { // in order
		if r.to <= from {
			continue
		}
		if r.from >= to {
			break
		}
		g.commit(from, min(r.from, to), p)
		if !r.valid {
			g.commit(max(from, r.from), min(r.to, to), p)
		}
		from = min(r.to, to)
	}
	if g.counter.Has == 0 {
		g.commit(from, to, p)
		return
	}
	g.commit(from, min(to, g.counter.At), p)
	g.each(max(from, g.counter.At), to, func(i int, from, to gateway.Instant) {
		if n := len(g.pending); n == 0 || g.pending[n-1].bucket != i {
			g.pending = append(g.pending, pending{bucket: i})
		}
		last := &g.pending[len(g.pending)-1]
		last.sum.addPart(p.Over(from, to))
		last.sum.Covered += to - from
	})
}

// commit adds the energy of a span of constant power; an empty span adds none.
func (g *Integrator) commit(from, to gateway.Instant, p gateway.Power) {
	g.each(from, to, func(i int, from, to gateway.Instant) {
		g.sums[i].addPart(p.Over(from, to))
		g.sums[i].Covered += to - from
	})
}

// settle adds what is pending, or drops it.
func (g *Integrator) settle(stands bool) {
	if stands {
		for _, p := range g.pending {
			g.sums[p.bucket].Add(p.sum)
		}
	}
	g.pending = g.pending[:0]
}

// each calls f for each bucket that a span meets, with the part inside.
func (g *Integrator) each(from, to gateway.Instant, f func(bucket int, from, to gateway.Instant)) {
	from, to = max(from, g.edges[0]), min(to, g.edges[len(g.edges)-1])
	for from < to {
		i, _ := g.bucketOf(from)
		end := min(to, g.edges[i+1])
		f(i, from, end)
		from = end
	}
}

// bucketOf returns the bucket of an instant; ok is false if it is in none.
func (g *Integrator) bucketOf(i gateway.Instant) (bucket int, ok bool) {
	for range 2 { // the same as before, or the next one
		if g.edges[g.near] <= i && i < g.edges[g.near+1] {
			return g.near, true
		}
		if g.near+2 == len(g.edges) {
			break
		}
		g.near++
	}
	n := sort.Search(len(g.edges), func(n int) bool { return g.edges[n] > i }) - 1
	if n < 0 || n+1 >= len(g.edges) {
		return 0, false
	}
	g.near = n
	return n, true
}
