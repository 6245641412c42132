package energy

import (
	"sort"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Step is how a span is cut into buckets.
type Step string

// Steps, as the API names them.
const (
	StepRaw   Step = "raw" // at each reading
	Step5Min  Step = "5m"
	StepHour  Step = "1h"
	StepDay   Step = "1d"
	StepMonth Step = "1mo"
	StepAll   Step = "all"
	StepAuto  Step = "auto" // what Auto chooses
)

// MaxBuckets is the most buckets of one series: a year of five minutes.
const MaxBuckets = 366 * 24 * 12

// The years that RFC 3339 knows.
const (
	earliest gateway.Instant = -62_135_596_800_000
	latest   gateway.Instant = 253_402_300_800_000
)

// autoPoints is the most buckets that Auto aims at.
const autoPoints = 400

// Auto chooses a step for a span, so that a chart of it has 400 points at most.
func Auto(from, to gateway.Instant) Step {
	switch span := to - from; {
	case span <= autoPoints*5*gateway.Minute:
		return Step5Min
	case span <= autoPoints*gateway.Hour:
		return StepHour
	case span <= autoPoints*day:
		return StepDay
	case span <= autoPoints*28*day:
		return StepMonth
	}
	return StepAll
}

// Edges returns the borders of the buckets of a span: from, the borders of the
// step in the wall-clock time of zone that lie inside, and to. Hours, days and
// months are as long as zone makes them. Raw has no borders of its own. The
// error is a *gateway.Error with CodeInvalid.
func Edges(from, to gateway.Instant, step Step, zone *time.Location) ([]gateway.Instant, error) {
	if from >= to {
		return nil, gateway.Invalidf("span from %s to %s is empty", from, to)
	}
	if from < earliest || to > latest {
		return nil, gateway.Invalidf("span from %s to %s leaves the years 1 to 9999", from, to)
	}
	switch step {
	case StepAuto:
		return Edges(from, to, Auto(from, to), zone)
	case StepRaw, StepAll:
		return []gateway.Instant{from, to}, nil
	}
	least, next := stepper(step, zone)
	if next == nil {
		return nil, gateway.Invalidf("step %q is not known", step)
	}
	if (to-from)/least > MaxBuckets {
		return nil, tooMany(step)
	}
	edges := []gateway.Instant{from}
	for i := next(from); i < to; i = next(i) {
		edges = append(edges, i)
	}
	return append(edges, to), nil
}

// stepper returns how long a bucket of a step is at least, and what finds the
// first border after an instant; nil for a step without borders.
func stepper(
	step Step, zone *time.Location,
) (least gateway.Instant, next func(gateway.Instant) gateway.Instant) {
	switch step {
	case Step5Min:
		return 5 * gateway.Minute, clockStep(zone, 5*gateway.Minute)
	case StepHour:
		return gateway.Hour, clockStep(zone, gateway.Hour)
	case StepDay:
		return day, dayStep(zone)
	case StepMonth:
		return 28 * day, func(i gateway.Instant) gateway.Instant { return nextMonth(i, zone) }
	}
	return 0, nil
}

// dayStep returns the function that finds the next local day. Between changes
// of the clock that is 24 hours after the one before.
func dayStep(zone *time.Location) func(gateway.Instant) gateway.Instant {
	var last, until gateway.Instant // a day's beginning, and until when its offset holds
	return func(i gateway.Instant) gateway.Instant {
		if i == last && i+day < until {
			last = i + day
			return last
		}
		last, until = nextDay(i, zone), 0
		t := last.Time().In(zone)
		if _, end := t.ZoneBounds(); end.IsZero() {
			until = latest
		} else {
			until = gateway.InstantOf(end)
		}
		if h, m, s := t.Clock(); h != 0 || m != 0 || s != 0 {
			until = 0 // the day begins with a change of the clock
		}
		return last
	}
}

// Grid returns the borders of a level's buckets that lie in a span, both ends
// included: those of whole buckets.
func Grid(from, to gateway.Instant, level Level, zone *time.Location) (edges []gateway.Instant) {
	_, next := stepper(level.Step(), zone)
	for i := next(from - 1); i <= to; i = next(i) {
		edges = append(edges, i)
	}
	return edges
}

// tooMany says that a series would be too long.
func tooMany(step Step) error {
	return gateway.Invalidf("step %s gives more than %d points; choose a longer one", step, MaxBuckets)
}

// clockStep returns the function that finds the next multiple of size in
// wall-clock time.
func clockStep(zone *time.Location, size gateway.Instant) func(gateway.Instant) gateway.Instant {
	floor := func(i gateway.Instant) gateway.Instant {
		_, offset := i.Time().In(zone).Zone()
		local := i + gateway.Instant(offset)*gateway.Second
		return i - mod(local, size)
	}
	return func(i gateway.Instant) gateway.Instant {
		n := floor(i + size)
		if n <= i { // the clock was put back meanwhile by no multiple of size
			n = i + size
		}
		return n
	}
}

// mod is the remainder of a/b that is never negative.
func mod(a, b gateway.Instant) gateway.Instant { return ((a % b) + b) % b }

// nextDay returns the first instant of the local day after that of i.
func nextDay(i gateway.Instant, zone *time.Location) gateway.Instant {
	y, m, d := i.Time().In(zone).Date()
	for n := 1; ; n++ { // a zone may leave out a day
		if next := startOfDay(y, m, d+n, zone); next > i {
			return next
		}
	}
}

// nextMonth returns the first instant of the local month after that of i.
func nextMonth(i gateway.Instant, zone *time.Location) gateway.Instant {
	y, m, _ := i.Time().In(zone).Date()
	return startOfDay(y, m+1, 1, zone)
}

// DayOf returns the first instant of the local day of i and of the day after.
func DayOf(i gateway.Instant, zone *time.Location) (from, to gateway.Instant) {
	y, m, d := i.Time().In(zone).Date()
	return startOfDay(y, m, d, zone), nextDay(i, zone)
}

// startOfDay returns the first instant of a local day. That is not always
// midnight, and midnight is not always one instant: some zones change their
// clocks just then. Day and month may be out of range, as for time.Date.
func startOfDay(y int, m time.Month, d int, zone *time.Location) gateway.Instant {
	noon := time.Date(y, m, d, 12, 0, 0, 0, zone)
	y, m, d = noon.Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, zone)
	reached := func(t time.Time) bool {
		ty, tm, td := t.In(zone).Date()
		return ty == y && tm == m && td == d
	}
	if reached(midnight) && !reached(midnight.Add(-time.Millisecond)) {
		return gateway.InstantOf(midnight)
	}
	const before = 16 * 3600 // s before noon, when the day has not begun
	first := noon.Add(-before * time.Second)
	n := sort.Search(before, func(s int) bool {
		return reached(first.Add(time.Duration(s) * time.Second))
	})
	return gateway.InstantOf(first.Add(time.Duration(n) * time.Second))
}
