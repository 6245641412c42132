package gateway

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DeviceID numbers the devices of a household from 1; an id is never used
// again.
type DeviceID int64

// MemberID numbers the members of a household from 1.
type MemberID int64

// DeviceRole is what a device is in the energy model.
type DeviceRole string

// Roles of a device.
const (
	RoleConsumer DeviceRole = "consumer"
	RoleGrid     DeviceRole = "grid"
	RoleSolar    DeviceRole = "solar"
	RoleBattery  DeviceRole = "battery"
)

// Valid reports whether r is one of the roles.
func (r DeviceRole) Valid() bool {
	switch r {
	case RoleConsumer, RoleGrid, RoleSolar, RoleBattery:
		return true
	}
	return false
}

// Device is what the household knows about one device. What it does at the
// moment is a DeviceState.
type Device struct {
	ID          DeviceID
	UUID        string
	Alias       string
	Description string
	Dialect     string     // a name of the dialect table; "" for a device without MQTT
	Topic       string     // its name within the dialect, unique there
	Role        DeviceRole // RoleConsumer unless told otherwise
	Parent      DeviceID   // the device that it is measured below; 0 for none
	Room        string
	Icon        string
	Tags        []string
	Member      MemberID // who added it
	Schedule    Schedule // what is wanted of it, when
	Relay       *Relay   // the GPIO line that switches it; nil for none
	Created     Instant
	Version     int64 // rises with each change
}

// Relay is a GPIO line that switches a device.
type Relay struct {
	Line      string `json:"line"`       // chip:offset, such as "gpiochip0:17"
	ActiveLow bool   `json:"active_low"` // the relay is on when the line is low
	Initial   string `json:"initial"`    // "on" or "off": level when the gateway starts
	Safe      string `json:"safe"`       // "on", "off" or "hold": level when it stops
}

// DeviceState is what a device does now, as far as it told.
type DeviceState struct {
	Device     DeviceID
	Online     bool
	Known      StateFields // which of the following were ever told
	On         bool
	PowerState PowerState
	Power      Power
	Energy     Energy
	ReadingAt  Instant // of Power and Energy
	LastSeen   Instant // of any report
	Rejected   Rejected
}

// Does reports whether the device told that it does what an action wants. A
// device that tells its power state is held to it; one that knows only on and
// off is held to that. ActionToggle is never done.
func (s DeviceState) Does(action Action, state PowerState) bool {
	on := state.On()
	switch action {
	case ActionPowerState:
		if s.Known.Has(KnownPowerState) {
			return s.PowerState == state
		}
	case ActionOn, ActionOff:
		on = action == ActionOn
		if !s.Known.Has(KnownOn) {
			return s.Known.Has(KnownPowerState) && s.PowerState.On() == on
		}
	default:
		return false
	}
	return s.Known.Has(KnownOn) && s.On == on
}

// StateFields says which fields of a DeviceState are known.
type StateFields uint8

// Fields of a DeviceState that may be unknown.
const (
	KnownOn StateFields = 1 << iota
	KnownPowerState
	KnownPower
	KnownEnergy
)

// Has reports whether all of f are known.
func (s StateFields) Has(f StateFields) bool { return s&f == f }

// Rejected counts what a device sent that was not stored.
type Rejected struct {
	Count      int64   `json:"count"`
	LastReason string  `json:"last_reason,omitempty"`
	LastAt     Instant `json:"-"`
}

// MaxAlias is how many characters the alias of a device may have.
const MaxAlias = 200

// CheckText tells why a text that people see, such as an alias, is not good,
// or returns "": it is valid UTF-8 of at most most characters, without control
// characters and those that turn the direction of text around. lines allows
// line breaks and tabs.
func CheckText(text string, most int, lines bool) string {
	if n := utf8.RuneCountInString(text); n > most {
		return fmt.Sprintf("has %d characters; %d are the most", n, most)
	}
	bad := func(r rune) bool {
		if lines && (r == '\n' || r == '\t') {
			return false
		}
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
	}
	if strings.ContainsFunc(text, bad) { // also finds what is no UTF-8
		return "holds characters that cannot be shown"
	}
	return ""
}

// FoldName returns what names have in common that differ in case or in the
// space around them alone; no two devices have such aliases.
func FoldName(name string) string {
	return strings.ToLower(strings.ToUpper(strings.TrimSpace(name)))
}
