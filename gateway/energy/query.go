package energy

import (
	"errors"
	"math"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Source is the readings of one device, and sums of them.
type Source interface {
	// Before returns the last reading from since to before at that has one of
	// the fields, if there is one.
	Before(at, since gateway.Instant, has gateway.ReadingFields) (gateway.Reading, bool, error)
	// After returns the first reading from at to before until that has one of
	// the fields, if there is one.
	After(at, until gateway.Instant, has gateway.ReadingFields) (gateway.Reading, bool, error)
	// Scan calls fn with the readings from from to before to, some at a time, in
	// order of time, until fn returns an error, which it returns. They are the
	// caller's until fn returns.
	Scan(from, to gateway.Instant, fn func(rs []gateway.Reading) error) error
	// Sums returns the sums of a level that are kept and meet the span, in order
	// of time. They are the caller's until the next call.
	Sums(level Level, from, to gateway.Instant) ([]Sum, error)
	// Usual returns the usual interval of the UTC day of at, if it is kept.
	Usual(at gateway.Instant) (usual gateway.Instant, ok bool, err error)
}

// Level is how long the spans of kept sums are.
type Level uint8

// Levels, from the shortest to the longest.
const (
	LevelFive Level = 1 + iota // five minutes
	LevelHour
	LevelDay
)

// Step returns the step whose buckets a level holds.
func (l Level) Step() Step {
	return [...]Step{LevelFive: Step5Min, LevelHour: StepHour, LevelDay: StepDay}[l]
}

// Length returns how long the buckets of a level are, but for clock changes.
func (l Level) Length() gateway.Instant {
	return [...]gateway.Instant{
		LevelFive: 5 * gateway.Minute, LevelHour: gateway.Hour, LevelDay: day,
	}[l]
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
	sums, err := Series(src, edges)
	if err != nil {
		return step, nil, err
	}
	some := make([]Bucket, 0, len(sums))
	for _, s := range sums {
		if b := s.Bucket(); !b.Empty() {
			some = append(some, b)
		}
	}
	return step, some, nil
}

// rawEdges returns from, the instants of the readings inside, and to.
func rawEdges(src Source, from, to gateway.Instant) ([]gateway.Instant, error) {
	edges := []gateway.Instant{from}
	err := src.Scan(from, to, func(rs []gateway.Reading) error {
		if len(edges)+len(rs) > MaxBuckets {
			return tooMany(StepRaw)
		}
		for _, r := range rs {
			if r.At > from {
				edges = append(edges, r.At)
			}
		}
		return nil
	})
	return append(edges, to), err
}

// Integrate returns the sums between edges, which must ascend, from readings
// alone. It reads what it needs around them: what holds at the beginning, with
// its UTC day; the last UTC day to its end; what is told next; and if the usual
// interval is not known then, further days. An error is either a *gateway.Error
// with CodeInvalid or one of src.
func Integrate(src Source, edges []gateway.Instant) ([]Sum, error) {
	g, err := NewIntegrator(edges)
	if err != nil {
		return nil, err
	}
	f := feed{src: src, g: g}
	from, to := edges[0], edges[len(edges)-1]
	first, err := f.lead(from)
	if err != nil {
		return nil, err
	}
	if err := f.scan(first, to); err != nil {
		return nil, err
	}
	if f.some { // else nothing can hold into the span
		if err := f.tail(to); err != nil {
			return nil, err
		}
	}
	return g.Finish(), nil
}

// How far away a reading may be and still matter where nearer ones tell the
// other field: a power does not hold longer than a gap, and the usual interval
// is a day at most.
const (
	powerReach   = 3 * day
	counterReach = counterRests
)

// reach returns the same for the fields.
func reach(has gateway.ReadingFields) gateway.Instant {
	if has&gateway.HasPower != 0 {
		return powerReach
	}
	return counterReach
}

// anyField is what every reading has one of.
const anyField = gateway.HasPower | gateway.HasEnergy

// oldest returns the instant of the oldest reading that matters for what comes
// at from or later; from, if there is none.
func oldest(src Source, from gateway.Instant) (gateway.Instant, error) {
	last, ok, err := src.Before(from, math.MinInt64, anyField)
	if err != nil || !ok {
		return from, err
	}
	missing := anyField &^ last.Has
	if missing == 0 {
		return last.At, nil
	}
	since := from - reach(missing)
	r, ok, err := src.Before(last.At, since, missing)
	if err == nil && !ok && missing == gateway.HasEnergy && last.At >= since {
		// A counter may be older, if no power was told between it and since.
		r, ok, err = src.Before(since, math.MinInt64, anyField)
		ok = ok && r.Has&missing != 0
	}
	if err != nil || !ok {
		return last.At, err
	}
	return r.At, nil
}

// newest returns the instant of the newest reading that matters for what comes
// before to; to, if there is none.
func newest(src Source, to gateway.Instant) (gateway.Instant, error) {
	next, ok, err := src.After(to, math.MaxInt64, anyField)
	if err != nil || !ok {
		return to, err
	}
	missing := anyField &^ next.Has
	if missing == 0 {
		return next.At, nil
	}
	r, ok, err := src.After(next.At, next.At+reach(missing)+1, missing)
	if err != nil || !ok {
		return next.At, err
	}
	return r.At, nil
}

// mostDays bounds how many days with next to no readings are looked through.
const mostDays = 1000

// dayStart returns the beginning of the UTC day of i.
func dayStart(i gateway.Instant) gateway.Instant { return i - mod(i, day) }

// errEnough ends a scan that has seen what it needs.
var errEnough = errors.New("enough")

// busy reports whether the UTC day that begins at first has a median of its own.
func busy(src Source, first gateway.Instant) (bool, error) {
	n := 0
	err := src.Scan(first, first+day, func(rs []gateway.Reading) error {
		if n += len(rs); n > minIntervals {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return true, nil
	}
	return false, err
}

// feed brings readings from a source to an Integrator.
type feed struct {
	src  Source
	g    *Integrator
	some bool // readings were added
}

// lead returns from where readings are needed for a span that begins at from.
func (f *feed) lead(from gateway.Instant) (gateway.Instant, error) {
	first, err := oldest(f.src, from)
	if err != nil || first == from {
		return first, err
	}
	for range mostDays {
		if usual, ok, err := f.src.Usual(first); err != nil {
			return 0, err
		} else if ok {
			f.g.Know(first, usual)
			f.g.usual = usual // also of days after it that have none of their own
			return first, nil
		}
		first = dayStart(first)
		if is, err := busy(f.src, first); err != nil || is {
			return first, err
		}
		r, ok, err := f.src.Before(first, math.MinInt64, anyField)
		if err != nil || !ok {
			return first, err
		}
		first = r.At
	}
	return first, nil
}

// tail brings what is needed after the end of the span.
func (f *feed) tail(to gateway.Instant) error {
	usual, ok, err := f.src.Usual(to)
	if err != nil {
		return err
	}
	last, err := newest(f.src, to)
	if err != nil {
		return err
	}
	end := to
	switch {
	case ok:
		f.g.Know(to, usual)
	case mod(to, day) != 0:
		end = dayStart(to) + day
	}
	if err := f.scan(to, end); err != nil {
		return err
	}
	for n := 0; n < mostDays && !ok && f.g.usual == 0; n++ {
		// The running day is not closed yet; should it be the first to have a usual
		// interval, one day too many is read.
		r, ok, err := f.src.After(end, math.MaxInt64, anyField)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		first := end
		end = dayStart(r.At) + day
		if err := f.scan(first, end); err != nil {
			return err
		}
	}
	return f.scan(end, last+1)
}

// scan brings the readings of a range.
func (f *feed) scan(from, to gateway.Instant) error {
	if from >= to {
		return nil
	}
	return f.src.Scan(from, to, func(rs []gateway.Reading) error {
		f.some = f.some || len(rs) > 0
		return f.g.Add(rs...)
	})
}
