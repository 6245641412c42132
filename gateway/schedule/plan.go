package schedule

import (
	"cmp"
	"slices"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Names of what wants something, as Want and Occurrence tell them.
const (
	SourceSchedule      = "schedule"
	SourcePowerSchedule = "power_schedule"
)

// Spans of days that a plan looks at around an instant.
const (
	// horizon is how far Since and Until of a Want may be away.
	horizon = 8
	// lookBack is far enough for the state before an instant: what is wanted of
	// a weekly interval comes from a week before, or from two if the interval
	// was empty on a day on which the clock changed, and horizon comes on top.
	lookBack = 24
	// lookAhead is how far Next looks, for the same reason.
	lookAhead = 16
	// slack is how many days before and after a span may hold the beginning of
	// an interval that reaches into it: one for an interval past midnight, one
	// for the zone, one for a zone that skips a whole day.
	slack = 3
)

// Plan is a schedule in a time zone: what is wanted of a device at each
// instant. The zero value wants nothing.
type Plan struct {
	schedule gateway.Schedule
	zone     *time.Location
}

// Want is what is wanted of a device at an instant.
type Want struct {
	Action     gateway.Action // on, off or power_state
	PowerState gateway.PowerState
	Source     string
	// Since and Until are when it became wanted and when something else is.
	// They are zero where that is more than 8 days away.
	Since, Until time.Time
}

// Occurrence is a change of what is wanted of a device.
type Occurrence struct {
	At         time.Time // in the plan's zone, whole seconds
	Action     gateway.Action
	PowerState gateway.PowerState
	Source     string
}

// NewPlan returns the plan of a valid schedule in zone; nil means UTC. The
// lists of s must not be changed later.
func NewPlan(s gateway.Schedule, zone *time.Location) Plan {
	if zone == nil {
		zone = time.UTC
	}
	return Plan{schedule: s, zone: zone}
}

// Wanted returns what is wanted at an instant; ok is false if nothing is: for
// a device that is always on, and for one without intervals.
func (p Plan) Wanted(at time.Time) (w Want, ok bool) {
	now := at.Unix()
	var since, until int64
	var want wish
	for _, c := range p.changes(at.AddDate(0, 0, -lookBack), at.AddDate(0, 0, horizon)) {
		if c.at > now {
			until = c.at
			break
		}
		want, since = c.wish, c.at
	}
	if want == (wish{}) {
		return Want{}, false
	}
	w = Want{Action: want.action, PowerState: want.state, Source: want.source}
	if since >= at.AddDate(0, 0, -horizon).Unix() {
		w.Since = p.time(since)
	}
	if until != 0 {
		w.Until = p.time(until)
	}
	return w, true
}

// Occurrences returns each change of what is wanted in [from, to), in order.
// It takes time and memory in proportion to the span.
func (p Plan) Occurrences(from, to time.Time) []Occurrence {
	var list []Occurrence
	first := ceil(from)
	for _, c := range p.changes(from.AddDate(0, 0, -lookBack), to) {
		if c.at >= first && c.wish != (wish{}) {
			list = append(list, p.occurrence(c))
		}
	}
	return list
}

// Next returns the first change after an instant; ok is false if there is none
// within 16 days.
func (p Plan) Next(after time.Time) (o Occurrence, ok bool) {
	for _, c := range p.changes(after.AddDate(0, 0, -lookBack), after.AddDate(0, 0, lookAhead)) {
		if c.at > after.Unix() && c.wish != (wish{}) {
			return p.occurrence(c), true
		}
	}
	return Occurrence{}, false
}

func (p Plan) occurrence(c change) Occurrence {
	return Occurrence{
		At: p.time(c.at), Action: c.wish.action, PowerState: c.wish.state, Source: c.wish.source,
	}
}

func (p Plan) time(sec int64) time.Time { return time.Unix(sec, 0).In(p.zone) }

// ceil returns the first whole second at or after t, so that "s < t" and
// "s < ceil(t)" are the same for whole seconds s.
func ceil(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}

// wish is what is wanted, without when. The zero value is nothing.
type wish struct {
	action gateway.Action
	state  gateway.PowerState
	source string
}

// change is an instant, in Unix seconds, from which on a wish holds.
type change struct {
	at   int64
	wish wish
}

// edge is where an interval begins or ends.
type edge struct {
	at    int64
	begin bool
	power bool // of the power schedule, else of the schedule
	index int  // in its list
}

// changes returns what is wanted from the beginning of a span on, and each
// change before its end. The first changes are not real ones: before them the
// intervals are not looked at.
func (p Plan) changes(from, to time.Time) []change {
	if p.schedule.AlwaysOn || !from.Before(to) {
		return nil
	}
	edges := p.edges(from, to)
	var (
		list []change
		now  wish
		st   sweep
		end  = ceil(to)
	)
	for i := 0; i < len(edges) && edges[i].at < end; {
		at := edges[i].at
		for ; i < len(edges) && edges[i].at == at; i++ {
			st.pass(edges[i])
		}
		if w := st.wish(p.schedule); w != now {
			list, now = append(list, change{at, w}), w
		}
	}
	return list
}

// edges returns the beginnings and ends of the intervals that may reach into a
// span, in the order of time.
func (p Plan) edges(from, to time.Time) []edge {
	var edges []edge
	year, month, day := from.In(p.zone).Date()
	last := civil(to.In(p.zone).Date()).AddDate(0, 0, slack)
	for d := civil(year, month, day-slack); !d.After(last); d = d.AddDate(0, 0, 1) {
		for i, iv := range p.schedule.Intervals {
			edges = p.span(edges, d, iv, edge{index: i})
		}
		for i, iv := range p.schedule.Power {
			edges = p.span(edges, d, iv.Interval, edge{index: i, power: true})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	return edges
}

// span appends the edges that iv has on the calendar day d, none if it does
// not begin on that day or is empty on it.
func (p Plan) span(edges []edge, d time.Time, iv gateway.Interval, e edge) []edge {
	if !onDay(iv.Days, int(d.Weekday())) {
		return edges
	}
	end := iv.To
	if end <= iv.From {
		end += dayMinutes
	}
	begin, stop := e, e
	begin.begin = true
	begin.at = gateway.ResolveWall(d.Unix()+int64(iv.From)*60, p.zone)
	stop.at = gateway.ResolveWall(d.Unix()+int64(end)*60, p.zone)
	if stop.at <= begin.at {
		return edges
	}
	return append(edges, begin, stop)
}

// civil is a calendar day: its midnight as if the zone were UTC.
func civil(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// sweep is what is going on at an instant while edges are passed in order.
type sweep struct {
	on      int   // intervals of the schedule that are going on
	running []int // those of the power schedule, by index
	endedAt int64 // when the last one of these ended
	ended   int   // index of that one plus 1; 0 for none
}

func (s *sweep) pass(e edge) {
	switch {
	case !e.power && e.begin:
		s.on++
	case !e.power:
		s.on--
	case e.begin:
		s.running = append(s.running, e.index)
	default:
		if i := slices.Index(s.running, e.index); i >= 0 {
			s.running = slices.Delete(s.running, i, i+1)
		}
		// Of two that end together the earlier of the list counts.
		if s.ended == 0 || e.at > s.endedAt || e.index+1 < s.ended {
			s.endedAt, s.ended = e.at, e.index+1
		}
	}
}

// wish returns what is wanted: what the power schedule wants, else what the
// schedule does.
func (s *sweep) wish(of gateway.Schedule) wish {
	switch {
	case len(s.running) > 0:
		return wish{gateway.ActionPowerState, of.Power[slices.Min(s.running)].During, SourcePowerSchedule}
	case s.ended > 0:
		return wish{gateway.ActionPowerState, of.Power[s.ended-1].After, SourcePowerSchedule}
	case len(of.Intervals) == 0:
		return wish{}
	case s.on > 0:
		return wish{gateway.ActionOn, gateway.PowerUnknown, SourceSchedule}
	}
	return wish{gateway.ActionOff, gateway.PowerUnknown, SourceSchedule}
}
