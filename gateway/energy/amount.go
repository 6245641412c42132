package energy

import (
	"math"
	"math/bits"

	"github.com/wattle-home/wattle/gateway"
)

// amount is an exact amount of energy: whole milliwatt-hours and
// milliwatt-milliseconds beside them. The zero value is nothing.
type amount struct {
	whole gateway.Energy
	part  int64
}

// partLimit is when part is carried over, so that it does not overflow.
const partLimit = 1 << 61

// add adds milliwatt-milliseconds, less than partLimit of them.
func (a *amount) add(part int64) {
	a.part += part
	if a.part >= partLimit || a.part <= -partLimit {
		a.whole += gateway.Energy(a.part / gateway.MilliwattMilliseconds)
		a.part %= gateway.MilliwattMilliseconds
	}
}

// plus adds an amount.
func (a *amount) plus(b amount) {
	a.whole += b.whole
	a.add(b.part)
}

// minus returns a - b.
func (a amount) minus(b amount) amount {
	a.whole -= b.whole
	a.add(-b.part)
	return a
}

// rounded returns a in milliwatt-hours, halves away from zero.
func (a amount) rounded() gateway.Energy {
	const unit = gateway.MilliwattMilliseconds
	whole, part := a.whole+gateway.Energy(a.part/unit), a.part%unit
	switch {
	case part >= unit-part && part > 0:
		whole++
	case -part >= unit+part && part < 0:
		whole--
	}
	return whole
}

// over returns the power that makes a in a span of milliseconds above 0. It is
// taken from the exact amount: a short span has less than a milliwatt-hour.
func (a amount) over(span gateway.Instant) gateway.Power {
	exact := float64(a.whole)*float64(gateway.MilliwattMilliseconds) + float64(a.part)
	return gateway.Power(math.Round(exact / float64(span)))
}

// share returns the share of a counter's rise that belongs to the first done
// of all milliseconds, cut to a milliwatt-millisecond. Shares of one rise
// differ by exactly what lies between them. rise must not be negative, and 0
// <= done <= all, all > 0.
func share(rise gateway.Energy, done, all gateway.Instant) amount {
	if done == all {
		return amount{whole: rise}
	}
	hi, lo := bits.Mul64(uint64(rise), uint64(done))
	whole, rest := bits.Div64(hi, lo, uint64(all)) // done < all: it fits
	hi, lo = bits.Mul64(rest, uint64(gateway.MilliwattMilliseconds))
	part, _ := bits.Div64(hi, lo, uint64(all))
	return amount{gateway.Energy(whole), int64(part)}
}
