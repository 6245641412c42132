package shelly

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// maxMilli bounds powers and counters, in mW and mWh, so that what is added up
// does not overflow.
const maxMilli = 1e15

// component reads the status of one component, whole or in part: what is not
// told has not changed. Its name may be anything; most components measure and
// switch nothing.
func (d *decoder) component(name []byte, v scan.Value) error {
	kind, digits, numbered := bytes.Cut(name, []byte(":"))
	if v.Kind() != scan.Object {
		return nil
	}
	switch string(kind) {
	case "sys":
		return d.sys(v)
	case "wifi":
		return d.wifi(v)
	case "switch", "pm1", "em", "em1", "emdata", "em1data", "cover", "light", "rgb", "rgbw", "cct":
	default:
		return nil
	}
	id, err := strconv.ParseUint(string(digits), 10, 16)
	if !numbered || err != nil {
		return nil
	}
	r := &d.main
	if id > 0 {
		d.outputs = append(d.outputs, gateway.Report{Output: strconv.FormatUint(id+1, 10)})
		r = &d.outputs[len(d.outputs)-1]
	}
	s := state{report: r}
	if err := s.read(v); err != nil {
		return fmt.Errorf("%s: %w", clip(string(name)), err)
	}
	return nil
}

// sys reads the component sys, and an announcement (Sys.GetStatus).
func (d *decoder) sys(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		switch string(m.Key()) {
		case "mac":
			if mac := m.Value().Text(); isMAC(mac) {
				d.main.UID, d.main.Has = mac, d.main.Has|gateway.ReportUID
			}
		case "uptime":
			if n, ok := m.Value().Scaled(0); ok && n >= 0 {
				d.main.Uptime, d.main.Has = n, d.main.Has|gateway.ReportUptime
			}
		}
	}
	return m.Err()
}

// wifi reads the component wifi (Wifi.GetStatus).
func (d *decoder) wifi(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		if string(m.Key()) == "rssi" {
			if n, ok := m.Value().Scaled(0); ok && n > -200 && n < 0 {
				d.main.RSSI, d.main.Has = int(n), d.main.Has|gateway.ReportRSSI
			}
		}
	}
	return m.Err()
}

// state gathers the status of one component that measures or switches.
type state struct {
	report *gateway.Report

	total, returned       gateway.Energy // aenergy, ret_aenergy
	hasTotal, hasReturned bool

	problem  []byte               // the first of the errors
	doubtful gateway.ReportFields // what the errors say not to believe
}

// read takes the members of a component in. A null tells nothing.
func (s *state) read(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		if m.Value().Kind() == scan.Null {
			continue
		}
		if err := s.member(m.Key(), m.Value()); err != nil {
			return fmt.Errorf("%s %w", m.Key(), err)
		}
	}
	if m.Err() != nil {
		return m.Err()
	}
	s.settle()
	return nil
}

func (s *state) member(key []byte, v scan.Value) error {
	r := s.report
	switch string(key) {
	case "output": // Switch, Light
		on, ok := v.Bool()
		if !ok {
			return fmt.Errorf("is %s; want true or false", v.Kind())
		}
		r.On, r.Has = on, r.Has|gateway.ReportOn
	case "source":
		b, ok := v.Bytes()
		if ok && len(b) > 0 && len(b) <= 64 {
			r.ChangedBy, r.Has = sourceName(b), r.Has|gateway.ReportChangedBy
		}
	case "apower", "act_power", "total_act_power": // Switch and PM1, EM1, EM
		n, err := milli(v)
		r.Power, r.Has = gateway.Power(n), r.Has|gateway.ReportPower
		return err
	case "voltage":
		return takeFloat(r, v, &r.Voltage, gateway.ReportVoltage)
	case "current", "total_current":
		return takeFloat(r, v, &r.Current, gateway.ReportCurrent)
	case "aenergy":
		return takeTotal(v, &s.total, &s.hasTotal)
	case "ret_aenergy":
		return takeTotal(v, &s.returned, &s.hasReturned)
	case "total_act", "total_act_energy": // EMData, EM1Data
		n, err := milli(v)
		r.Import, r.Has = gateway.Energy(n), r.Has|gateway.ReportImport
		return err
	case "total_act_ret", "total_act_ret_energy":
		n, err := milli(v)
		r.Export, r.Has = gateway.Energy(n), r.Has|gateway.ReportExport
		return err
	case "errors":
		s.errors(v)
	}
	return nil
}

