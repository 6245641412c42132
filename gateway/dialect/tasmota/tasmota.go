// Package tasmota is the dialect of devices that run the firmware Tasmota.
//
// It owns their topics and bodies, as docs/MQTT.md, docs/Commands.md and
// docs/JSON-Status-Responses.md of the firmware's documentation have them. It
// must not know where messages come from or go to.
//
// # Topics
//
// A device's topic is its name, such as pow1. The firmware's FullTopic is
// %prefix%/%topic%/ unless changed; a plain name stands for that order and for
// %topic%/%prefix%/. A device with its prefix anywhere else is named with the
// placeholder in place: home/%prefix%/pow1.
//
// # Units and time
//
// Power is W; Total is kWh. Time is the device's local time, without an offset
// unless the firmware is told to send one: only with one is it believed, and
// only within five minutes of the arrival. Where a value is told per phase the
// sum stands for the device, and voltage and current are not told.
//
// # Concurrency
//
// All functions are pure.
package tasmota

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// Decode reads one message of a device that arrived at the instant at.
// Commands, discovery (whose values are a description, not a reading),
// thresholds and boot information tell nothing. The error is a *gateway.Error
// with CodeInvalid.
func Decode(topic string, payload []byte, at gateway.Instant) ([]gateway.Report, error) {
	a, ok := parse(topic)
	if !ok {
		return nil, gateway.Invalidf("topic %q is none of a Tasmota device", clip(topic))
	}
	d := decoder{at: at}
	d.main.Device = a.name
	if err := d.message(a, payload); err != nil {
		msg := a.leaf
		if len(msg) > 60 {
			msg = clip(msg)
		}
		var se *scan.SyntaxError
		if errors.As(err, &se) {
			msg += " is no JSON"
		}
		return nil, &gateway.Error{Code: gateway.CodeInvalid, Message: msg, Err: err}
	}
	return d.reports(), nil
}

// decoder gathers what a message says.
type decoder struct {
	at      gateway.Instant
	main    gateway.Report
	outputs []gateway.Report // relays and tariffs with a number of their own
}

// reports returns what was gathered; nil if nothing was.
func (d *decoder) reports() []gateway.Report {
	const onlyTime = gateway.ReportAt | gateway.ReportBadClock
	if d.main.Has&^onlyTime == 0 && len(d.outputs) > 0 {
		for i := range d.outputs {
			d.outputs[i].At = d.main.At
			d.outputs[i].Has |= d.main.Has
		}
		return d.outputs
	}
	if d.main.Has&^gateway.ReportAt == 0 {
		return nil
	}
	if len(d.outputs) == 0 {
		return []gateway.Report{d.main}
	}
	return append([]gateway.Report{d.main}, d.outputs...)
}

// message reads a payload by what the topic says it is.
func (d *decoder) message(a address, payload []byte) error {
	switch a.prefix {
	case prefixCommand:
		return d.command(a.leaf, payload)
	case prefixTelem:
		switch a.leaf {
		case "LWT":
			return d.online(payload)
		case "SENSOR", "STATE", "RESULT", "HASS_STATE":
			return d.document(payload)
		}
	case prefixStatus:
		n, ok := powerIndex(a.leaf)
		if word := bytes.TrimSpace(payload); ok && !bytes.HasPrefix(word, []byte("{")) {
			return d.takeOn(n, word)
		}
		if ok || a.leaf == "RESULT" || strings.HasPrefix(a.leaf, "STATUS") {
			return d.document(payload)
		}
	}
	return nil // INFO1, MARGINS, UPTIME, what other commands answered, discovery
}

// online reads the last will and its counterpart (docs/MQTT.md, LWT).
func (d *decoder) online(payload []byte) error {
	switch {
	case bytes.EqualFold(payload, []byte("Online")):
		d.main.Online = true
	case bytes.EqualFold(payload, []byte("Offline")):
	default:
		return fmt.Errorf("%q is neither Online nor Offline", clip(string(payload)))
	}
	d.main.Has |= gateway.ReportOnline
	return nil
}

// takeOn reads a relay's state: ON, OFF. n is 0 for a device with one relay.
func (d *decoder) takeOn(n int, word []byte) error {
	on := bytes.EqualFold(word, []byte("ON"))
	if !on && !bytes.EqualFold(word, []byte("OFF")) {
		return fmt.Errorf("POWER %q is neither ON nor OFF", clip(string(word)))
	}
	if n == 0 {
		d.main.On, d.main.Has = on, d.main.Has|gateway.ReportOn
		return nil
	}
	d.outputs = append(d.outputs, gateway.Report{
		Device: d.main.Device, Output: strconv.Itoa(n), On: on, Has: gateway.ReportOn,
	})
	return nil
}

