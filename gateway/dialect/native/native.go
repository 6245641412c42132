// Package native is the dialect of devices that were made for wattle.
//
// It owns the topics below wattle/NAME and the bodies that go over them. It
// must not know where messages come from or go to.
//
// # Topics
//
// NAME is the device's topic and one level deep.
//
//	wattle/NAME/reading       {"time":…, "power_w":…, "energy_wh":…}, a list, or watts
//	wattle/NAME/state         {"on":true, "power_state":"D0"}
//	wattle/NAME/availability  online or offline
//	wattle/NAME/set           what the gateway commands, unless another channel is set
//	wattle/NAME/request       what a client asks of the gateway; not read here
//	wattle/global/MEMBER      what the gateway tells all devices of a member
//
// # Time
//
// The time of a reading is RFC 3339 or Unix seconds, perhaps with a fraction;
// without one the reading is of when it arrives. A wall-clock time
// (YYYY-MM-DD HH:MM:SS) is read in a zone that the caller must know.
//
// # Concurrency
//
// All functions are pure.
package native

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

// Prefix begins every topic of the dialect.
const Prefix = "wattle/"

// Leaves of a device's topics.
const (
	leafReading      = "reading"
	leafState        = "state"
	leafAvailability = "availability"
	leafSet          = "set"
	leafRequest      = "request"
)

// split cuts a topic into the device's name and the leaf; ok is false if it is
// no topic of a native device.
func split(topic string) (name, leaf string, ok bool) {
	rest, ok := strings.CutPrefix(topic, Prefix)
	if !ok {
		return "", "", false
	}
	name, leaf, ok = strings.Cut(rest, "/")
	return name, leaf, ok && name != "" && name != "global" && leaf != ""
}

// Matches reports whether topic is one of the dialect's.
func Matches(topic string) bool {
	if member, ok := strings.CutPrefix(topic, Prefix+"global/"); ok {
		return member != ""
	}
	_, leaf, ok := split(topic)
	switch leaf {
	case leafReading, leafState, leafAvailability, leafSet, leafRequest:
		return ok
	}
	return false
}

// Names returns what the device may be called that topic belongs to.
func Names(topic string) []string {
	if name, _, ok := split(topic); ok {
		return []string{name}
	}
	return nil
}

// invalid wraps the reason why a payload cannot be read. The error is a
// *gateway.Error.
func invalid(leaf string, err error) error {
	var se *scan.SyntaxError
	if errors.As(err, &se) {
		return &gateway.Error{Code: gateway.CodeInvalid, Message: leaf + " is no JSON", Err: err}
	}
	return &gateway.Error{Code: gateway.CodeInvalid, Message: leaf, Err: err}
}

// Decode reads one message of a device that arrived at the instant at. zone is
// that of wall-clock times; if it is nil they are refused. What the gateway or
// a client sends to the device tells nothing. The error is a *gateway.Error
// with CodeInvalid.
func Decode(
	topic string, payload []byte, at gateway.Instant, zone *time.Location,
) ([]gateway.Report, error) {
	name, leaf, ok := split(topic)
	if !ok {
		if Matches(topic) { // a broadcast
			return nil, nil
		}
		return nil, gateway.Invalidf("topic %q is none of a native device", clip(topic))
	}
	d := decoder{name: name, at: at, zone: zone}
	switch leaf {
	case leafReading:
		rs, err := d.readings(payload)
		if err != nil {
			return nil, invalid(leafReading, err)
		}
		return rs, nil
	case leafState:
		r, err := d.state(payload)
		if err != nil {
			return nil, invalid(leafState, err)
		}
		return []gateway.Report{r}, nil
	case leafAvailability:
		return d.availability(payload)
	case leafSet, leafRequest:
		return nil, nil
	}
	return nil, gateway.Invalidf("topic %q is none of a native device", clip(topic))
}

// decoder knows what a message is of.
type decoder struct {
	name string
	at   gateway.Instant
	zone *time.Location
}

// readings reads the payload of wattle/NAME/reading.
func (d decoder) readings(payload []byte) ([]gateway.Report, error) {
	v, err := scan.Parse(payload)
	if err != nil {
		return nil, err
	}
	switch v.Kind() {
	case scan.Number:
		r := gateway.Report{Device: d.name}
		err := takePower(&r, v)
		return []gateway.Report{r}, err
	case scan.Object:
		r, err := d.reading(v)
		if err != nil {
			return nil, err
		}
		return []gateway.Report{r}, nil
	case scan.Array:
		return d.list(v)
	}
	return nil, fmt.Errorf("is %s; want an object, a list of objects or a number", v.Kind())
}

// list reads a list of readings; one that is wrong refuses them all.
func (d decoder) list(v scan.Value) ([]gateway.Report, error) {
	var out []gateway.Report
	for e := v.Elements(); e.Next(); {
		if e.Value().Kind() != scan.Object {
			return nil, fmt.Errorf("item %d is %s; want an object", len(out), e.Value().Kind())
		}
		r, err := d.reading(e.Value())
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", len(out), err)
		}
		out = append(out, r)
	}
	if out == nil {
		return nil, errors.New("is an empty list")
	}
	return out, nil
}

