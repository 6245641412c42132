package tasmota

import (
	"fmt"
	"strings"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// Bounds of what is added up.
const (
	maxPhases = 8
	maxMilli  = 1e15 // mW or mWh of one phase; no meter has as much
)

// energy reads the object of an energy sensor into the report (docs/Commands.md,
// Power Monitoring). A null tells nothing.
func (d *decoder) energy(name string, v scan.Value) error {
	if v.Kind() == scan.Null {
		return nil
	}
	if v.Kind() != scan.Object {
		return fmt.Errorf("%s is %s; want an object", name, v.Kind())
	}
	m := v.Members()
	for m.Next() {
		if err := d.quantity(m.Key(), m.Value()); err != nil {
			return fmt.Errorf("%s.%s %w", name, m.Key(), err)
		}
	}
	return m.Err()
}

// quantity reads one member of an energy sensor. Apparent and reactive power,
// what was used today, per tariff and the like are not what we keep.
func (d *decoder) quantity(key []byte, v scan.Value) error {
	r := &d.main
	switch string(key) {
	case "Power": // W
		n, ok, err := sum(v, 3)
		if ok {
			r.Power, r.Has = r.Power+gateway.Power(n), r.Has|gateway.ReportPower
		}
		return err
	case "Total", "Energy": // kWh; Energy with CT clamps alone
		n, ok, err := sum(v, 6)
		if ok {
			r.Energy, r.Has = r.Energy+gateway.Energy(n), r.Has|gateway.ReportEnergy
		}
		return err
	case "ExportActive": // kWh
		n, ok, err := sum(v, 6)
		if ok {
			r.Export, r.Has = r.Export+gateway.Energy(n), r.Has|gateway.ReportExport
		}
		return err
	case "Voltage":
		return takeFloat(r, v, &r.Voltage, gateway.ReportVoltage)
	case "Current":
		return takeFloat(r, v, &r.Current, gateway.ReportCurrent)
	}
	return nil
}

// takeFloat reads a value that has no sum; one told per phase is left out.
func takeFloat(r *gateway.Report, v scan.Value, f *float64, has gateway.ReportFields) error {
	switch v.Kind() {
	case scan.Null, scan.Array, scan.Object:
		return nil
	case scan.Number:
		n, ok := v.Float()
		if !ok {
			return fmt.Errorf("is beyond all range: %s", clip(string(v.Raw())))
		}
		*f, r.Has = n, r.Has|has
		return nil
	}
	return fmt.Errorf("is %s; want a number", v.Kind())
}

// sum reads a number times ten to the power of digits, or the sum of an array
// or object of numbers, one for each phase. ok is false if one is null.
func sum(v scan.Value, digits int) (total int64, ok bool, err error) {
	switch v.Kind() {
	case scan.Null:
		return 0, false, nil
	case scan.Number:
		n, ok := v.Scaled(digits)
		if !ok || n > maxMilli || n < -maxMilli {
			return 0, false, fmt.Errorf("is beyond all range: %s", clip(string(v.Raw())))
		}
		return n, true, nil
	case scan.Array:
		e := v.Elements()
		return sumPhases(e.Next, e.Value, digits)
	case scan.Object:
		m := v.Members()
		if total, ok, err = sumPhases(m.Next, m.Value, digits); err == nil {
			err = m.Err()
		}
		return total, ok, err
	}
	return 0, false, fmt.Errorf("is %s; want a number", v.Kind())
}

// sumPhases adds up what a meter tells for each phase.
func sumPhases(next func() bool, value func() scan.Value, digits int) (int64, bool, error) {
	total, told := int64(0), 0
	for phase := 0; next(); phase++ {
		v := value()
		if phase == maxPhases {
			return 0, false, fmt.Errorf("has more than %d phases", maxPhases)
		}
		if v.Kind() != scan.Number && v.Kind() != scan.Null {
			return 0, false, fmt.Errorf("of a phase is %s; want a number", v.Kind())
		}
		n, ok, err := sum(v, digits)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			told = -maxPhases
		}
		total += n
		told++
	}
	return total, told > 0, nil
}

// analog reads current clamps at the analog input, which tell kWh as Energy.
func (d *decoder) analog(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		if strings.HasPrefix(string(m.Key()), "CTEnergy") {
			if err := d.energy("ANALOG."+clip(string(m.Key())), m.Value()); err != nil {
				return err
			}
		}
	}
	return m.Err()
}

// other looks for an energy sensor under a name that a script gave it. It
// counts as one if it tells power together with a counter or a voltage, or
// has the names that the documentation of smart meters uses
// (docs/Smart-Meter-Interface.md); anything else in it is left alone.
func (d *decoder) other(v scan.Value) {
	found := decoder{at: d.at}
	r := &found.main
	m := v.Members()
	for m.Next() {
		var err error
		switch string(m.Key()) {
		case "Power", "Total", "ExportActive", "Voltage", "Current":
			err = found.quantity(m.Key(), m.Value())
		case "Power_curr":
			err = found.quantity([]byte("Power"), m.Value())
		case "Total_in":
			n, ok := m.Value().Scaled(6)
			if ok && n >= 0 && n < maxMilli {
				r.Import, r.Has = gateway.Energy(n), r.Has|gateway.ReportImport
			}
		case "Total_out":
			err = found.quantity([]byte("ExportActive"), m.Value())
		}
		if err != nil {
			return
		}
	}
	const counter = gateway.ReportEnergy | gateway.ReportImport
	if m.Err() != nil || r.Has&(counter|gateway.ReportVoltage) == 0 ||
		r.Has&(counter|gateway.ReportPower) == 0 {
		return
	}
	r.Device, r.Has = d.main.Device, r.Has|d.main.Has
	r.At, r.On, r.Uptime, r.RSSI = d.main.At, d.main.On, d.main.Uptime, d.main.RSSI
	d.main = *r
}
