package store

import (
	"math"
	"sync"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// running are the sums of the days that are not in rollups yet, by device,
// while they are asked for. They are in memory alone.
type running struct {
	mu      sync.Mutex
	devices map[gateway.DeviceID]*runningDevice
}

// runningDevice is one of them.
type runningDevice struct {
	mu   sync.Mutex
	r    *energy.Running // nil for none
	ok   bool            // r is of use
	late int             // rolledDevice.late when r was started
}

// of returns the entry of a device.
func (r *running) of(device gateway.DeviceID) *runningDevice {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.devices == nil {
		r.devices = map[gateway.DeviceID]*runningDevice{}
	}
	d := r.devices[device]
	if d == nil {
		d = &runningDevice{}
		r.devices[device] = d
	}
	return d
}

// drop forgets a device.
func (r *running) drop(device gateway.DeviceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devices, device)
}

// catch brings d up to what x has; state was known of the device before x was
// made. The lock is held.
func (d *runningDevice) catch(x *source, state rolledDevice) error {
	if state.newest == math.MinInt64 { // there are no readings
		return nil
	}
	from := max(state.to, state.newest-day)
	from -= (from%day + day) % day
	if d.r == nil || d.late != state.late || d.r.From() < from {
		// What is before is in rollups, and of what is not kept none are asked for.
		r, err := energy.StartRunning(x, from)
		if err != nil {
			return err
		}
		d.r, d.late, d.ok = r, state.late, true
	}
	if !d.ok || d.r.Last() >= state.newest {
		return nil
	}
	ok, err := d.r.Catch(x)
	d.ok = ok
	if err != nil {
		d.r = nil
	}
	return err
}

// catchUp brings the running sums up to date, the first time that they are
// asked for.
func (x *source) catchUp() error {
	if x.running == nil || x.caught {
		return nil
	}
	x.running.mu.Lock()
	defer x.running.mu.Unlock()
	err := x.running.catch(x, x.state)
	x.caught = err == nil // from now on Usual asks it, too
	return err
}

// runningSums appends to sums those of a span that are not in rollups yet.
func (x *source) runningSums(sums []energy.Sum, from, to gateway.Instant) []energy.Sum {
	if x.running == nil {
		return sums
	}
	x.running.mu.Lock()
	defer x.running.mu.Unlock()
	if x.running.r == nil || !x.running.ok {
		return sums
	}
	return x.running.r.Sums(sums, from, to)
}

// runningUsual returns the usual interval of a day that is not in rollups yet,
// if it is known.
func (x *source) runningUsual(at gateway.Instant) (gateway.Instant, bool) {
	if x.running == nil || !x.caught {
		return 0, false
	}
	x.running.mu.Lock()
	defer x.running.mu.Unlock()
	if x.running.r == nil || !x.running.ok {
		return 0, false
	}
	return x.running.r.Usual(at)
}
