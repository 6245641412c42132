package shelly

import (
	"strconv"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// What stands after the prefix in a topic.
type leaf uint8

// Kinds of topics below a device's prefix.
const (
	leafNone     leaf = iota
	leafOnline        // P/online
	leafStatus        // P/status/COMPONENT
	leafEvents        // P/events/rpc
	leafRPC           // P/rpc
	leafCommand       // P/command, P/command/COMPONENT
	leafAnnounce      // P/announce
	leafError         // P/error/COMPONENT
)

// parse cuts a topic into the prefix, which may have several levels, and what
// follows; component is that of a status, a command or an error.
func parse(topic string) (prefix string, l leaf, component string) {
	cut := strings.LastIndexByte(topic, '/')
	if cut <= 0 {
		return "", leafNone, ""
	}
	path, last := topic[:cut], topic[cut+1:]
	if up := strings.LastIndexByte(path, '/'); up > 0 {
		switch word := path[up+1:]; {
		case word == "status" && isComponent(last):
			return path[:up], leafStatus, last
		case word == "events" && last == "rpc":
			return path[:up], leafEvents, ""
		case word == "command" && isComponent(last):
			return path[:up], leafCommand, last
		case word == "error" && isComponent(last):
			return path[:up], leafError, last
		}
	}
	switch last {
	case "online":
		return path, leafOnline, ""
	case "rpc":
		return path, leafRPC, ""
	case "command":
		return path, leafCommand, ""
	case "announce":
		return path, leafAnnounce, ""
	}
	return "", leafNone, ""
}

// isComponent reports whether name is that of a component, such as switch:0
// or sys.
func isComponent(name string) bool {
	switch name {
	case "sys", "wifi", "mqtt", "cloud", "ble", "ws", "eth", "ui", "plugs_ui", "matter",
		"zigbee", "bthome", "knx", "modbus":
		return true
	}
	kind, digits, ok := strings.Cut(name, ":")
	_, err := strconv.ParseUint(digits, 10, 16)
	return ok && kind != "" && err == nil
}

// Matches reports whether topic has the shape of one of the dialect's. Two
// shapes are shared with others and not claimed: P/online and P/announce below
// shellies/, where the first generation says so too, and P/command.
func Matches(topic string) bool {
	prefix, l, component := parse(topic)
	switch l {
	case leafOnline, leafAnnounce:
		return !strings.HasPrefix(prefix, "shellies")
	case leafCommand:
		return component != ""
	}
	return l != leafNone
}

// Names returns what the device may be called that topic belongs to.
func Names(topic string) []string {
	if prefix, l, _ := parse(topic); l != leafNone {
		return []string{prefix}
	}
	return nil
}

// Filters returns the topic filters below which a device says something, and
// on which it takes commands and calls (Shelly API, Mqtt).
func Filters(name string) (says, takes []string) {
	says = []string{
		name + "/online", name + "/status/#", name + "/events/#",
		name + "/announce", name + "/error/#", name + "/debug/#",
	}
	return says, []string{name + "/command/#", name + "/rpc"}
}

// CommandTopic returns where a device is switched unless it was given another
// channel.
func CommandTopic(name string) string { return name + "/command/switch:0" }

// Encode puts a command into the device's own words. A switch knows on and off
// alone: D0 is on, D3hot and D3cold are off. The error is a *gateway.Error
// with CodeInvalid.
func Encode(d gateway.Device, c gateway.Command, _ string) ([]gateway.Message, error) {
	word := "off"
	switch {
	case c.Action == gateway.ActionOn, c.Action == gateway.ActionPowerState &&
		c.PowerState == gateway.D0:
		word = "on"
	case c.Action == gateway.ActionOff:
	case c.Action == gateway.ActionPowerState &&
		(c.PowerState == gateway.D3hot || c.PowerState == gateway.D3cold):
	case c.Action == gateway.ActionPowerState:
		return nil, gateway.Invalidf("power state %q: a Shelly knows D0, D3hot and D3cold", c.PowerState)
	default:
		return nil, gateway.Invalidf("a Shelly does not know the action %q", clip(string(c.Action)))
	}
	topic := d.Schedule.Channel
	if topic == "" {
		topic = CommandTopic(d.Topic)
	}
	return []gateway.Message{{Topic: topic, Payload: []byte(word), QoS: 1}}, nil
}

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
