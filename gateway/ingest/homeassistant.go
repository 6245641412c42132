package ingest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// Statistic is what Home Assistant keeps of an entity for a while.
type Statistic struct {
	Entity   string // such as sensor.fridge_power
	Unit     string
	From, To gateway.Instant
	Mean     float64 // NaN if there is none
	Sum      float64 // at To; NaN if there is none
}

// units says how many watts or watt-hours a unit is.
var units = map[string]struct {
	energy bool
	factor float64
}{
	"mw": {false, 0.001}, "w": {false, 1}, "kw": {false, 1000},
	"wh": {true, 1}, "kwh": {true, 1000}, "mwh": {true, 1e6},
}

// unitOf returns what units says; MW is not a thousandth of a watt.
func unitOf(unit string) (energy bool, factor float64, ok bool) {
	u, ok := units[strings.ToLower(unit)]
	if unit == "MW" {
		u.factor = 1e6
	}
	return u.energy, u.factor, ok
}

// endings are what the names of a device's entities end in.
var endings = []string{
	"_energy_total", "_total_energy", "_power_consumption", "_energy_consumption",
	"_active_power", "_current_power", "_power", "_energy", "_kwh", "_wh", "_w",
}

// deviceOf returns the device to which an entity or a feed belongs, so that its
// power and its counter come together.
func deviceOf(name string) string {
	if _, rest, ok := strings.Cut(name, "sensor."); ok && rest != "" {
		name = rest
	}
	for _, e := range endings {
		if short, ok := strings.CutSuffix(strings.ToLower(name), e); ok && short != "" {
			return name[:len(short)]
		}
	}
	return name
}

// Reading returns what s tells of which device. ok is false if it tells neither
// power nor energy. A mean holds from the beginning of the time, a counter is
// that of its end.
func (s Statistic) Reading() (alias string, r gateway.Reading, ok bool, err error) {
	energy, factor, ok := unitOf(s.Unit)
	v := s.Mean
	if energy {
		v = s.Sum
	}
	if !ok || math.IsNaN(v) {
		return "", r, false, nil
	}
	mil, fits := gateway.Watts(v * factor)
	if !fits {
		return "", r, false, badRow{fmt.Sprintf("%s: %v %s cannot be stored", s.Entity, v, s.Unit)}
	}
	if energy {
		return deviceOf(s.Entity), gateway.Reading{
			At: s.To, Energy: gateway.Energy(mil), Has: gateway.HasEnergy,
		}, true, nil
	}
	r = gateway.Reading{At: s.From, Power: mil, Has: gateway.HasPower}
	return deviceOf(s.Entity), r, true, nil
}

// Statistics returns the Rows of a File from what calls its argument with each
// statistic. Entities that are neither power nor energy are told as skipped.
func Statistics(
	all func(fn func(s Statistic) error) error,
) func(take TakeReading) ([]string, error) {
	return func(take TakeReading) (left []string, err error) {
		line := 0
		err = all(func(s Statistic) error {
			line++
			alias, r, ok, err := s.Reading()
			if err == nil && !ok {
				note := fmt.Sprintf("%s is left out: its unit %q is neither power nor energy",
					s.Entity, s.Unit)
				_, _, known := unitOf(s.Unit)
				if !known && len(left) < badKept && !slices.Contains(left, note) {
					left = append(left, note)
				}
				return nil
			}
			return take(alias, r, line, err)
		})
		return left, err
	}
}