// settle works out what only all members together tell.
func (s *state) settle() {
	r := s.report
	// Switch.GetStatus, note: aenergy includes ret_aenergy. While nothing was
	// returned aenergy is what was drawn.
	if s.hasReturned && s.hasTotal && s.total >= s.returned {
		r.Import, r.Export = s.total-s.returned, s.returned
		r.Has |= gateway.ReportImport | gateway.ReportExport
	}
	if s.hasTotal && s.returned == 0 {
		r.Energy, r.Has = s.total, r.Has|gateway.ReportEnergy
	}
	if s.problem != nil {
		r.Problem, r.Has = string(s.problem), r.Has|gateway.ReportProblem
	}
	r.Has &^= s.doubtful
}

// errors reads what the meter says is wrong with it (PM1.GetStatus, errors).
func (s *state) errors(v scan.Value) {
	for e := v.Elements(); e.Next(); {
		b, ok := e.Value().Bytes()
		if !ok || len(b) == 0 {
			continue
		}
		if s.problem == nil {
			s.problem = b[:min(len(b), 64)]
		}
		switch string(b) {
		case "power_meter_failure":
			s.doubtful |= gateway.ReportPower | gateway.ReportVoltage | gateway.ReportCurrent
		case "out_of_range:apower", "out_of_range:act_power", "out_of_range:total_act_power":
			s.doubtful |= gateway.ReportPower
		case "out_of_range:voltage":
			s.doubtful |= gateway.ReportVoltage
		case "out_of_range:current", "out_of_range:total_current":
			s.doubtful |= gateway.ReportCurrent
		}
	}
}

// takeTotal reads the counter of aenergy or ret_aenergy.
func takeTotal(v scan.Value, e *gateway.Energy, has *bool) error {
	if v.Kind() != scan.Object {
		return fmt.Errorf("is %s; want an object", v.Kind())
	}
	m := v.Members()
	for m.Next() {
		if string(m.Key()) != "total" || m.Value().Kind() == scan.Null {
			continue
		}
		n, err := milli(m.Value())
		if err != nil {
			return fmt.Errorf("total %w", err)
		}
		*e, *has = gateway.Energy(n), true
	}
	return m.Err()
}

// milli reads a number in thousandths.
func milli(v scan.Value) (int64, error) {
	if v.Kind() != scan.Number {
		return 0, fmt.Errorf("is %s; want a number", v.Kind())
	}
	n, ok := v.Scaled(3)
	if !ok || n > maxMilli || n < -maxMilli {
		return 0, fmt.Errorf("is beyond all range: %s", clip(string(v.Raw())))
	}
	return n, nil
}

// takeFloat reads a number into a report.
func takeFloat(r *gateway.Report, v scan.Value, f *float64, has gateway.ReportFields) error {
	if v.Kind() != scan.Number {
		return fmt.Errorf("is %s; want a number", v.Kind())
	}
	n, ok := v.Float()
	if !ok {
		return fmt.Errorf("is beyond all range: %s", clip(string(v.Raw())))
	}
	*f, r.Has = n, r.Has|has
	return nil
}

// sourceName returns who switched, without making a string of the usual ones.
func sourceName(b []byte) string {
	for _, s := range sources {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

// sources are the usual origins of a switch's state.
var sources = [...]string{
	"init", "WS_in", "WS_out", "MQTT", "SHC", "HTTP_in", "button", "switch", "timer",
	"schedule", "loopback", "limit", "cloud", "UDP",
}
