package gateway

// Report is what one message says about one output of one device. A message
// may hold several. Which fields it tells stands in Has: a missing field is
// "unchanged", never zero.
type Report struct {
	Device string // the device's topic within its dialect
	Output string // "" for the whole device, else "1", "2", … or "l1", …
	Has    ReportFields

	At      Instant // the device's own time of measuring, if it can be trusted
	Power   Power
	Energy  Energy  // counter of what was drawn, or of both directions in one
	Import  Energy  // counter of what was drawn, where there is one of export too
	Export  Energy  // counter of what was fed in
	Voltage float64 // V
	Current float64 // A

	On         bool
	PowerState PowerState
	Online     bool

	Uptime    int64 // s since the device started
	RSSI      int   // dBm
	UID       string
	ChangedBy string // who switched, in the device's words
	Problem   string // what the device says is wrong with its measuring
	AutoOff   int64  // s after which it was told to switch off by itself
}

// ReportFields says which fields of a Report were told.
type ReportFields uint32

// Fields of a Report.
const (
	ReportAt ReportFields = 1 << iota
	ReportPower
	ReportEnergy
	ReportImport
	ReportExport
	ReportVoltage
	ReportCurrent
	ReportOn
	ReportPowerState
	ReportOnline
	ReportUptime
	ReportRSSI
	ReportUID
	ReportChangedBy
	ReportProblem
	// ReportBadClock says that the device's own time is plainly wrong.
	ReportBadClock
	ReportAutoOff
)

// Tells reports whether r tells all of f.
func (r Report) Tells(f ReportFields) bool { return r.Has&f == f }

// Reading returns the reading that r holds, taken at the instant arrival
// unless the device's own time is told; ok is false if it holds none. Device
// is left 0. A device that has fed in is counted by its power: a counter of
// one direction would hide the other.
func (r Report) Reading(arrival Instant) (rd Reading, ok bool) {
	rd.At = arrival
	if r.Tells(ReportAt) {
		rd.At = r.At
	}
	if r.Tells(ReportPower) {
		rd.Power, rd.Has = r.Power, HasPower
	}
	if r.Tells(ReportExport) && r.Export > 0 {
		return rd, rd.Has != 0
	}
	if r.Tells(ReportEnergy) {
		rd.Energy, rd.Has = r.Energy, rd.Has|HasEnergy
	} else if r.Tells(ReportImport) {
		rd.Energy, rd.Has = r.Import, rd.Has|HasEnergy
	}
	return rd, rd.Has != 0
}
