package tasmota

import (
	"strconv"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// placeholder stands in a device's topic where its FullTopic has %prefix%. See
// docs/MQTT.md of the firmware, "MQTT Topic Definition".
const placeholder = "%prefix%"

// Prefixes of the three kinds of messages (docs/Commands.md, Prefix).
const (
	prefixCommand = "cmnd"
	prefixStatus  = "stat"
	prefixTelem   = "tele"
)

// address is a topic taken apart.
type address struct {
	name   string // what stands for the device, with a placeholder if it must
	prefix string // cmnd, stat or tele; "" for discovery
	leaf   string
}

// parse takes a topic apart. The prefix is looked for where firmware puts it:
// first, then just before the leaf, then anywhere between.
func parse(topic string) (a address, ok bool) {
	if strings.HasPrefix(topic, "tasmota/discovery/") {
		return address{}, true
	}
	end := strings.LastIndexByte(topic, '/')
	if end <= 0 {
		return a, false
	}
	path, leaf := topic[:end], topic[end+1:]
	if first, name, more := strings.Cut(path, "/"); more && name != "" && isPrefix(first) {
		return address{name, first, leaf}, true
	}
	if cut := strings.LastIndexByte(path, '/'); cut > 0 && isPrefix(path[cut+1:]) {
		return address{path[:cut], path[cut+1:], leaf}, true
	}
	for i := 0; i < len(path); {
		level, _, _ := strings.Cut(path[i:], "/")
		if isPrefix(level) && i > 0 && i+len(level) < len(path) {
			return address{path[:i] + placeholder + path[i+len(level):], level, leaf}, true
		}
		i += len(level) + 1
	}
	return a, false
}

// isPrefix reports whether level is one of Tasmota's prefixes.
func isPrefix(level string) bool {
	return level == prefixTelem || level == prefixStatus || level == prefixCommand
}

// Matches reports whether topic has the shape of one of the dialect's and ends
// in something that the firmware says.
func Matches(topic string) bool {
	a, ok := parse(topic)
	if !ok {
		return false
	}
	switch a.prefix {
	case prefixTelem:
		switch a.leaf {
		case "LWT", "SENSOR", "STATE", "RESULT", "MARGINS", "INFO1", "INFO2", "INFO3", "UPTIME":
			return true
		}
		return false
	case prefixStatus:
		_, isPower := powerIndex(a.leaf)
		return isPower || a.leaf == "RESULT" || strings.HasPrefix(a.leaf, "STATUS")
	}
	return true
}

// Names returns what the device may be called that topic belongs to, the
// likeliest first.
func Names(topic string) []string {
	a, ok := parse(topic)
	if !ok || a.name == "" {
		return nil
	}
	if strings.Contains(a.name, placeholder) {
		return []string{a.name}
	}
	if strings.HasPrefix(topic, a.prefix) {
		return []string{a.name, placeholder + "/" + a.name}
	}
	return []string{a.name, a.name + "/" + placeholder}
}

// Filters returns the topic filters below which a device says something, and
// below which it takes commands. A plain name stands for both usual orders,
// %prefix%/NAME and NAME/%prefix%.
func Filters(name string) (says, takes []string) {
	for _, t := range []string{prefixTelem, prefixStatus} {
		says = append(says, below(name, t, "#")...)
	}
	return says, below(name, prefixCommand, "#")
}

// CommandTopic returns where a device is switched unless it was given another
// channel. A plain name is taken to be in the firmware's own order.
func CommandTopic(name string) string { return below(name, prefixCommand, "POWER")[0] }

// below puts prefix and leaf around a name.
func below(name, prefix, leaf string) []string {
	if strings.Contains(name, placeholder) {
		return []string{strings.Replace(name, placeholder, prefix, 1) + "/" + leaf}
	}
	return []string{prefix + "/" + name + "/" + leaf, name + "/" + prefix + "/" + leaf}
}

// powerIndex reads POWER (0) and POWER1 to POWER32.
func powerIndex(key string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(key, "POWER")
	if !ok || digits == "" {
		return 0, ok
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 1 && n <= 32 && digits[0] != '+' && digits[0] != '0'
}

// Encode puts a command into the device's own words. A relay knows on and off
// alone: D0 is on, D3hot and D3cold are off. A plain name gets the command in
// both usual orders of the topic; the device hears the one that it subscribed
// to. The error is a *gateway.Error with CodeInvalid.
func Encode(d gateway.Device, c gateway.Command, _ string) ([]gateway.Message, error) {
	word := "OFF"
	switch {
	case c.Action == gateway.ActionOn, c.Action == gateway.ActionPowerState &&
		c.PowerState == gateway.D0:
		word = "ON"
	case c.Action == gateway.ActionOff:
	case c.Action == gateway.ActionPowerState &&
		(c.PowerState == gateway.D3hot || c.PowerState == gateway.D3cold):
	case c.Action == gateway.ActionPowerState:
		return nil, gateway.Invalidf("power state %q: a Tasmota device knows D0, D3hot and D3cold",
			c.PowerState)
	default:
		return nil, gateway.Invalidf("a Tasmota device does not know the action %q",
			clip(string(c.Action)))
	}
	topics := below(d.Topic, prefixCommand, "POWER")
	if d.Schedule.Channel != "" {
		topics = []string{d.Schedule.Channel}
	}
	out := make([]gateway.Message, len(topics))
	for i, t := range topics {
		out[i] = gateway.Message{Topic: t, Payload: []byte(word), QoS: 1}
	}
	return out, nil
}
