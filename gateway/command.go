package gateway

import "fmt"

// Action is what a command wants.
type Action string

// Actions of a command.
const (
	ActionOn         Action = "on"
	ActionOff        Action = "off"
	ActionToggle     Action = "toggle"
	ActionPowerState Action = "power_state"
)

// CommandStatus is what became of a command.
type CommandStatus string

// Statuses of a command. A command ends confirmed, failed, expired or
// superseded.
const (
	CommandQueued     CommandStatus = "queued"
	CommandSent       CommandStatus = "sent"
	CommandConfirmed  CommandStatus = "confirmed"
	CommandFailed     CommandStatus = "failed"
	CommandExpired    CommandStatus = "expired"
	CommandSuperseded CommandStatus = "superseded"
)

// Ended reports whether a command with this status will not change any more.
func (s CommandStatus) Ended() bool { return s != CommandQueued && s != CommandSent }

// Request is a wish to put through the dispatch queue.
type Request struct {
	Device     DeviceID
	Action     Action
	PowerState PowerState // for ActionPowerState
	Urgent     bool       // overtakes what waits for the same device
	Source     Source
}

// Source is who asked.
type Source struct {
	Kind   string `json:"kind"`             // schedule, api, cli, mqtt, startup, shutdown, reconcile
	Member string `json:"member,omitempty"` // the member's name, where there is one
	Remote string `json:"remote,omitempty"` // the address, where there is one
}

// Command is a request that was accepted, and what became of it.
type Command struct {
	ID         string // unique; the same for each try
	Device     DeviceID
	Action     Action // on, off or power_state: toggle is resolved when accepted
	PowerState PowerState
	Urgent     bool
	Source     Source
	Status     CommandStatus
	Tries      int
	Created    Instant
	Updated    Instant
	Reason     string // why it failed
}

// WantsOn reports what the command makes of the device.
func (c Command) WantsOn() bool {
	return c.Action == ActionOn || c.Action == ActionPowerState && c.PowerState.On()
}

// Check tells what is wrong with a request, or returns nil. The error is an
// *Error with CodeInvalid that names the field.
func (r Request) Check() error {
	bad := func(field, format string, args ...any) error {
		e := Invalidf("the command is not valid")
		e.Fields = []FieldError{{field, fmt.Sprintf(format, args...)}}
		return e
	}
	switch r.Action {
	case ActionOn, ActionOff, ActionToggle:
		if r.PowerState != PowerUnknown {
			return bad("power_state", "belongs to the action power_state alone")
		}
	case ActionPowerState:
		if r.PowerState == PowerUnknown {
			return bad("power_state", "is missing")
		}
	default:
		return bad("action", "%q is not on, off, toggle or power_state", clip(string(r.Action)))
	}
	return nil
}
