package gateway

import (
	"math"
	"strconv"
	"time"
)

// Power is an active power in milliwatts; positive is drawn, negative is fed
// in.
type Power int64

// Energy is an amount of energy or a counter's value in milliwatt-hours.
type Energy int64

// Instant is a point in time: milliseconds since 1970-01-01 00:00 UTC. The
// zero value means "no time".
type Instant int64

// Units of Power, Energy and Instant.
const (
	Watt         Power   = 1000
	Kilowatt     Power   = 1000 * Watt
	WattHour     Energy  = 1000
	KilowattHour Energy  = 1000 * WattHour
	Second       Instant = 1000
	Minute       Instant = 60 * Second
	Hour         Instant = 60 * Minute
)

// Watts returns the power that w watts are, rounded to a milliwatt. A value
// that is no number, or beyond what Power holds, gives false.
func Watts(w float64) (Power, bool) {
	n, ok := thousandths(w)
	return Power(n), ok
}

// WattHours returns the energy that wh watt-hours are, rounded to a
// milliwatt-hour. A value that is no number, or beyond what Energy holds,
// gives false.
func WattHours(wh float64) (Energy, bool) {
	n, ok := thousandths(wh)
	return Energy(n), ok
}

// thousandths returns v in thousandths, rounded; false if it is no number or too
// large.
func thousandths(v float64) (int64, bool) {
	v = math.Round(v * 1000)
	if !(v > -9e18 && v < 9e18) { // NaN fails both
		return 0, false
	}
	return int64(v), true
}

// W returns p in watts.
func (p Power) W() float64 { return float64(p) / 1000 }

// Wh returns e in watt-hours.
func (e Energy) Wh() float64 { return float64(e) / 1000 }

// KWh returns e in kilowatt-hours.
func (e Energy) KWh() float64 { return float64(e) / 1e6 }

// String returns p with its unit, such as "812.5 W".
func (p Power) String() string { return strconv.FormatFloat(p.W(), 'f', -1, 64) + " W" }

// String returns e with its unit, such as "6294 Wh".
func (e Energy) String() string { return strconv.FormatFloat(e.Wh(), 'f', -1, 64) + " Wh" }

// Over returns the energy of a power that holds from a to b, in
// milliwatt-milliseconds; divide a sum of these by MilliwattMillisecond.
func (p Power) Over(a, b Instant) int64 { return int64(p) * int64(b-a) }

// MilliwattMilliseconds is how many milliwatt-milliseconds are a
// milliwatt-hour.
const MilliwattMilliseconds = int64(Hour)

// InstantOf returns the instant of t, cut to the millisecond.
func InstantOf(t time.Time) Instant { return Instant(t.UnixMilli()) }

// Time returns i as a time in UTC.
func (i Instant) Time() time.Time { return time.UnixMilli(int64(i)).UTC() }

// String returns i as RFC 3339 in UTC.
func (i Instant) String() string { return i.Time().Format(time.RFC3339Nano) }
