package tasmota

import (
	"strconv"
	"strings"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// takeLine reads one line of a Dutch smart meter that came over the serial
// port (docs/P1-Smart-Meter.md), such as 1-0:1.8.1(005779.835*kWh). Registers
// of one tariff are reported as outputs t1, t2; the others as the device's.
// Lines that are something else tell nothing.
func (d *decoder) takeLine(line string) {
	code, rest, ok := strings.Cut(strings.TrimSpace(line), "(")
	value, unit, ok2 := strings.Cut(strings.TrimSuffix(rest, ")"), "*")
	code, ok3 := strings.CutPrefix(code, "1-0:")
	if !ok || !ok2 || !ok3 || value == "" {
		return
	}
	// The meter pads with zeros, which a number may not begin with.
	value = strings.TrimLeft(value, "0")
	if value == "" || value[0] == '.' {
		value = "0" + value
	}
	number, err := scan.Parse([]byte(value))
	if err != nil {
		return
	}
	n, ok := number.Scaled(6)
	if !ok || n < 0 || n > maxMilli {
		return
	}
	switch {
	case unit == "kW" && n > 0:
		d.takeFlow(code, gateway.Power(n))
	case unit == "kWh":
		d.takeRegister(code, gateway.Energy(n))
	}
}

// takeFlow reads the power of one direction. The meter tells both, one of them
// as zero: only the other one is the power.
func (d *decoder) takeFlow(code string, p gateway.Power) {
	switch code {
	case "1.7.0":
		d.main.Power, d.main.Has = p, d.main.Has|gateway.ReportPower
	case "2.7.0":
		d.main.Power, d.main.Has = -p, d.main.Has|gateway.ReportPower
	}
}

// takeRegister reads a counter: 1.8 is import, 2.8 is export; the last level
// is the tariff, 0 for all of them.
func (d *decoder) takeRegister(code string, e gateway.Energy) {
	r := gateway.Report{Device: d.main.Device}
	switch {
	case strings.HasPrefix(code, "1.8."):
		r.Import, r.Has = e, gateway.ReportImport
	case strings.HasPrefix(code, "2.8."):
		r.Export, r.Has = e, gateway.ReportExport
	default:
		return
	}
	tariff, err := strconv.Atoi(code[4:])
	switch {
	case err != nil || tariff < 0 || tariff > 9:
	case tariff == 0:
		d.main.Import, d.main.Export, d.main.Has = r.Import, r.Export, d.main.Has|r.Has
	default:
		r.Output = "t" + code[4:]
		d.outputs = append(d.outputs, r)
	}
}
