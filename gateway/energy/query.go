package energy

import (
	"errors"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Source is the readings of one device.
type Source interface {
	// Before returns the last reading before at, if there is one.
	Before(at gateway.Instant) (r gateway.Reading, ok bool, err error)
	// After returns the first reading at or after at, if there is one.
	After(at gateway.Instant) (r gateway.Reading, ok bool, err error)
	// Scan calls fn with each reading from from to before to, in order of time,
	// until fn returns an error, which it returns.
	Scan(from, to gateway.Instant, fn func(r gateway.Reading) error) error
}

// Query returns the buckets of a span that are not empty, and the step taken,
// which differs from the one asked for if that is StepAuto. Borders are those
// of Edges; with StepRaw there is one bucket for each reading of power or
// counter, from it to the next. An error is either a *gateway.Error with
// CodeInvalid or one of src.
func Query(
	src Source, from, to gateway.Instant, step Step, zone *time.Location,
) (Step, []Bucket, error) {
	if step == StepAuto {
		step = Auto(from, to)
	}
	edges, err := Edges(from, to, step, zone)
	if err == nil && step == StepRaw {
		edges, err = rawEdges(src, from, to)
	}
	if err != nil {
		return step, nil, err
	}
	buckets, err := Series(src, edges)
	if err != nil {
		return step, nil, err
	}
	some := buckets[:0]
	for _, b := range buckets {
		if !b.Empty() {
			some = append(some, b)
		}
	}
	return step, some, nil
}

// rawEdges returns from, the instants of the readings inside, and to.
func rawEdges(src Source, from, to gateway.Instant) ([]gateway.Instant, error) {
	edges := []gateway.Instant{from}
	err := src.Scan(from, to, func(r gateway.Reading) error {
		if len(edges) > MaxBuckets {
			return tooMany(StepRaw)
		}
		if r.At > from {
			edges = append(edges, r.At)
		}
		return nil
	})
	return append(edges, to), err
}

// Series returns the buckets between edges, which must ascend. It reads what
// it needs around them: the reading that holds at the beginning with all of its
// UTC day, the last UTC day to its end, the next reading after the end, and if
// the usual interval is not known then, further days. Where power and counter
// come in readings of their own, the last of either is looked for among the
// mostApart readings before, and the next among those after. An error is either
// a *gateway.Error with CodeInvalid or one of src.
func Series(src Source, edges []gateway.Instant) ([]Bucket, error) {
	g, err := NewIntegrator(edges)
	if err != nil {
		return nil, err
	}
	from, to := edges[0], edges[len(edges)-1]
	first, err := lead(src, from)
	if err != nil {
		return nil, err
	}
	f := feed{src: src, g: g}
	if err := f.scan(first, to); err != nil {
		return nil, err
	}
	if err := f.tail(to); err != nil {
		return nil, err
	}
	return g.Finish(), nil
}

// mostDays bounds how many days with next to no readings are looked through.
const mostDays = 1000

// mostApart bounds among how many readings before and after a span power and
// counter are looked for, if they come in readings of their own.
const mostApart = 16

// lead returns from where readings are needed for a span that begins at from.
func lead(src Source, from gateway.Instant) (gateway.Instant, error) {
	first, err := oldest(src, from)
	if err != nil || first == from {
		return first, err
	}
	for range mostDays {
		first -= mod(first, day)
		n, err := count(src, first, first+day)
		if err != nil || n > minIntervals {
			return first, err
		}
		r, ok, err := src.Before(first)
		if err != nil || !ok {
			return first, err
		}
		first = r.At
	}
	return first, nil
}

// oldest returns when power and counter were told last before from; from, if
// neither was.
func oldest(src Source, from gateway.Instant) (gateway.Instant, error) {
	first := from
	var seen gateway.ReadingFields
	at := from
	for range mostApart {
		r, ok, err := src.Before(at)
		if err != nil || !ok {
			return first, err
		}
		if r.Has&^seen != 0 {
			first, seen = r.At, seen|r.Has
		}
		if seen == gateway.HasPower|gateway.HasEnergy {
			break
		}
		at = r.At
	}
	return first, nil
}

// errEnough ends a scan that has seen what it needs.
var errEnough = errors.New("enough")

// count counts readings, up to what makes a median.
func count(src Source, from, to gateway.Instant) (n int, err error) {
	err = src.Scan(from, to, func(gateway.Reading) error {
		if n++; n > minIntervals {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return n, err
}

// feed brings readings from a source to an Integrator.
type feed struct {
	src  Source
	g    *Integrator
	seen gateway.ReadingFields // ever
	next gateway.ReadingFields // at or after the end of the span
}

// scan brings all readings of a range.
func (f *feed) scan(from, to gateway.Instant) error {
	return f.src.Scan(from, to, func(r gateway.Reading) error {
		f.seen |= r.Has
		return f.g.Add(r)
	})
}

// tail brings what is needed after the end of the span.
func (f *feed) tail(to gateway.Instant) error {
	end := to
	if mod(to, day) != 0 {
		end = to - mod(to, day) + day
	}
	if err := f.src.Scan(to, end, f.after); err != nil {
		return err
	}
	for n := 0; n < mostDays && f.g.Usual() == 0; n++ {
		// The running day is not in Usual yet; should it be the first to have a
		// usual interval, one day too many is read.
		r, ok, err := f.src.After(end)
		if err != nil || !ok {
			return err
		}
		first := end
		end = r.At - mod(r.At, day) + day
		if err := f.src.Scan(first, end, f.after); err != nil {
			return err
		}
	}
	return f.following(end)
}

// after takes a reading after the end of the span.
func (f *feed) after(r gateway.Reading) error {
	f.next |= r.Has
	return f.g.Add(r)
}

// following brings readings from at on, until all that was told was told
// again.
func (f *feed) following(at gateway.Instant) error {
	for range mostApart {
		if f.next&f.seen == f.seen {
			return nil
		}
		r, ok, err := f.src.After(at)
		if err != nil || !ok {
			return err
		}
		if err := f.after(r); err != nil {
			return err
		}
		at = r.At + 1
	}
	return nil
}
