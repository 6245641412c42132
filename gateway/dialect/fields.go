package dialect

import (
	"errors"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// Fields puts what Decode returned into words: power_w, energy_total_wh,
// energy_import_wh, energy_export_wh, voltage_v, current_a, switch,
// power_state, available, uptime_s, rssi_dbm, device_uid, changed_by, problem,
// time, device_time_valid and auto_off_s. power_w is nil if it was not told.
//
// What an output says has its name behind, as in switch_1 and
// energy_import_t1_wh; if it is all that the message says it stands without,
// too. A message that tells nothing has ignore, one that is no JSON error.
func Fields(reports []gateway.Report, err error) map[string]any {
	out := map[string]any{"power_w": nil}
	if err != nil {
		out["error"] = "invalid"
		var se *scan.SyntaxError
		if errors.As(err, &se) {
			out["error"] = "invalid-json"
		}
		return out
	}
	if len(reports) == 0 {
		out["ignore"] = true
	}
	for _, r := range reports {
		if r.Output == "" || len(reports) == 1 && r.Output[0] != 't' {
			fields(out, r, "")
		}
		if r.Output != "" {
			fields(out, r, "_"+r.Output)
		}
	}
	return out
}

// fields adds what r tells, with suffix before the unit.
func fields(out map[string]any, r gateway.Report, suffix string) {
	put := func(has gateway.ReportFields, name, unit string, v any) {
		if r.Tells(has) {
			out[name+suffix+unit] = v
		}
	}
	put(gateway.ReportPower, "power", "_w", r.Power.W())
	put(gateway.ReportEnergy, "energy_total", "_wh", r.Energy.Wh())
	put(gateway.ReportImport, "energy_import", "_wh", r.Import.Wh())
	put(gateway.ReportExport, "energy_export", "_wh", r.Export.Wh())
	put(gateway.ReportVoltage, "voltage", "_v", r.Voltage)
	put(gateway.ReportCurrent, "current", "_a", r.Current)
	put(gateway.ReportOn, "switch", "", onOff(r.On))
	put(gateway.ReportPowerState, "power_state", "", r.PowerState.String())
	put(gateway.ReportChangedBy, "changed_by", "", r.ChangedBy)
	put(gateway.ReportProblem, "problem", "", r.Problem)
	put(gateway.ReportAutoOff, "auto_off", "_s", r.AutoOff)
	suffix = "" // of the whole device, whatever the output
	put(gateway.ReportOnline, "available", "", r.Online)
	put(gateway.ReportUptime, "uptime_s", "", r.Uptime)
	put(gateway.ReportRSSI, "rssi_dbm", "", r.RSSI)
	put(gateway.ReportUID, "device_uid", "", r.UID)
	put(gateway.ReportAt, "time", "", r.At.String())
	put(gateway.ReportAt, "device_time_valid", "", true)
	put(gateway.ReportBadClock, "device_time_valid", "", false)
}

// onOff says on in a word.
func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
