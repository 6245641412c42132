// Package shelly is the dialect of Shelly devices of the second generation and
// later.
//
// It owns their topics and bodies, as the pages Mqtt, RPC Protocol, Switch,
// PM1, EM, EM1, EMData, EM1Data, Sys and Wifi of the maker's API documentation
// have them. It must not know where messages come from or go to.
//
// # Topics
//
// A device's topic is its MQTT prefix, which is its id unless changed, and may
// have several levels. The device needs its settings status_ntf or rpc_ntf,
// and enable_control for commands.
//
// # Outputs
//
// The component with id 0 speaks for the device; the one with id 1 is output
// 2, and so on. A three-phase meter tells its total.
//
// # Units and time
//
// Power is W and energy Wh. aenergy counts both directions where there is a
// ret_aenergy beside it, so that what was drawn is the difference. The clock of
// a notification is believed within five minutes of the arrival.
//
// # Concurrency
//
// All functions are pure.
package shelly

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// Decode reads one message of a device that arrived at the instant at.
// Commands, calls, events and the status of what measures and switches nothing
// tell nothing. The error is a *gateway.Error with CodeInvalid.
func Decode(topic string, payload []byte, at gateway.Instant) ([]gateway.Report, error) {
	prefix, l, component := parse(topic)
	if l == leafNone {
		return nil, gateway.Invalidf("topic %q is none of a Shelly", clip(topic))
	}
	d := decoder{at: at, shared: l == leafRPC}
	d.main.Device = prefix
	if err := d.message(l, component, payload); err != nil {
		msg := clip(topic[len(prefix)+1:])
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
	shared  bool // the topic is not the device's own
	main    gateway.Report
	outputs []gateway.Report // of components with an id above 0
}

// reports returns what was gathered; nil if nothing was.
func (d *decoder) reports() []gateway.Report {
	const clock = gateway.ReportAt | gateway.ReportBadClock
	d.outputs = slices.DeleteFunc(d.outputs, func(r gateway.Report) bool { return r.Has == 0 })
	for i := range d.outputs {
		d.outputs[i].Device, d.outputs[i].At = d.main.Device, d.main.At
		d.outputs[i].Has |= d.main.Has & clock
	}
	switch {
	case len(d.outputs) == 0 && d.main.Has&^gateway.ReportAt == 0:
		return nil
	case len(d.outputs) == 0:
		return []gateway.Report{d.main}
	case d.main.Has&^clock == 0:
		return d.outputs
	}
	return append([]gateway.Report{d.main}, d.outputs...)
}

// message reads a payload by what the topic says it is.
func (d *decoder) message(l leaf, component string, payload []byte) error {
	switch l {
	case leafOnline:
		return d.online(payload)
	case leafCommand:
		return d.command(payload)
	case leafError:
		return nil // a text for people about a command that failed
	}
	v, err := scan.Parse(payload)
	if err != nil {
		return err
	}
	if v.Kind() != scan.Object {
		return fmt.Errorf("is %s; want an object", v.Kind())
	}
	switch l {
	case leafStatus:
		return d.component([]byte(component), v)
	case leafAnnounce:
		return d.sys(v) // has the member mac too
	}
	return d.frame(v)
}

// online reads the last will and its counterpart (Mqtt, <prefix>/online).
func (d *decoder) online(payload []byte) error {
	switch string(payload) {
	case "true":
		d.main.Online = true
	case "false":
	default:
		return fmt.Errorf("%q is neither true nor false", clip(string(payload)))
	}
	d.main.Has |= gateway.ReportOnline
	return nil
}

// command reads what was sent to the device: on[,seconds], off[,seconds],
// toggle, status_update. It tells nothing of the device, but for the time
// after which it will switch off by itself.
func (d *decoder) command(payload []byte) error {
	if after, ok := bytes.CutPrefix(payload, []byte("on,")); ok {
		if n, err := strconv.ParseUint(string(after), 10, 31); err == nil {
			d.takeAutoOff(int64(n))
		}
	}
	return nil
}

func (d *decoder) takeAutoOff(seconds int64) {
	d.main.AutoOff, d.main.Has = seconds, d.main.Has|gateway.ReportAutoOff
}

// frame is a notification, a call or an answer (RPC Protocol, frames).
type frame struct {
	src, method, params, result scan.Value
}

// frame reads P/events/rpc and P/rpc.
func (d *decoder) frame(v scan.Value) error {
	var f frame
	m := v.Members()
	for m.Next() {
		switch string(m.Key()) {
		case "src":
			f.src = m.Value()
		case "method":
			f.method = m.Value()
		case "params":
			f.params = m.Value()
		case "result":
			f.result = m.Value()
		}
	}
	if m.Err() != nil {
		return m.Err()
	}
	src, _ := f.src.Bytes()
	method, call := f.method.Bytes()
	switch string(method) {
	case "NotifyStatus", "NotifyFullStatus":
		d.from(src)
		return d.status(f.params)
	case "Switch.Set":
		return d.set(f.params)
	}
	if call {
		return nil // a call by somebody, or NotifyEvent
	}
	d.from(src)
	return d.answer(f.result)
}

// from takes the sender of a frame: the device's id, which ends in its MAC
// address. An answer goes to a topic of who asked, so that only the id tells
// which device it is of.
func (d *decoder) from(src []byte) {
	if len(src) == 0 || len(src) > 64 {
		return
	}
	id := d.main.Device
	if string(src) != id {
		id = string(src)
		if d.shared {
			d.main.Device = id
		}
	}
	if cut := strings.LastIndexByte(id, '-'); cut >= 0 && isMAC(id[cut+1:]) {
		d.main.UID, d.main.Has = id[cut+1:], d.main.Has|gateway.ReportUID
	}
}

// isMAC reports whether s is the twelve hexadecimal digits of a MAC address.
func isMAC(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 12
}

// status reads the members of a notification: the components that changed, or
// all of them, and the time.
func (d *decoder) status(v scan.Value) error {
	if v.Kind() != scan.Object {
		return fmt.Errorf("params is %s; want an object", v.Kind())
	}
	m := v.Members()
	for m.Next() {
		if string(m.Key()) == "ts" {
			d.takeTime(m.Value())
			continue
		}
		if err := d.component(m.Key(), m.Value()); err != nil {
			return err
		}
	}
	return m.Err()
}

// takeTime reads the device's clock, Unix seconds with a fraction.
func (d *decoder) takeTime(v scan.Value) {
	ms, ok := v.Scaled(3)
	if !ok {
		return // null until the clock was set
	}
	at := gateway.Instant(ms)
	if at < d.at-gateway.MaxAhead || at > d.at+gateway.MaxAhead {
		d.main.Has |= gateway.ReportBadClock
		return
	}
	d.main.At, d.main.Has = at, d.main.Has|gateway.ReportAt
}

// answer reads the result of a call: the status of the device or of one
// component; others tell nothing.
func (d *decoder) answer(v scan.Value) error {
	m := v.Members()
	for m.Next() {
		switch string(m.Key()) {
		case "output", "apower":
			return d.component([]byte("switch:0"), v)
		case "act_power", "total_act_power":
			return d.component([]byte("em:0"), v)
		case "sys":
			return d.status(v)
		}
	}
	return m.Err()
}

// set reads a call of Switch.Set, which may say that the switch goes off again
// by itself.
func (d *decoder) set(v scan.Value) error {
	on, after := false, int64(0)
	m := v.Members()
	for m.Next() {
		switch string(m.Key()) {
		case "on":
			on, _ = m.Value().Bool()
		case "toggle_after":
			after, _ = m.Value().Scaled(0)
		}
	}
	if on && after > 0 {
		d.takeAutoOff(after)
	}
	return m.Err()
}
