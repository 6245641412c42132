package energy

import (
	"math"
	"sort"

	"github.com/wattle-home/wattle/gateway"
)

// Series returns the sums between edges, which must ascend. It takes the
// longest kept sums that fit between them and integrates readings elsewhere.
// An error is either a *gateway.Error with CodeInvalid or one of src.
func Series(src Source, edges []gateway.Instant) ([]Sum, error) {
	return seriesBelow(src, edges, LevelDay)
}

// Summarize returns the sums of a level for the buckets between edges, rounded
// as they are kept. An error is as those of Series.
func Summarize(src Source, edges []gateway.Instant, level Level) ([]Sum, error) {
	sums, err := seriesBelow(src, edges, level-1)
	Round(sums)
	return sums, err
}

// seriesBelow is Series from kept sums of most at the longest.
func seriesBelow(src Source, edges []gateway.Instant, most Level) ([]Sum, error) {
	g, err := NewIntegrator(edges)
	if err != nil {
		return nil, err
	}
	var longest gateway.Instant
	for i := range edges[1:] {
		longest = max(longest, edges[i+1]-edges[i])
	}
	c := cover{src: src, edges: edges, sums: g.sums}
	open := []stretch{{edges[0], edges[len(edges)-1]}}
	for level := most; level >= LevelFive; level-- {
		if longest < level.shortest() {
			continue
		}
		if open, err = c.fill(level, open); err != nil {
			return nil, err
		}
	}
	for _, s := range open {
		if err := c.integrate(s); err != nil {
			return nil, err
		}
	}
	return c.sums, nil
}

// shortest returns how short a bucket of the level may be, as on the days
// when clocks are put forward.
func (l Level) shortest() gateway.Instant { return l.Length() - l.Length()/24 }

// stretch is a part of a span.
type stretch struct{ from, to gateway.Instant }

// cover puts the sums of buckets together.
type cover struct {
	src   Source
	edges []gateway.Instant
	sums  []Sum
}

// bucketOf returns the bucket of an instant, which is in one.
func (c cover) bucketOf(at gateway.Instant) int {
	return sort.Search(len(c.edges), func(n int) bool { return c.edges[n] > at }) - 1
}

// add adds a sum to the bucket in which it lies.
func (c cover) add(i int, s Sum) {
	if s.From == c.sums[i].From {
		c.sums[i].Usual = s.Usual
	}
	c.sums[i].Add(s)
}

// fill adds the kept sums of a level that lie in the stretches open and in one
// bucket each, and returns what is still open.
func (c cover) fill(level Level, open []stretch) (left []stretch, err error) {
	for _, o := range open {
		if o.to-o.from < level.shortest() {
			left = append(left, o)
			continue
		}
		sums, err := c.src.Sums(level, o.from, o.to)
		if err != nil {
			return nil, err
		}
		done := o.from
		i := c.bucketOf(o.from)
		for _, s := range sums {
			if s.From < done || s.To > o.to {
				continue
			}
			for c.edges[i+1] <= s.From {
				i++
			}
			if s.To > c.edges[i+1] {
				continue
			}
			c.add(i, s)
			if s.From > done {
				left = append(left, stretch{done, s.From})
			}
			done = s.To
		}
		if done < o.to {
			left = append(left, stretch{done, o.to})
		}
	}
	return left, nil
}

// integrate adds what readings say of a stretch.
func (c cover) integrate(s stretch) error {
	first := c.bucketOf(s.from)
	edges := []gateway.Instant{s.from}
	for i := first + 1; c.edges[i] < s.to; i++ {
		edges = append(edges, c.edges[i])
	}
	sums, err := Integrate(c.src, append(edges, s.to))
	if err != nil {
		return err
	}
	for i, s := range sums {
		c.add(first+i, s)
	}
	return nil
}

// Settled returns until when no reading that comes in order of time can change
// a sum any more, and from when on: before the first UTC day that has a usual
// interval of its own, sums depend on what comes. Both are UTC midnights. ok is
// false if there is no such time.
func Settled(src Source) (from, to gateway.Instant, ok bool, err error) {
	last, ok, err := src.Before(math.MaxInt64, math.MinInt64, anyField)
	if err != nil || !ok {
		return 0, 0, false, err
	}
	if to, err = oldest(src, last.At+1); err != nil {
		return 0, 0, false, err
	}
	to = dayStart(to)
	next := gateway.Instant(math.MinInt64)
	for range mostDays {
		r, ok, err := src.After(next, to, anyField)
		if err != nil || !ok {
			return 0, 0, false, err
		}
		from = dayStart(r.At)
		if is, err := busy(src, from); err != nil || is {
			return from, to, is && from < to, err
		}
		next = from + day
	}
	return 0, 0, false, nil
}

// Reach returns which sums readings from first to last may change that src does
// not have yet: those that meet the span from from to to.
func Reach(src Source, first, last gateway.Instant) (from, to gateway.Instant, err error) {
	if from, err = oldest(src, first); err != nil {
		return 0, 0, err
	}
	from = dayStart(from)
	to = dayStart(last) + day
	for n := 0; ; n++ {
		r, ok, err := src.After(to, math.MaxInt64, anyField)
		if err != nil {
			return 0, 0, err
		}
		if !ok || n == mostDays {
			return from, math.MaxInt64, nil
		}
		// Days without a usual interval of their own take that of the day before.
		if is, err := busy(src, dayStart(r.At)); err != nil {
			return 0, 0, err
		} else if is {
			break
		}
		to = dayStart(r.At) + day
	}
	end, err := newest(src, to)
	if err != nil {
		return 0, 0, err
	}
	return from, dayStart(end) + day, nil
}