// command reads what was sent to the device. It tells nothing of the device,
// but for the time after which it will switch off by itself (docs/Commands.md,
// PulseTime: 1 to 111 are tenths of a second, from 112 on 100 + seconds).
func (d *decoder) command(leaf string, payload []byte) error {
	if len(leaf) < 9 || !strings.EqualFold(leaf[:9], "PulseTime") {
		return nil
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(payload)))
	if err == nil && n >= 112 && n <= 64900 {
		d.main.AutoOff, d.main.Has = int64(n-100), d.main.Has|gateway.ReportAutoOff
	}
	return nil
}

// document reads a JSON body: SENSOR, STATE, RESULT and the answers to Status,
// which hold the same members one level deeper.
func (d *decoder) document(payload []byte) error {
	v, err := scan.Parse(payload)
	if err != nil {
		return err
	}
	if v.Kind() != scan.Object {
		return fmt.Errorf("is %s; want an object", v.Kind())
	}
	return d.members(v)
}

func (d *decoder) members(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		if err := d.member(m.Key(), m.Value()); err != nil {
			return err
		}
	}
	return m.Err()
}

func (d *decoder) member(key []byte, v scan.Value) error {
	switch string(key) {
	case "StatusSNS", "StatusSTS":
		if v.Kind() == scan.Object {
			return d.members(v)
		}
	case "Time":
		d.takeTime(v)
	case "ENERGY":
		return d.energy("ENERGY", v)
	case "ANALOG":
		return d.analog(v)
	case "ZbReceived":
		return d.zigbee(v)
	case "SerialReceived":
		d.takeLine(v.Text())
	case "UptimeSec":
		if n, ok := v.Scaled(0); ok && n >= 0 {
			d.main.Uptime, d.main.Has = n, d.main.Has|gateway.ReportUptime
		}
	case "Wifi":
		return d.wifi(v)
	default:
		if n, ok := powerIndexOf(key); ok && v.Kind() == scan.String {
			b, _ := v.Bytes()
			return d.takeOn(n, b)
		}
		if v.Kind() == scan.Object && d.main.Has&(gateway.ReportPower|gateway.ReportEnergy) == 0 {
			d.other(v)
		}
	}
	return nil
}

// powerIndexOf is powerIndex without making a string of other keys.
func powerIndexOf(key []byte) (int, bool) {
	if !bytes.HasPrefix(key, []byte("POWER")) {
		return 0, false
	}
	return powerIndex(string(key))
}

// takeTime reads the device's clock.
func (d *decoder) takeTime(v scan.Value) {
	b, ok := v.Bytes()
	if !ok {
		return
	}
	var t time.Time
	if len(b) > len(time.DateTime) && t.UnmarshalText(b) == nil {
		at := gateway.InstantOf(t)
		if at < d.at-gateway.MaxAhead || at > d.at+gateway.MaxAhead {
			d.main.Has |= gateway.ReportBadClock
			return
		}
		d.main.At, d.main.Has = at, d.main.Has|gateway.ReportAt
		return
	}
	// Without an offset only a clock that was never set can be told.
	if len(b) >= 5 && b[4] == '-' && string(b[:4]) < "2000" {
		d.main.Has |= gateway.ReportBadClock
	}
}

// wifi reads Signal, in dBm; RSSI is a percentage.
func (d *decoder) wifi(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		if string(m.Key()) == "Signal" {
			if n, ok := m.Value().Scaled(0); ok && n > -200 && n < 100 {
				d.main.RSSI, d.main.Has = int(n), d.main.Has|gateway.ReportRSSI
			}
		}
	}
	return m.Err()
}

// zigbee reads what a Zigbee bridge received. Power is on or off there, never
// watts.
func (d *decoder) zigbee(v scan.Value) error {
	devices := v.Members()
	for devices.Next() {
		m := devices.Value().Members()
		for m.Next() {
			if n, ok := m.Value().Scaled(0); ok && string(m.Key()) == "Power" {
				d.main.On, d.main.Has = n != 0, d.main.Has|gateway.ReportOn
			}
		}
		if m.Err() != nil {
			return m.Err()
		}
	}
	return devices.Err()
}

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
