package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wattle-home/wattle/gateway"
)

// Limits of a schedule.
const (
	// MaxIntervals is how many intervals one list may have.
	MaxIntervals = 1000
	// maxChannel is the length of a channel in bytes, and maxLevels how many
	// levels it may have: the broker takes no longer topics.
	maxChannel = 256
	maxLevels  = 12
	// maxFaults is how many faults are listed; more help nobody.
	maxFaults = 50
)

// dayMinutes is how many minutes a day of the wall clock has, and weekMinutes
// a week.
const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// everyDay is the set of all days, which a schedule keeps as 0.
const everyDay gateway.Days = 1<<7 - 1

// dayNames are the names of the days by their bit in gateway.Days.
var dayNames = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Parse reads a schedule from JSON. It is strict: unknown and repeated fields,
// wrong types, and values out of range are faults, and all of them are told at
// once. The error is a *gateway.Error with CodeInvalid whose fields are paths
// such as schedule[1].to.
//
// Intervals may be objects, or the older lists of hours: [8, 11], and in a
// power schedule [8, 11, "D0", "D2"] with the state after before the state
// during. Hours may have a fraction, which is rounded to the minute.
func Parse(data []byte) (gateway.Schedule, error) {
	p := parser{}
	s := p.schedule(data)
	if len(p.faults) > 0 {
		e := gateway.Invalidf("the schedule is not valid")
		e.Fields = p.faults
		return gateway.Schedule{}, e
	}
	return s, nil
}

// parser collects the faults of one schedule. Its methods return zero values
// for what was faulty.
type parser struct {
	faults []gateway.FieldError
}

// fault notes what is wrong with the value at path.
func (p *parser) fault(path, format string, args ...any) {
	if len(p.faults) < maxFaults {
		detail := fmt.Sprintf(format, args...)
		p.faults = append(p.faults, gateway.FieldError{Field: path, Detail: detail})
	}
}

func (p *parser) schedule(data []byte) (s gateway.Schedule) {
	if !utf8.Valid(data) {
		p.fault("schedule", "is not UTF-8 text")
		return s
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		p.fault("schedule", "is not valid JSON: %v", err)
		return s
	}
	if kind(whole) != "an object" {
		p.fault("schedule", "is %s, want an object", kind(whole))
		return s
	}
	fields := p.object("", whole, "always_on", "schedule", "power_schedule", "handlers", "channel")
	for _, f := range fields {
		switch f.name {
		case "always_on":
			s.AlwaysOn = decode[bool](p, f.path, f.value, "true or false")
		case "schedule":
			for i, e := range p.list(f) {
				s.Intervals = append(s.Intervals, p.interval(at(f.path, i), e))
			}
			p.overlaps(f.path, s.Intervals)
		case "power_schedule":
			var plain []gateway.Interval
			for i, e := range p.list(f) {
				iv := p.powerInterval(at(f.path, i), e)
				s.Power, plain = append(s.Power, iv), append(plain, iv.Interval)
			}
			p.overlaps(f.path, plain)
		case "handlers":
			p.handlers(f)
		case "channel":
			s.Channel = p.channel(f)
		}
	}
	return s
}

// handlers accepts no handlers in either of the forms that they have.
func (p *parser) handlers(f field) {
	switch kind(f.value) {
	case "an object", "a list":
		if text := bytes.TrimSpace(f.value); len(bytes.TrimSpace(text[1:len(text)-1])) > 0 {
			p.fault(f.path, "handlers are not supported by this version")
		}
	default:
		p.fault(f.path, "is %s, want an object or a list", kind(f.value))
	}
}

// channel reads the topic for commands; "" means the dialect's own.
func (p *parser) channel(f field) string {
	c := decode[string](p, f.path, f.value, "text")
	switch {
	case c == "":
	case !gateway.ValidTopic(c):
		p.fault(f.path, "%q is not an MQTT topic; wildcards are not allowed", clip(c))
	case len(c) > maxChannel || strings.Count(c, "/") >= maxLevels:
		p.fault(f.path, "is longer than %d bytes or %d levels", maxChannel, maxLevels)
	case strings.HasPrefix(c, "$"):
		p.fault(f.path, "%q begins with $, which belongs to the broker", clip(c))
	}
	return c
}

