package energy

import (
	"math/bits"

	"github.com/wattle-home/wattle/gateway"
)

// amount is an exact amount of energy: whole milliwatt-hours and
// milliwatt-milliseconds beside them.
type amount struct {
	whole gateway.Energy
	part  int64
}

// share returns the share of a counter's rise that belongs to the first done
// of all milliseconds, cut to a milliwatt-millisecond. Shares of one rise
// differ by exactly what lies between them. rise must not be negative, and 0
// <= done <= all, all > 0.
func share(rise gateway.Energy, done, all gateway.Instant) amount {
	switch done {
	case 0:
		return amount{}
	case all:
		return amount{whole: rise}
	}
	hi, lo := bits.Mul64(uint64(rise), uint64(done))
	whole, rest := bits.Div64(hi, lo, uint64(all)) // done < all: it fits
	hi, lo = bits.Mul64(rest, uint64(gateway.MilliwattMilliseconds))
	part, _ := bits.Div64(hi, lo, uint64(all))
	return amount{gateway.Energy(whole), int64(part)}
}
