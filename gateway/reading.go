package gateway

// Reading is a measured sample of one device. Readings of one device are
// identified by their instant: the same one twice is one reading.
type Reading struct {
	Device DeviceID
	At     Instant
	Power  Power
	Energy Energy // the meter's rising counter
	Has    ReadingFields
}

// ReadingFields says which fields of a Reading were measured.
type ReadingFields uint8

// Fields of a Reading.
const (
	HasPower ReadingFields = 1 << iota
	HasEnergy
)

// Limits of a reading that is believed.
const (
	// EarliestReading is 2000-01-01 00:00 UTC; before it no clock of a meter was
	// right.
	EarliestReading Instant = 946_684_800_000
	// MaxAhead is how far a device's clock may be ahead of ours.
	MaxAhead = 5 * Minute
	// MaxPower is the largest power of a household's device.
	MaxPower = 100 * Kilowatt
	// MaxEnergy is the largest value of a counter, 10 GWh.
	MaxEnergy = 10_000_000 * KilowattHour
)

// Check tells why r cannot be believed at the instant now, or returns nil.
// The error is an *Error with CodeInvalid.
func (r Reading) Check(now Instant) error {
	switch {
	case r.Has == 0:
		return Invalidf("reading has neither power nor energy")
	case r.At < EarliestReading:
		return Invalidf("time %s is before 2000", r.At)
	case r.At > now+MaxAhead:
		return Invalidf("time %s is more than 5 minutes ahead", r.At)
	case r.Has&HasPower != 0 && (r.Power > MaxPower || r.Power < -MaxPower):
		return Invalidf("power %s is beyond 100 kW", r.Power)
	case r.Has&HasEnergy != 0 && r.Energy < 0:
		return Invalidf("energy counter %s is negative", r.Energy)
	case r.Has&HasEnergy != 0 && r.Energy > MaxEnergy:
		return Invalidf("energy counter %s is beyond 10 GWh", r.Energy)
	}
	return nil
}

// Merge joins two readings of one device and instant into the one that
// stands. It is commutative, associative and idempotent, so that repeats and
// any order of arrival give the same result: a field that one of them lacks
// is taken from the other, and of two values the larger stands.
func (r Reading) Merge(o Reading) Reading {
	if o.Has&HasPower != 0 && (r.Has&HasPower == 0 || o.Power > r.Power) {
		r.Power = o.Power
	}
	if o.Has&HasEnergy != 0 && (r.Has&HasEnergy == 0 || o.Energy > r.Energy) {
		r.Energy = o.Energy
	}
	r.Has |= o.Has
	return r
}