// interval reads an element of "schedule".
func (p *parser) interval(path string, raw json.RawMessage) (iv gateway.Interval) {
	switch kind(raw) {
	case "a list":
		hours, _ := p.tuple(path, raw, 2)
		return p.hours(path, hours)
	case "an object":
		return p.span(path, p.object(path, raw, "from", "to", "days"))
	}
	p.fault(path, "is %s, want an object or a list of hours", kind(raw))
	return iv
}

// powerInterval reads an element of "power_schedule".
func (p *parser) powerInterval(path string, raw json.RawMessage) (iv gateway.PowerInterval) {
	switch kind(raw) {
	case "a list":
		hours, states := p.tuple(path, raw, 4)
		iv.Interval = p.hours(path, hours)
		if len(states) == 2 {
			iv.After = p.state(at(path, 2), states[0])
			iv.During = p.state(at(path, 3), states[1])
		}
	case "an object":
		fields := p.object(path, raw, "from", "to", "days", "during", "after")
		iv.Interval = p.span(path, fields)
		iv.During = p.state(path+".during", find(fields, "during"))
		iv.After = p.state(path+".after", find(fields, "after"))
	default:
		p.fault(path, "is %s, want an object or a list of hours and states", kind(raw))
	}
	return iv
}

// state reads a power state; nil is a missing one.
func (p *parser) state(path string, raw json.RawMessage) gateway.PowerState {
	if raw == nil {
		p.fault(path, "is missing")
		return gateway.PowerUnknown
	}
	if kind(raw) != "text" {
		p.fault(path, "is %s, want a power state such as \"D0\"", kind(raw))
		return gateway.PowerUnknown
	}
	s, err := gateway.ParsePowerState(decode[string](p, path, raw, "text"))
	if err != nil {
		p.fault(path, "%v", err)
	}
	return s
}

// tuple takes the older form apart: two hours and n-2 states. It returns nil
// for a list of another length.
func (p *parser) tuple(path string, raw json.RawMessage, n int) (hours, states []json.RawMessage) {
	elems := decode[[]json.RawMessage](p, path, raw, "a list")
	if len(elems) != n {
		want := "from hour and to hour"
		if n == 4 {
			want = "from hour, to hour, state after and state during"
		}
		p.fault(path, "has %d elements, want %d: %s", len(elems), n, want)
		return nil, nil
	}
	return elems[:2], elems[2:]
}

// hours makes an interval of the two hours of an older list; nil is a list
// that was refused already. A faulty interval has no length.
func (p *parser) hours(path string, hours []json.RawMessage) (iv gateway.Interval) {
	if hours == nil {
		return iv
	}
	var ok [2]bool
	iv.From, ok[0] = p.hour(at(path, 0), hours[0], dayMinutes-1)
	iv.To, ok[1] = p.hour(at(path, 1), hours[1], dayMinutes)
	switch {
	case !ok[0] || !ok[1]:
		return gateway.Interval{}
	case iv.From == iv.To:
		p.fault(at(path, 1), "is the same as the hour before it")
	}
	return iv
}

// hour reads an hour of the day with its fraction, up to most minutes.
func (p *parser) hour(path string, raw json.RawMessage, most gateway.Clock) (gateway.Clock, bool) {
	if kind(raw) != "a number" {
		p.fault(path, "is %s, want an hour such as 8 or 8.5", kind(raw))
		return 0, false
	}
	h, err := strconv.ParseFloat(string(raw), 64)
	m := math.Round(h * 60)
	if err != nil || !(h >= 0 && m <= float64(most)) {
		p.fault(path, "%s is not an hour from 0 to %s", clip(string(raw)), clockText(most))
		return 0, false
	}
	return gateway.Clock(m), true
}

// span reads from, to and days of an interval's object. A faulty interval has
// no length.
func (p *parser) span(path string, fields []field) (iv gateway.Interval) {
	var ok [2]bool
	iv.From, ok[0] = p.clock(path+".from", find(fields, "from"), dayMinutes-1)
	iv.To, ok[1] = p.clock(path+".to", find(fields, "to"), dayMinutes)
	if raw := find(fields, "days"); raw != nil {
		iv.Days = p.days(path+".days", raw)
	}
	switch {
	case !ok[0] || !ok[1]:
		return gateway.Interval{}
	case iv.From == iv.To:
		p.fault(path+".to", "is the same as from")
	}
	return iv
}

