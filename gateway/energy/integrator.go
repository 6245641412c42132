package energy

import (
	"slices"
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
)

// Bucket is what a device did from From to To.
type Bucket struct {
	From, To  gateway.Instant
	Energy    gateway.Energy
	Covered   gateway.Instant // how much of the time is known, ms
	Estimated gateway.Instant // how much of Covered a counter bridges, ms
	Min, Max  gateway.Power   // of the power that held; without any, of the means
	Mean      gateway.Power   // Energy over Covered; Min <= Mean <= Max
	Readings  int             // taken in the bucket
}

// Empty reports whether nothing is known of b.
func (b Bucket) Empty() bool { return b.Covered == 0 && b.Readings == 0 }

// Integrator works out the energy of one device. Readings go in by Add in
// order of time; what they were belongs to the buckets that Finish returns. It
// remembers one UTC day of readings, and of days with next to none as many as
// it takes to know the usual interval.
type Integrator struct {
	edges []gateway.Instant
	sums  []sum
	near  int // a bucket where the next search begins

	today  []gateway.Reading // of the running UTC day
	held   []gateway.Reading // of earlier days, until the usual interval is known
	usual  gateway.Instant   // of the last day that had one; 0 for none yet
	closed bool

	power, counter told // the last of each

	// runs says which spans since the last power reading counters decided.
	runs []run
	// pending is energy by power since the last counter reading. The next one
	// decides whether it stands.
	pending []pending
}

// sum gathers a bucket.
type sum struct {
	energy             amount
	covered, estimated gateway.Instant
	min, max           gateway.Power
	meanMin, meanMax   gateway.Power // of what counters tell
	ranged, meanRanged bool
	readings           int
}

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
	bucket  int
	energy  amount
	covered gateway.Instant
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
	return &Integrator{edges: edges, sums: make([]sum, len(edges)-1)}, nil
}

// Usual returns the usual interval of the last whole day that had one, or 0.
func (g *Integrator) Usual() gateway.Instant { return g.usual }

// Add takes the next reading. One of the instant before is merged with it. The
// error is a *gateway.Error with CodeInvalid if r is older than the one before.
func (g *Integrator) Add(r gateway.Reading) error {
	if r.Has == 0 {
		return nil
	}
	if last, ok := g.last(); ok {
		switch {
		case r.At < last.At:
			return gateway.Invalidf("reading of %s comes after that of %s", r.At, last.At)
		case r.At == last.At:
			*last = last.Merge(r)
			return nil
		case utcDay(r.At) != utcDay(last.At):
			g.closeDay()
		}
	}
	g.today = append(g.today, r)
	return nil
}

// last returns the newest reading.
func (g *Integrator) last() (*gateway.Reading, bool) {
	if n := len(g.today); n > 0 {
		return &g.today[n-1], true
	}
	return nil, false
}

// Finish returns the buckets. Nothing may be added afterwards.
func (g *Integrator) Finish() []Bucket {
	if !g.closed {
		g.closed = true
		g.closeDay()
		if len(g.held) > 0 {
			g.usual = min(median(g.held), day)
			g.release()
		}
		if g.power.Has != 0 {
			g.hold(g.power.At, g.power.At+g.power.usual, g.power.Power)
		}
		g.settle(true)
	}
	out := make([]Bucket, len(g.sums))
	for i, s := range g.sums {
		out[i] = s.bucket(g.edges[i], g.edges[i+1])
	}
	return out
}

// reach widens the range of power to p.
func (s *sum) reach(p gateway.Power) {
	if !s.ranged {
		s.min, s.max, s.ranged = p, p, true
	}
	s.min, s.max = min(s.min, p), max(s.max, p)
}

// reachMean widens the range of what counters tell to p.
func (s *sum) reachMean(p gateway.Power) {
	if !s.meanRanged {
		s.meanMin, s.meanMax, s.meanRanged = p, p, true
	}
	s.meanMin, s.meanMax = min(s.meanMin, p), max(s.meanMax, p)
}

