package energy

import (
	"math"

	"github.com/wattle-home/wattle/gateway"
)

// Sum is what a device did from From to To. Sums of spans that meet add up to
// that of both, and so they can be kept in place of readings.
type Sum struct {
	From, To gateway.Instant
	// Energy is in whole milliwatt-hours, Part the milliwatt-milliseconds beside
	// them, of either sign.
	Energy    gateway.Energy
	Part      int64
	Covered   gateway.Instant // how much of the time is known, ms
	Estimated gateway.Instant // how much of Covered a counter bridges, ms
	Range     Range           // what Min and Max are of
	Min, Max  gateway.Power
	Seen      bool            // a reading was taken in the span
	Usual     gateway.Instant // usual interval of the UTC day of From, ms; 0 if not known
}

// Range says what the least and the greatest power of a Sum are of.
type Range uint8

// Ranges; where there are two, the greater one stands.
const (
	NoRange    Range = iota
	MeanRange        // of the means that counters tell
	PowerRange       // of the power that held
)

// Add adds what o is to s; the span of s stays.
func (s *Sum) Add(o Sum) {
	s.addPart(o.Part)
	s.Energy += o.Energy
	s.Covered += o.Covered
	s.Estimated += o.Estimated
	s.Seen = s.Seen || o.Seen
	if o.Range != NoRange {
		s.reach(o.Range, o.Min)
		s.reach(o.Range, o.Max)
	}
}

// partLimit is when Part is carried over, so that it does not overflow.
const partLimit = 1 << 61

// addPart adds milliwatt-milliseconds, less than partLimit of them.
func (s *Sum) addPart(part int64) {
	s.Part += part
	if s.Part >= partLimit || s.Part <= -partLimit {
		s.Energy += gateway.Energy(s.Part / gateway.MilliwattMilliseconds)
		s.Part %= gateway.MilliwattMilliseconds
	}
}

// reach widens the range to p.
func (s *Sum) reach(of Range, p gateway.Power) {
	switch {
	case of < s.Range:
	case of > s.Range:
		s.Range, s.Min, s.Max = of, p, p
	default:
		s.Min, s.Max = min(s.Min, p), max(s.Max, p)
	}
}

// rounded returns the energy in milliwatt-hours, halves away from zero.
func (s Sum) rounded() gateway.Energy {
	const unit = gateway.MilliwattMilliseconds
	whole, part := s.Energy+gateway.Energy(s.Part/unit), s.Part%unit
	switch {
	case part >= unit-part && part > 0:
		whole++
	case -part >= unit+part && part < 0:
		whole--
	}
	return whole
}

// mean returns the power that makes the energy in the time covered, which is
// above 0. It is taken from the exact amount: a short span has less than a
// milliwatt-hour.
func (s Sum) mean() gateway.Power {
	exact := float64(s.Energy)*float64(gateway.MilliwattMilliseconds) + float64(s.Part)
	return gateway.Power(math.Round(exact / float64(s.Covered)))
}

// Round makes the energies of sums, which follow each other, whole. What is
// cut off one goes to the next, so that each stretch of them is right to a
// milliwatt-hour.
func Round(sums []Sum) {
	var carry int64
	for i := range sums {
		s := &sums[i]
		s.addPart(carry)
		whole := s.rounded()
		carry = int64(s.Energy-whole)*gateway.MilliwattMilliseconds + s.Part
		s.Energy, s.Part = whole, 0
	}
}

// Bucket returns s as people want to see it.
func (s Sum) Bucket() Bucket {
	b := Bucket{
		From: s.From, To: s.To, Energy: s.rounded(), Covered: s.Covered, Estimated: s.Estimated,
		Min: s.Min, Max: s.Max, Mean: s.Min, Seen: s.Seen,
	}
	if s.Covered > 0 {
		b.Mean = s.mean()
		b.Min, b.Max = min(b.Min, b.Mean), max(b.Max, b.Mean)
	}
	return b
}

// Bucket is what a device did from From to To.
type Bucket struct {
	From, To  gateway.Instant
	Energy    gateway.Energy
	Covered   gateway.Instant // how much of the time is known, ms
	Estimated gateway.Instant // how much of Covered a counter bridges, ms
	Min, Max  gateway.Power   // of the power that held; without any, of the means
	Mean      gateway.Power   // Energy over Covered; Min <= Mean <= Max
	Seen      bool            // a reading was taken in it
}

// Empty reports whether nothing is known of b.
func (b Bucket) Empty() bool { return b.Covered == 0 && !b.Seen }
