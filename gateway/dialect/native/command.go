package native

import (
	"encoding/json"

	"github.com/wattle-home/wattle/gateway"
)

// Kinds of what the gateway sends to devices.
const (
	KindStartup    = "startup"
	KindShutdown   = "shutdown"
	KindPowerState = "power_state"
	KindMessage    = "message"
)

// Body is what the gateway sends on a channel. A device obeys an ID once.
type Body struct {
	ID         string             `json:"id"`
	Kind       string             `json:"kind"`
	PowerState gateway.PowerState `json:"power_state,omitzero"`
	Payload    any                `json:"payload,omitempty"` // of KindMessage
	Sender     string             `json:"sender"`
	Urgent     bool               `json:"urgent"`
}

// Message returns b as a message on a topic. It fails only if the payload is
// nothing that JSON can hold.
func (b Body) Message(topic string) (gateway.Message, error) {
	p, err := json.Marshal(b)
	if err != nil {
		return gateway.Message{}, gateway.Invalidf("payload of a message: %v", err)
	}
	return gateway.Message{Topic: topic, Payload: p, QoS: 1}, nil
}

// CommandTopic returns where a device takes commands unless it was given
// another channel.
func CommandTopic(name string) string { return Prefix + name + "/" + leafSet }

// RequestTopic returns where clients ask something of a device.
func RequestTopic(name string) string { return Prefix + name + "/" + leafRequest }

// Broadcast returns where all devices of a member are told something.
func Broadcast(member string) string { return Prefix + "global/" + member }

// Encode puts a command into the device's own words. The error is a
// *gateway.Error with CodeInvalid.
func Encode(d gateway.Device, c gateway.Command, sender string) ([]gateway.Message, error) {
	b := Body{ID: c.ID, Sender: sender, Urgent: c.Urgent}
	switch c.Action {
	case gateway.ActionOn:
		b.Kind = KindStartup
	case gateway.ActionOff:
		b.Kind = KindShutdown
	case gateway.ActionPowerState:
		if c.PowerState.String() == "" {
			return nil, gateway.Invalidf("command %s names no power state", c.ID)
		}
		b.Kind, b.PowerState = KindPowerState, c.PowerState
	default:
		return nil, gateway.Invalidf("a native device does not know the action %q",
			clip(string(c.Action)))
	}
	topic := d.Schedule.Channel
	if topic == "" {
		topic = CommandTopic(d.Topic)
	}
	m, err := b.Message(topic)
	if err != nil {
		return nil, err
	}
	return []gateway.Message{m}, nil
}
