package gateway

import "encoding/json"

// Schedule says when a device may run (Intervals) and in which power state
// (Power).
type Schedule struct {
	AlwaysOn  bool
	Intervals []Interval
	Power     []PowerInterval
	Handlers  []Handler
	Channel   string // the MQTT topic for commands; "" for the dialect's own
}

// Empty reports whether s wants nothing of a device.
func (s Schedule) Empty() bool {
	return len(s.Intervals) == 0 && len(s.Power) == 0 && len(s.Handlers) == 0
}

// Interval is a span of local wall-clock time on some days. If To is not after
// From it runs past midnight.
type Interval struct {
	From, To Clock
	Days     Days
}

// PowerInterval is an Interval with the state wanted inside it, and the one
// wanted from its end until something else is.
type PowerInterval struct {
	Interval
	During, After PowerState
}

// Handler is a named rule with its settings, as they were given.
type Handler struct {
	Name     string
	Settings json.RawMessage
}

// Clock is a time of the day in minutes after midnight, 0 to 1440 (24:00).
type Clock int

// Days is a set of weekdays, bit 0 for Sunday as in time.Weekday. No day set
// means every day.
type Days uint8
