// Package household makes up what the meters of a home say, for tests and
// benchmarks of the store: thirty plugs of eight kinds, each with a reading
// every ten seconds, the same ones each time.
//
// It owns the model alone and must not know how readings are kept.
package household

import (
	"math/rand/v2"

	"github.com/wattle-home/wattle/gateway"
)

// Plugs is how many devices a household has.
const Plugs = 30

// Start is the instant of the first readings.
const Start gateway.Instant = 1_451_606_400_000 // 2016-01-01T00:00:00Z

// step is the time from one reading of a plug to the next.
const step = 10 * gateway.Second

// Household is the plugs of a home. Use New.
type Household struct {
	jitter int64
	plugs  []*appliance
	next   int
}

// New returns a household at its first reading. With jitter 0 stamps are whole
// seconds, one in 16 a second late; else they are up to twice so many
// milliseconds late, as the times of arrival are.
func New(jitter int64) *Household {
	h := &Household{jitter: jitter}
	for i := range Plugs {
		h.plugs = append(h.plugs, newAppliance(i))
	}
	return h
}

// Next returns the next reading of the next plug; the plugs are devices 1 to
// Plugs and take turns.
func (h *Household) Next() gateway.Reading {
	i := h.next
	h.next = (i + 1) % Plugs
	return h.plugs[i].next(gateway.DeviceID(i+1), h.jitter)
}

// Days returns the readings of so many days, those of each plug apart.
func Days(days int, jitter int64) [][]gateway.Reading {
	all := make([][]gateway.Reading, Plugs)
	h := New(jitter)
	for range days * int(24*gateway.Hour/step) {
		for i := range all {
			all[i] = append(all[i], h.Next())
		}
	}
	return all
}

// appliance is one modelled device with a reading each ten seconds: it stays
// at a level for a while, with evenly spread noise of whole watts, and then
// changes to another.
type appliance struct {
	rng          *rand.Rand
	kind         int
	level, noise int64 // W
	left         int   // readings until the level changes
	rest         int64 // W·ms that the counter does not show yet
	wh           int64
	n            int64
}

// newAppliance returns the appliance with the number.
func newAppliance(number int) *appliance {
	return &appliance{rng: rand.New(rand.NewPCG(uint64(number), 7)), kind: number % 8}
}

// turn picks the next level.
func (a *appliance) turn() {
	hour := a.n / 360 % 24
	to := func(level, noise int64, least, more int) {
		a.level, a.noise, a.left = level, noise, least+a.rng.IntN(more)
	}
	seldom := a.rng.IntN(256) < 40
	switch a.kind {
	case 0: // fridge
		if a.level < 10 {
			to(85+a.rng.Int64N(8), 2, 60, 60)
		} else {
			to(1, 0, 120, 120)
		}
	case 1: // television
		if hour >= 17 && a.rng.IntN(256) < 160 {
			to(110, 15, 180, 900)
		} else {
			to(1, 0, 180, 360)
		}
	case 2: // washing machine
		switch {
		case !seldom || hour < 8 || hour >= 20:
			to(0, 0, 360, 720)
		case a.rng.IntN(2) == 0:
			to(2050, 12, 60, 60)
		default:
			to(180, 90, 120, 200)
		}
	case 3: // computer
		if hour >= 8 && hour < 23 {
			to(60+a.rng.Int64N(120), 20, 30, 120)
		} else {
			to(3, 0, 300, 1)
		}
	case 4: // lamp
		if hour >= 18 || hour < 7 && seldom {
			to(9, 0, 360, 720)
		} else {
			to(0, 0, 720, 1)
		}
	case 5: // router
		to(8+a.rng.Int64N(3), 1, 600, 1)
	case 6: // kettle
		if seldom && hour >= 6 && hour < 22 {
			to(2200, 10, 12, 12)
		} else {
			to(0, 0, 120, 360)
		}
	case 7: // heater
		if a.level < 10 {
			to(1480, 8, 20, 40)
		} else {
			to(1, 1, 40, 80)
		}
	}
}

// next returns the next reading, with stamps as New says.
func (a *appliance) next(device gateway.DeviceID, jitter int64) gateway.Reading {
	if a.left == 0 {
		a.turn()
	}
	a.left--
	watts := a.level
	if a.noise > 0 {
		watts = max(0, watts+a.rng.Int64N(2*a.noise+1)-a.noise)
	}
	at := int64(Start) + a.n*int64(step) + int64(device%10)*1000
	if jitter > 0 {
		at += a.rng.Int64N(2*jitter + 1)
	} else if a.rng.IntN(16) == 0 {
		at += 1000
	}
	a.n++
	a.rest += watts * int64(step)
	a.wh += a.rest / 3_600_000
	a.rest %= 3_600_000
	return gateway.Reading{
		Device: device, At: gateway.Instant(at), Power: gateway.Power(watts) * gateway.Watt,
		Energy: gateway.Energy(a.wh) * gateway.WattHour,
		Has:    gateway.HasPower | gateway.HasEnergy,
	}
}
