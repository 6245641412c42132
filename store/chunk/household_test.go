package chunk_test

import (
	"math/rand/v2"

	"github.com/wattle-home/wattle/gateway"
)

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

// next returns the next reading. Without jitter stamps are whole seconds, one
// in 16 a second late; with it they are up to twice so many milliseconds late.
func (a *appliance) next(device gateway.DeviceID, jitter int64) gateway.Reading {
	if a.left == 0 {
		a.turn()
	}
	a.left--
	watts := a.level
	if a.noise > 0 {
		watts = max(0, watts+a.rng.Int64N(2*a.noise+1)-a.noise)
	}
	at := 1_500_000_000_000 + a.n*10_000 + int64(device%10)*1000
	if jitter > 0 {
		at += a.rng.Int64N(2*jitter + 1)
	} else if a.rng.IntN(16) == 0 {
		at += 1000
	}
	a.n++
	a.rest += watts * 10_000
	a.wh += a.rest / 3_600_000
	a.rest %= 3_600_000
	return gateway.Reading{
		Device: device, At: gateway.Instant(at), Power: gateway.Power(watts) * gateway.Watt,
		Energy: gateway.Energy(a.wh) * gateway.WattHour,
		Has:    gateway.HasPower | gateway.HasEnergy,
	}
}

// household returns days days of 30 appliances, one slice each.
func household(days int, jitter int64) [][]gateway.Reading {
	const devices, perDay = 30, 8640
	all := make([][]gateway.Reading, devices)
	for d := range all {
		a := newAppliance(d)
		for range days * perDay {
			all[d] = append(all[d], a.next(gateway.DeviceID(d+1), jitter))
		}
	}
	return all
}
