// Package dialect turns what devices say on MQTT into reports, and commands
// into what devices understand.
//
// It owns the table of dialects. Each dialect's own words are in a package of
// its own below this one. It must not know who is connected, which devices
// there are, or what becomes of a report.
//
// # Usage
//
// ByName finds the row of a device; Decode and Encode do the work. Where only
// a topic is known, Names tells what the device could be called, and Guess
// which dialect it could be.
//
// # Outputs
//
// A device is one thing that is measured and switched. If its hardware has
// several outputs, the first is the device's: Main tells reports of it from
// those of the others.
//
// # Concurrency
//
// All functions are pure; the time of arrival is an argument.
package dialect

import (
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/native"
	"github.com/wattle-home/wattle/gateway/dialect/shelly"
	"github.com/wattle-home/wattle/gateway/dialect/tasmota"
)

// Names of the dialects.
const (
	Native     = "native"
	Tasmota    = "tasmota"
	ShellyGen2 = "shelly-gen2"
)

// Dialect is the MQTT habits of a family of devices. No function is nil.
type Dialect struct {
	Name string

	// Decode reads one message that arrived at the instant at. Reports name the
	// device as the topic does. No report and no error means that the message
	// was understood and tells nothing of the device. The error is a
	// *gateway.Error with CodeInvalid that says why the message cannot be read.
	Decode func(topic string, payload []byte, at gateway.Instant) ([]gateway.Report, error)

	// Encode returns what brings d to what c wants. The messages go out in
	// order, each with QoS 1 and not retained. The error is a *gateway.Error
	// with CodeInvalid if the family cannot do it.
	Encode func(d gateway.Device, c gateway.Command, sender string) ([]gateway.Message, error)

	// Topics returns what belongs to a device of that topic.
	Topics func(topic string) Topics

	// Names returns the topics that a device may have which a message is of; nil
	// if it is none of this dialect.
	Names func(topic string) []string

	// Matches reports whether a message's topic is plainly of this dialect.
	Matches func(topic string) bool
}

// Topics are the topic filters of one device. Its own credential may publish
// to Publish but not to Deny, and may read Subscribe; a channel of its own and
// its member's broadcast come on top, see Broadcast.
type Topics struct {
	Publish   []string
	Deny      []string
	Subscribe []string
	Commands  []string // where it takes commands: nobody but the gateway publishes there
	Channel   string   // where Encode sends commands unless the schedule names a channel
}

// All returns the table. The order is that of trust: the first row that
// matches a topic is the likeliest.
func All() []Dialect {
	return []Dialect{nativeIn(nil), tasmotaRow, shellyRow}
}

// ByName returns a row of the table.
func ByName(name string) (Dialect, bool) {
	switch name {
	case Native:
		return nativeRow, true
	case Tasmota:
		return tasmotaRow, true
	case ShellyGen2:
		return shellyRow, true
	}
	return Dialect{}, false
}

// In returns d such that wall-clock times without an offset are read in zone.
// Only native devices are trusted to know the household's zone.
func (d Dialect) In(zone *time.Location) Dialect {
	if d.Name == Native {
		return nativeIn(zone)
	}
	return d
}

// The rows of the table. They do not change.
var (
	nativeRow  = nativeIn(nil)
	tasmotaRow = Dialect{
		Name:    Tasmota,
		Decode:  tasmota.Decode,
		Encode:  tasmota.Encode,
		Topics:  topics(tasmota.Filters, tasmota.CommandTopic),
		Names:   tasmota.Names,
		Matches: tasmota.Matches,
	}
	shellyRow = Dialect{
		Name:    ShellyGen2,
		Decode:  shelly.Decode,
		Encode:  shelly.Encode,
		Topics:  topics(shelly.Filters, shelly.CommandTopic),
		Names:   shelly.Names,
		Matches: shelly.Matches,
	}
)

// nativeIn is the row of native devices in a zone.
func nativeIn(zone *time.Location) Dialect {
	return Dialect{
		Name: Native,
		Decode: func(topic string, payload []byte, at gateway.Instant) ([]gateway.Report, error) {
			return native.Decode(topic, payload, at, zone)
		},
		Encode:  native.Encode,
		Topics:  nativeTopics,
		Names:   native.Names,
		Matches: native.Matches,
	}
}

// nativeTopics gives a device all of its own level but what others say there.
func nativeTopics(name string) Topics {
	set, request := native.CommandTopic(name), native.RequestTopic(name)
	return Topics{
		Publish:   []string{native.Prefix + name + "/#"},
		Deny:      []string{set + "/#", request + "/#"},
		Subscribe: []string{set},
		Commands:  []string{set},
		Channel:   set,
	}
}

// topics makes Topics of a family's filters, where what a device takes is
// apart from what it says.
func topics(
	filters func(name string) (says, takes []string), channel func(name string) string,
) func(string) Topics {
	return func(name string) Topics {
		says, takes := filters(name)
		return Topics{
			Publish: says, Deny: takes, Subscribe: takes, Commands: takes, Channel: channel(name),
		}
	}
}

// Broadcast returns the channel on which all native devices of a member are
// told something.
func Broadcast(member string) string { return native.Broadcast(member) }

// Household returns the message that tells all native devices of a member to
// start up or to shut down; kind is startup or shutdown.
func Household(member, id, kind, sender string) (gateway.Message, error) {
	if kind != native.KindStartup && kind != native.KindShutdown {
		return gateway.Message{}, gateway.Invalidf("%q is neither startup nor shutdown", kind)
	}
	return native.Body{ID: id, Kind: kind, Sender: sender}.Message(Broadcast(member))
}

// Main reports whether r speaks of the device itself: of the whole, or of the
// output that Encode switches. Reports of other outputs and of single tariffs
// are for people only.
func Main(r gateway.Report) bool { return r.Output == "" || r.Output == "1" }
