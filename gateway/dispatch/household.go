package dispatch

import (
	"errors"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect"
)

// Kinds of requests to the whole household.
const (
	Startup  = "startup"
	Shutdown = "shutdown"
)

// nativeDialect is the one whose devices understand a broadcast.
const nativeDialect = "native"

// Household asks all devices to start or to stop: those of the named member,
// or of everyone if the name is "". Native devices get one broadcast for each
// member, the others and those with a relay a request each, whose Source is s
// with kind. What cannot be switched is left alone.
//
// A device that is always on is spared a shutdown. A broadcast could not spare
// it, so a member with such a native device has requests sent to the others.
//
// The error is a *gateway.Error, or several joined if some could not be asked:
// the rest was asked nevertheless.
func (d *Dispatcher) Household(kind, member string, s gateway.Source) error {
	if kind != Startup && kind != Shutdown {
		return gateway.Invalidf("a household can be asked for startup or shutdown, not for %q", kind)
	}
	var alone []gateway.Device // to be asked one by one
	found := member == ""
	devices := d.cfg.Devices()
	known := map[gateway.MemberID]bool{}
	for _, m := range d.cfg.Members() {
		known[m.ID] = true
		if member == "" || m.Name == member {
			found = true
			alone = append(alone, d.broadcast(kind, m, owned(devices, m.ID))...)
		}
	}
	if !found {
		return gateway.NotFoundf("there is no member %q", member)
	}
	for _, dev := range devices {
		if member == "" && !known[dev.Member] { // nobody's: no broadcast reaches it
			alone = append(alone, dev)
		}
	}
	return d.request(kind, alone, s)
}

// owned returns the devices that a member added.
func owned(devices []gateway.Device, m gateway.MemberID) (list []gateway.Device) {
	for _, dev := range devices {
		if dev.Member == m {
			list = append(list, dev)
		}
	}
	return list
}

// listens reports whether a device obeys its member's broadcasts.
func listens(dev gateway.Device) bool { return dev.Dialect == nativeDialect && dev.Relay == nil }

// broadcast sends a member's broadcast and returns which of the member's
// devices must be asked one by one: those that do not obey it, and all if one
// of those that do is to be spared.
func (d *Dispatcher) broadcast(
	kind string, member gateway.Member, devices []gateway.Device,
) (alone []gateway.Device) {
	for _, dev := range devices {
		if kind == Shutdown && listens(dev) && dev.Schedule.AlwaysOn {
			return devices
		}
		if !listens(dev) {
			alone = append(alone, dev)
		}
	}
	m, err := dialect.Household(member.Name, newID(), kind, "scheduler")
	if err == nil {
		m.Expires = gateway.InstantOf(d.cfg.Now().Add(Lifetime))
		err = d.cfg.Publish(m)
	}
	if err != nil { // nobody may be listening, which is no failure
		d.cfg.Logger.Info("broadcast was not sent", "kind", kind, "member", member.Name, "err", err)
	}
	return alone
}

// request asks each of the devices by itself.
func (d *Dispatcher) request(kind string, devices []gateway.Device, s gateway.Source) error {
	r := gateway.Request{Action: gateway.ActionOn, Source: s}
	r.Source.Kind = kind
	if kind == Shutdown {
		r.Action = gateway.ActionOff
	}
	var errs []error
	for _, dev := range devices {
		if kind == Shutdown && dev.Schedule.AlwaysOn {
			continue
		}
		r.Device = dev.ID
		_, err := d.Submit(r)
		switch gateway.CodeOf(err) {
		case gateway.CodeInvalid, gateway.CodeNotFound: // a meter; or removed meanwhile
			d.cfg.Logger.Debug("device was not asked", "kind", kind, "device", dev.ID, "err", err)
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
