// Package registry holds the devices of the household and what each of them
// does now.
//
// It owns the mapping from a dialect's topic to a device, and the last known
// state. It must not know how devices are stored or how messages look: it is
// told of devices and of reports, and answers from memory.
//
// # Concurrency
//
// A Registry is safe for concurrent use. Devices are handed out as copies;
// their slices must not be changed.
package registry

import (
	"cmp"
	"slices"
	"sync"

	"github.com/wattle-home/wattle/gateway"
)

// Registry is the household's devices. Use New. Its lock is for which devices
// there are; so many report at once that each has a lock for its state.
type Registry struct {
	mu      sync.RWMutex
	devices map[gateway.DeviceID]*entry
	topics  map[address]gateway.DeviceID
	sorted  []gateway.Device // by id; nil after a change
}

// entry is a device with what it does now.
type entry struct {
	device gateway.Device

	mu    sync.Mutex // taken after Registry.mu, never before
	state gateway.DeviceState
}

// address is how a dialect names a device.
type address struct{ dialect, topic string }

// New returns a registry without devices.
func New() *Registry {
	return &Registry{
		devices: map[gateway.DeviceID]*entry{},
		topics:  map[address]gateway.DeviceID{},
	}
}

// Set makes ds all the devices that there are. Those that were there keep
// their state.
func (r *Registry) Set(ds []gateway.Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stays := make(map[gateway.DeviceID]bool, len(ds))
	for _, d := range ds {
		stays[d.ID] = true
	}
	for id := range r.devices {
		if !stays[id] {
			r.remove(id)
		}
	}
	for _, d := range ds {
		r.put(d)
	}
}

// Put adds a device, or replaces the one with its id and keeps its state.
func (r *Registry) Put(d gateway.Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(d)
}

// put is Put with the lock held.
func (r *Registry) put(d gateway.Device) {
	e := r.devices[d.ID]
	if e == nil {
		e = &entry{state: gateway.DeviceState{Device: d.ID}}
		r.devices[d.ID] = e
	} else if at := (address{e.device.Dialect, e.device.Topic}); r.topics[at] == d.ID {
		delete(r.topics, at) // unless another took it over
	}
	e.device = d
	if d.Topic != "" {
		r.topics[address{d.Dialect, d.Topic}] = d.ID
	}
	r.sorted = nil
}

// Remove forgets a device.
func (r *Registry) Remove(id gateway.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(id)
}

// remove is Remove with the lock held.
func (r *Registry) remove(id gateway.DeviceID) {
	e := r.devices[id]
	if e == nil {
		return
	}
	if at := (address{e.device.Dialect, e.device.Topic}); r.topics[at] == id {
		delete(r.topics, at)
	}
	delete(r.devices, id)
	r.sorted = nil
}

// Device returns a device and its state.
func (r *Registry) Device(id gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.devices[id]; e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.device, e.state, true
	}
	return gateway.Device{}, gateway.DeviceState{}, false
}

// State returns what a device does now.
func (r *Registry) State(id gateway.DeviceID) (gateway.DeviceState, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.devices[id]; e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.state, true
	}
	return gateway.DeviceState{}, false
}

// Devices returns all devices in the order of their ids. The slice is shared
// and must not be changed.
func (r *Registry) Devices() []gateway.Device {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sorted == nil {
		r.sorted = make([]gateway.Device, 0, len(r.devices))
		for _, e := range r.devices {
			r.sorted = append(r.sorted, e.device)
		}
		slices.SortFunc(r.sorted, func(a, b gateway.Device) int { return cmp.Compare(a.ID, b.ID) })
	}
	return r.sorted
}

// Find returns the device that a dialect calls topic.
func (r *Registry) Find(dialect, topic string) (gateway.DeviceID, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	id, ok := r.topics[address{dialect, topic}]
	return id, ok
}

// Change says what a report changed in a device's state.
type Change uint8

// What may change.
const (
	ChangedOn Change = 1 << iota
	ChangedPowerState
	ChangedOnline
	ChangedReading
)

// Apply takes a report into the state of a device and returns the state after
// it with what changed. at is the arrival. A reading older than the newest
// one leaves power and counter alone. An unknown device gives a zero state.
func (r *Registry) Apply(
	id gateway.DeviceID, rep gateway.Report, at gateway.Instant,
) (gateway.DeviceState, Change) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.devices[id]
	if e == nil {
		return gateway.DeviceState{}, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s, ch := &e.state, Change(0)
	s.LastSeen = max(s.LastSeen, at)
	online := !rep.Tells(gateway.ReportOnline) || rep.Online // who reports is there
	if s.Online != online {
		s.Online, ch = online, ch|ChangedOnline
	}
	if rd, ok := rep.Reading(at); ok && rd.At >= s.ReadingAt {
		applyReading(s, rd)
		ch |= ChangedReading
	}
	if rep.Tells(gateway.ReportOn) && (!s.Known.Has(gateway.KnownOn) || s.On != rep.On) {
		s.On, s.Known, ch = rep.On, s.Known|gateway.KnownOn, ch|ChangedOn
	}
	if rep.Tells(gateway.ReportPowerState) && s.PowerState != rep.PowerState {
		s.PowerState, ch = rep.PowerState, ch|ChangedPowerState
		s.Known |= gateway.KnownPowerState
	}
	return *s, ch
}

// applyReading takes a reading into a state.
func applyReading(s *gateway.DeviceState, rd gateway.Reading) {
	s.ReadingAt = rd.At
	if rd.Has&gateway.HasPower != 0 {
		s.Power, s.Known = rd.Power, s.Known|gateway.KnownPower
	}
	if rd.Has&gateway.HasEnergy != 0 {
		s.Energy, s.Known = rd.Energy, s.Known|gateway.KnownEnergy
	}
}

// Restore sets a device's reading from history, before anything is reported.
func (r *Registry) Restore(rd gateway.Reading) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.devices[rd.Device]
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if rd.At > e.state.ReadingAt {
		applyReading(&e.state, rd)
		e.state.LastSeen = max(e.state.LastSeen, rd.At)
	}
}

// SetOnline records that a device's client came or went and reports whether
// that is news.
func (r *Registry) SetOnline(id gateway.DeviceID, online bool) (gateway.DeviceState, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.devices[id]
	if e == nil {
		return gateway.DeviceState{}, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state.Online == online {
		return gateway.DeviceState{}, false
	}
	e.state.Online = online
	return e.state, true
}

// Reject counts a message of a device that was not taken, with the reason.
func (r *Registry) Reject(
	id gateway.DeviceID, reason string, at gateway.Instant,
) gateway.DeviceState {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.devices[id]
	if e == nil {
		return gateway.DeviceState{}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Rejected.Count++
	e.state.Rejected.LastReason, e.state.Rejected.LastAt = reason, at
	return e.state
}