// clock reads a time of the day as HH:MM, up to most; nil is a missing one.
func (p *parser) clock(path string, raw json.RawMessage, most gateway.Clock) (gateway.Clock, bool) {
	if raw == nil {
		p.fault(path, "is missing")
		return 0, false
	}
	if kind(raw) != "text" {
		p.fault(path, "is %s, want a time such as \"08:00\"", kind(raw))
		return 0, false
	}
	text := decode[string](p, path, raw, "text")
	c, ok := parseClock(text)
	if !ok {
		p.fault(path, "%q is not a time of the day as HH:MM", clip(text))
		return 0, false
	}
	if c > most {
		p.fault(path, "24:00 is allowed as \"to\" only")
		return 0, false
	}
	return c, true
}

// parseClock reads HH:MM from 00:00 to 24:00.
func parseClock(text string) (gateway.Clock, bool) {
	if len(text) != 5 || text[2] != ':' {
		return 0, false
	}
	for _, i := range [...]int{0, 1, 3, 4} {
		if text[i] < '0' || text[i] > '9' {
			return 0, false
		}
	}
	h, m := int(text[0]-'0')*10+int(text[1]-'0'), int(text[3]-'0')*10+int(text[4]-'0')
	if m > 59 || h > 24 || h == 24 && m > 0 {
		return 0, false
	}
	return gateway.Clock(h*60 + m), true
}

// days reads a list of weekdays. All seven are the same as none.
func (p *parser) days(path string, raw json.RawMessage) (set gateway.Days) {
	if kind(raw) != "a list" {
		p.fault(path, "is %s, want a list of days such as [\"mon\", \"tue\"]", kind(raw))
		return 0
	}
	elems := decode[[]json.RawMessage](p, path, raw, "a list")
	if len(elems) == 0 {
		p.fault(path, "is empty; leave it out for every day")
	}
	for i, e := range elems {
		day := p.day(at(path, i), e)
		if set&day != 0 {
			p.fault(at(path, i), "stands there twice")
		}
		set |= day
	}
	if set == everyDay {
		return 0
	}
	return set
}

// day reads a weekday's name and returns its bit, or 0.
func (p *parser) day(path string, raw json.RawMessage) gateway.Days {
	if kind(raw) != "text" {
		p.fault(path, "is %s, want a day such as \"mon\"", kind(raw))
		return 0
	}
	name := decode[string](p, path, raw, "text")
	for i, n := range dayNames {
		if strings.EqualFold(n, name) {
			return 1 << i
		}
	}
	p.fault(path, "%q is not one of mon, tue, wed, thu, fri, sat, sun", clip(name))
	return 0
}

// overlaps faults the intervals of one list that cover a minute of the week
// which an earlier one covers; the week begins anew after its end. Intervals
// that were refused have no length and cover nothing.
func (p *parser) overlaps(path string, list []gateway.Interval) {
	var owner [weekMinutes]int // index into list plus 1
	for i, iv := range list {
		if other := claim(&owner, iv, i+1); other > 0 {
			p.fault(at(path, i), "overlaps %s", at(path, other-1))
		}
	}
}

// claim marks the minutes of iv as id's and returns whose the first one is
// that was taken, or 0.
func claim(owner *[weekMinutes]int, iv gateway.Interval, id int) int {
	if iv.From == iv.To {
		return 0
	}
	length := int(iv.To - iv.From)
	if length <= 0 {
		length += dayMinutes
	}
	for day := range 7 {
		if !onDay(iv.Days, day) {
			continue
		}
		for m := range length {
			slot := &owner[(day*dayMinutes+int(iv.From)+m)%weekMinutes]
			if *slot != 0 {
				return *slot
			}
			*slot = id
		}
	}
	return 0
}

// onDay reports whether the set holds the weekday, 0 for Sunday.
func onDay(set gateway.Days, weekday int) bool { return set == 0 || set>>weekday&1 == 1 }