// bucket makes the result of a sum.
func (s sum) bucket(from, to gateway.Instant) Bucket {
	b := Bucket{
		From: from, To: to, Energy: s.energy.rounded(),
		Covered: s.covered, Estimated: s.estimated,
		Min: s.min, Max: s.max, Readings: s.readings,
	}
	if !s.ranged {
		b.Min, b.Max = s.meanMin, s.meanMax
	}
	b.Mean = b.Min // for a lone reading, which covers no time
	if s.covered > 0 {
		b.Mean = s.energy.over(s.covered)
		b.Min, b.Max = min(b.Min, b.Mean), max(b.Max, b.Mean)
	}
	return b
}

// closeDay works off the readings of a day that is complete.
func (g *Integrator) closeDay() {
	if len(g.today) > minIntervals {
		g.usual = median(g.today)
		g.release()
	}
	if g.usual == 0 {
		g.held = append(g.held, g.today...)
	}
	if g.usual != 0 {
		for _, r := range g.today {
			g.take(told{r, g.usual})
		}
	}
	g.today = g.today[:0]
}

// release works off what was held back.
func (g *Integrator) release() {
	for _, r := range g.held {
		g.take(told{r, g.usual})
	}
	g.held = nil
}

// median returns the median of the intervals between readings, the mean of the
// middle two if their number is even; 0 without any interval.
func median(rs []gateway.Reading) gateway.Instant {
	if len(rs) < 2 {
		return 0
	}
	steps := make([]gateway.Instant, len(rs)-1)
	for i := range steps {
		steps[i] = rs[i+1].At - rs[i].At
	}
	slices.Sort(steps)
	n := len(steps)
	return (steps[(n-1)/2] + steps[n/2]) / 2
}

// utcDay numbers the days of UTC.
func utcDay(i gateway.Instant) gateway.Instant { return (i - mod(i, day)) / day }

// isGap reports whether a pause after a reading is one.
func isGap(pause, usual gateway.Instant) bool { return pause > 3*usual && pause >= MinGap }

// take works one reading in.
func (g *Integrator) take(r told) {
	if i, ok := g.bucketOf(r.At); ok {
		g.sums[i].readings++
		if r.Has&gateway.HasPower != 0 {
			g.sums[i].reach(r.Power)
		}
	}
	if r.Has&gateway.HasEnergy != 0 {
		if g.counter.Has != 0 {
			g.rise(g.counter, r)
		} else {
			g.settle(true)
		}
		g.counter = r
	}
	if r.Has&gateway.HasPower != 0 {
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

// rise takes the span between two counter readings in.
func (g *Integrator) rise(a, b told) {
	all, up := b.At-a.At, b.Energy-a.Energy
	most := int64(gateway.MaxPower) * int64(max(all, shortest)/gateway.Second) / 3600
	valid := up >= 0 && int64(up) <= most
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
		e := share(up, to-a.At, all)
		s.energy.plus(e.minus(share(up, from-a.At, all)))
		s.covered += to - from
		if bridged {
			s.estimated += to - from
		}
		s.reachMean(mean)
	})
}

// hold takes a span of constant power in: its energy where no counter tells
// it, its height anyway.
func (g *Integrator) hold(from, to gateway.Instant, p gateway.Power) {
	g.each(from, to, func(i int, _, _ gateway.Instant) { g.sums[i].reach(p) })
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
		last.energy.add(p.Over(from, to))
		last.covered += to - from
	})
}

// commit adds the energy of a span of constant power; an empty span adds none.
func (g *Integrator) commit(from, to gateway.Instant, p gateway.Power) {
	g.each(from, to, func(i int, from, to gateway.Instant) {
		g.sums[i].energy.add(p.Over(from, to))
		g.sums[i].covered += to - from
	})
}

// settle adds what is pending, or drops it.
func (g *Integrator) settle(stands bool) {
	if stands {
		for _, p := range g.pending {
			g.sums[p.bucket].energy.plus(p.energy)
			g.sums[p.bucket].covered += p.covered
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
