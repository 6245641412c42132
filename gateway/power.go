package gateway

import "strings"

// PowerState is an ACPI device power state, from D0 (fully on) to D3cold (no
// power). See the ACPI specification, chapter 2.3.
type PowerState uint8

// Power states. PowerUnknown is the zero value.
const (
	PowerUnknown PowerState = iota
	D0
	D1
	D2
	D3hot
	D3cold
)

// powerStateNames are the names of the states, by their value.
var powerStateNames = [...]string{"", "D0", "D1", "D2", "D3hot", "D3cold"}

// String returns the state's name, or "" for PowerUnknown.
func (s PowerState) String() string {
	if int(s) < len(powerStateNames) {
		return powerStateNames[s]
	}
	return ""
}

// On reports whether a device in this state counts as on: D0 or D1.
func (s PowerState) On() bool { return s == D0 || s == D1 }

// ParsePowerState reads a state's name in any case.
func ParsePowerState(name string) (PowerState, error) {
	for i, n := range powerStateNames {
		if i > 0 && strings.EqualFold(n, name) {
			return PowerState(i), nil
		}
	}
	return PowerUnknown, Invalidf("power state %q: want D0, D1, D2, D3hot or D3cold", clip(name))
}

// MarshalText implements encoding.TextMarshaler.
func (s PowerState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is PowerUnknown.
func (s *PowerState) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*s = PowerUnknown
		return nil
	}
	v, err := ParsePowerState(string(b))
	if err == nil {
		*s = v
	}
	return err
}