// reading reads one object. A null is the same as a key that is not there.
func (d decoder) reading(v scan.Value) (gateway.Report, error) {
	r := gateway.Report{Device: d.name}
	m := v.Members()
	for m.Next() {
		var err error
		switch null := m.Value().Kind() == scan.Null; string(m.Key()) {
		case "time":
			if !null {
				err = d.takeTime(&r, m.Value())
			}
		case "power_w":
			if !null {
				err = takePower(&r, m.Value())
			}
		case "energy_wh":
			if !null {
				err = takeEnergy(&r, m.Value())
			}
		default:
			err = fmt.Errorf("unknown key %q; want time, power_w, energy_wh", clip(string(m.Key())))
		}
		if err != nil {
			return r, err
		}
	}
	if m.Err() != nil {
		return r, m.Err()
	}
	if r.Has&(gateway.ReportPower|gateway.ReportEnergy) == 0 {
		return r, errors.New("has neither power_w nor energy_wh")
	}
	return r, nil
}

// takePower reads watts.
func takePower(r *gateway.Report, v scan.Value) error {
	n, err := milli(v, "power_w")
	r.Power, r.Has = gateway.Power(n), r.Has|gateway.ReportPower
	return err
}

// takeEnergy reads watt-hours.
func takeEnergy(r *gateway.Report, v scan.Value) error {
	n, err := milli(v, "energy_wh")
	r.Energy, r.Has = gateway.Energy(n), r.Has|gateway.ReportEnergy
	return err
}

// milli reads a number in thousandths.
func milli(v scan.Value, key string) (int64, error) {
	if v.Kind() != scan.Number {
		return 0, fmt.Errorf("%s is %s; want a number", key, v.Kind())
	}
	n, ok := v.Scaled(3)
	if !ok {
		return 0, fmt.Errorf("%s is beyond all range: %s", key, clip(string(v.Raw())))
	}
	return n, nil
}

// takeTime reads when a reading was measured and refuses what cannot be.
func (d decoder) takeTime(r *gateway.Report, v scan.Value) error {
	at, err := d.instant(v)
	if err != nil {
		return err
	}
	switch {
	case at < gateway.EarliestReading:
		return fmt.Errorf("time %s is before 2000", clip(string(v.Raw())))
	case at > d.at+gateway.MaxAhead:
		return fmt.Errorf("time %s is more than 5 minutes ahead", clip(string(v.Raw())))
	}
	r.At, r.Has = at, r.Has|gateway.ReportAt
	return nil
}

// instant reads a time in one of its forms.
func (d decoder) instant(v scan.Value) (gateway.Instant, error) {
	switch v.Kind() {
	case scan.Number:
		ms, ok := v.Scaled(3)
		if !ok {
			return 0, fmt.Errorf("time %s is beyond all range", clip(string(v.Raw())))
		}
		return gateway.Instant(ms), nil
	case scan.String:
		b, _ := v.Bytes()
		var t time.Time
		if t.UnmarshalText(b) == nil { // strict RFC 3339
			return gateway.InstantOf(t), nil
		}
		if d.zone != nil {
			if t, ok := gateway.ParseWall(string(b), d.zone); ok {
				return gateway.InstantOf(t), nil
			}
		}
		return 0, fmt.Errorf("time %q is neither RFC 3339 nor Unix seconds", clip(string(b)))
	}
	return 0, fmt.Errorf("time is %s; want RFC 3339 or Unix seconds", v.Kind())
}

// state reads the payload of wattle/NAME/state. Keys that are not known are
// left alone, so that a device may tell more than we ask for.
func (d decoder) state(payload []byte) (gateway.Report, error) {
	r := gateway.Report{Device: d.name}
	v, err := scan.Parse(payload)
	if err != nil {
		return r, err
	}
	if v.Kind() != scan.Object {
		return r, fmt.Errorf("is %s; want an object", v.Kind())
	}
	m := v.Members()
	for m.Next() {
		v := m.Value()
		switch string(m.Key()) {
		case "on":
			on, ok := v.Bool()
			if !ok && v.Kind() != scan.Null {
				return r, fmt.Errorf("on is %s; want true or false", v.Kind())
			}
			if ok {
				r.On, r.Has = on, r.Has|gateway.ReportOn
			}
		case "power_state":
			if err := takePowerState(&r, v); err != nil {
				return r, err
			}
		}
	}
	if m.Err() != nil {
		return r, m.Err()
	}
	if r.Tells(gateway.ReportPowerState) && !r.Tells(gateway.ReportOn) {
		r.On, r.Has = r.PowerState.On(), r.Has|gateway.ReportOn
	}
	if r.Has == 0 {
		return r, errors.New("has neither on nor power_state")
	}
	return r, nil
}

// takePowerState reads the name of a power state into a report.
func takePowerState(r *gateway.Report, v scan.Value) error {
	if v.Kind() == scan.Null {
		return nil
	}
	if v.Kind() != scan.String {
		return fmt.Errorf("power_state is %s; want a string", v.Kind())
	}
	s, err := gateway.ParsePowerState(v.Text())
	if err != nil {
		return err
	}
	r.PowerState, r.Has = s, r.Has|gateway.ReportPowerState
	return nil
}

// availability reads the payload of wattle/NAME/availability.
func (d decoder) availability(payload []byte) ([]gateway.Report, error) {
	r := gateway.Report{Device: d.name, Has: gateway.ReportOnline}
	switch string(payload) {
	case "online":
		r.Online = true
	case "offline":
	default:
		return nil, gateway.Invalidf("availability %q is neither online nor offline",
			clip(string(payload)))
	}
	return []gateway.Report{r}, nil
}

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
