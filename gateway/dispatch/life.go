package dispatch

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// job is a command and when to go on with it. Guarded by the mutex of the
// Dispatcher.
type job struct {
	cmd      gateway.Command
	seq      uint64    // rises with each command
	accepted time.Time // with the monotonic clock, as are the following
	sent     time.Time // the last try
	next     time.Time // the next try, or the end
	problem  string    // of the last try
}

// deadline is when the command's life ends.
func (j *job) deadline() time.Time { return j.accepted.Add(Lifetime) }

// turn does what is due and returns how long to sleep.
func (d *Dispatcher) turn(now time.Time) time.Duration {
	due := d.take(now)
	for _, j := range due {
		d.try(j)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = time.Now()
	next := now.Add(idle)
	for _, j := range d.active {
		next = earlier(next, j.next)
	}
	for _, j := range d.waiting {
		if a := d.active[j.cmd.Device]; a != nil {
			next = earlier(next, a.sent.Add(settle))
		}
		next = earlier(next, j.deadline())
	}
	return max(0, next.Sub(d.progress))
}

// earlier returns the earlier of two times, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// take ends what is too old, puts under way what may be, and returns the
// commands to send now, in the order of acceptance.
func (d *Dispatcher) take(now time.Time) (due []*job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = slices.DeleteFunc(d.waiting, func(j *job) bool {
		if !now.Before(j.deadline()) {
			d.end(j, gateway.CommandExpired, "it waited longer than 30 s")
			return true
		}
		a := d.active[j.cmd.Device]
		if a != nil && !j.cmd.Urgent && now.Before(a.sent.Add(settle)) {
			return false
		}
		if a != nil {
			d.end(a, gateway.CommandSuperseded, "a newer command took its place")
		}
		j.next, j.sent = now, now
		d.active[j.cmd.Device] = j
		return true
	})
	for _, j := range d.active {
		switch {
		case now.Before(j.next):
		case !now.Before(j.deadline()):
			d.giveUp(j)
		default:
			j.cmd.Tries++
			j.cmd.Status, j.sent, j.next = gateway.CommandSent, now, now.Add(retryAfter)
			if j.cmd.Tries >= Tries || j.next.After(j.deadline()) {
				j.next = j.deadline()
			}
			d.update(j)
			due = append(due, j)
		}
	}
	slices.SortFunc(due, func(a, b *job) int { return cmp.Compare(a.seq, b.seq) })
	return due
}

// try sends a command once. The relay's answer ends it; what a message did is
// told by the device.
func (d *Dispatcher) try(j *job) {
	d.mu.Lock()
	c, left := j.cmd, time.Until(j.deadline())
	d.mu.Unlock()
	if c.Status.Ended() {
		return
	}
	dev, _, ok := d.cfg.Device(c.Device)
	switch {
	case !ok:
		d.settleNow(j, gateway.CommandFailed, "the device was removed")
	case dev.Relay != nil && d.cfg.Relay == nil:
		d.settleNow(j, gateway.CommandFailed, "there are no relays here")
	case dev.Relay != nil:
		if err := d.cfg.Relay(c.Device, c.WantsOn()); err != nil {
			d.settleNow(j, gateway.CommandFailed, err.Error())
			return
		}
		d.settleNow(j, gateway.CommandConfirmed, "")
	default:
		err := d.send(dev, c, gateway.InstantOf(d.cfg.Now().Add(left)))
		d.mu.Lock()
		defer d.mu.Unlock()
		j.problem = ""
		if err != nil {
			j.problem = err.Error()
			d.cfg.Logger.Debug("command could not be sent", "command", c.ID, "device", c.Device, "err", err)
		}
	}
}

// send writes a command in the device's dialect and publishes it.
func (d *Dispatcher) send(dev gateway.Device, c gateway.Command, expires gateway.Instant) error {
	msgs, err := d.cfg.Encode(dev, c)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range msgs {
		if m.Expires == 0 || m.Expires > expires {
			m.Expires = expires
		}
		errs = append(errs, d.cfg.Publish(m))
	}
	return errors.Join(errs...)
}

// settleNow ends a command that was under way, unless it has ended meanwhile.
func (d *Dispatcher) settleNow(j *job, s gateway.CommandStatus, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !j.cmd.Status.Ended() {
		d.finish(j, s, reason)
	}
}

// giveUp ends a command at the end of its life. A device that is there and
// last told that it does what is wanted has not failed: some tell changes
// alone. The caller holds the lock.
func (d *Dispatcher) giveUp(j *job) {
	_, state, ok := d.cfg.Device(j.cmd.Device)
	switch {
	case ok && state.Online && state.Does(j.cmd.Action, j.cmd.PowerState):
		d.finish(j, gateway.CommandConfirmed, "")
	case j.problem != "":
		d.finish(j, gateway.CommandFailed, "the device did not confirm within 30 s: "+j.problem)
	default:
		d.finish(j, gateway.CommandFailed, "the device did not confirm within 30 s")
	}
}

// finish ends the command that is under way, with an event if it failed. The
// caller holds the lock.
func (d *Dispatcher) finish(j *job, s gateway.CommandStatus, reason string) {
	delete(d.active, j.cmd.Device)
	d.end(j, s, reason)
	if s != gateway.CommandFailed {
		return
	}
	name := fmt.Sprintf("device %d", j.cmd.Device)
	if dev, _, ok := d.cfg.Device(j.cmd.Device); ok {
		name = dev.Alias
	}
	d.cfg.Event(gateway.Event{
		At: j.cmd.Updated, Kind: gateway.EventCommandFailed, Device: j.cmd.Device, Source: j.cmd.Source,
		Text: fmt.Sprintf("%s was not switched to %s: %s", name, wish(j.cmd), reason),
	})
}

// wish names what a command wants, for people.
func wish(c gateway.Command) string {
	if c.Action == gateway.ActionPowerState {
		return c.PowerState.String()
	}
	return string(c.Action)
}

// end gives a command its last status. The caller holds the lock.
func (d *Dispatcher) end(j *job, s gateway.CommandStatus, reason string) {
	j.cmd.Status, j.cmd.Reason = s, reason
	d.update(j)
}

// update stamps and records a change of a command. The caller holds the lock.
func (d *Dispatcher) update(j *job) {
	j.cmd.Updated = gateway.InstantOf(d.cfg.Now())
	d.cfg.Record(j.cmd)
}

// remember keeps a command for Command, and forgets the oldest one that has
// ended if there are too many. The caller holds the lock.
func (d *Dispatcher) remember(j *job) {
	d.recent[j.cmd.ID], d.order = j, append(d.order, j.cmd.ID)
	if len(d.order) <= remembered {
		return
	}
	ended := func(id string) bool { return d.recent[id].cmd.Status.Ended() }
	if i := slices.IndexFunc(d.order, ended); i >= 0 {
		delete(d.recent, d.order[i])
		d.order = slices.Delete(d.order, i, i+1)
	}
}

// stop ends what is left when Run ends.
func (d *Dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	for _, j := range d.waiting {
		d.end(j, gateway.CommandExpired, "the gateway stopped")
	}
	d.waiting = nil
	for _, j := range d.active {
		d.end(j, gateway.CommandExpired, "the gateway stopped before the device confirmed")
	}
	clear(d.active)
}
