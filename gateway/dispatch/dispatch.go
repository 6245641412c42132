package dispatch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Figures of the queue and of a command's life.
const (
	// QueueSize is how many requests may wait; Submit refuses more.
	QueueSize = 1024
	// Lifetime is how long a command lives from when it was accepted.
	Lifetime = 30 * time.Second
	// Tries is how often a command is sent at most.
	Tries = 3
	// retryAfter is the time from one try to the next.
	retryAfter = 10 * time.Second
	// settle is how long a command is left to be confirmed, after a try, before
	// a newer one of the same device takes its place.
	settle = 2 * time.Second
	// remembered is how many commands Command knows.
	remembered = 256
	// idle is the longest that Run sleeps, so that Progress moves on.
	idle = 10 * time.Second
)

// Config holds the parts of a Dispatcher.
type Config struct {
	// Device returns a device and its reported state. Not nil.
	Device func(id gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool)
	// Devices returns all devices. Not nil.
	Devices func() []gateway.Device
	// Members returns all members, for broadcasts. Not nil.
	Members func() []gateway.Member
	// Encode writes a command in the device's dialect. An error means that the
	// device cannot be told this. Not nil.
	Encode func(d gateway.Device, c gateway.Command) ([]gateway.Message, error)
	// Publish sends a message and never blocks. Not nil.
	Publish func(m gateway.Message) error
	// Relay switches the GPIO line of a device. Nil: there are no relays.
	Relay func(device gateway.DeviceID, on bool) error
	// Record is told of each change of a command, in order; Event of each
	// command that failed. Both must not block and must not call the
	// Dispatcher. Nil: nobody is told.
	Record func(c gateway.Command)
	Event  func(e gateway.Event)

	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // the wall clock, for stamps; nil: time.Now
}

// Dispatcher carries requests to devices. Use New.
type Dispatcher struct {
	cfg  Config
	wake chan struct{} // holds one token while there is something new

	mu       sync.Mutex
	seq      uint64 // of the newest job
	waiting  []*job // in the order of acceptance, at most one of each device
	active   map[gateway.DeviceID]*job
	recent   map[string]*job
	order    []string // the ids in recent, oldest first
	stopped  bool
	progress time.Time
}

// New returns a Dispatcher that does nothing yet.
func New(cfg Config) (*Dispatcher, error) {
	switch {
	case cfg.Device == nil || cfg.Devices == nil || cfg.Members == nil:
		return nil, errors.New("dispatch: Device, Devices and Members must be given")
	case cfg.Encode == nil || cfg.Publish == nil:
		return nil, errors.New("dispatch: Encode and Publish must be given")
	}
	if cfg.Record == nil {
		cfg.Record = func(gateway.Command) {}
	}
	if cfg.Event == nil {
		cfg.Event = func(gateway.Event) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Dispatcher{
		cfg: cfg, wake: make(chan struct{}, 1),
		active: map[gateway.DeviceID]*job{}, recent: map[string]*job{},
		progress: time.Now(),
	}, nil
}

// Submit accepts a request and returns the command that it became, queued. It
// never blocks. The error is a *gateway.Error: CodeNotFound for an unknown
// device, CodeInvalid for a request that the device cannot be asked, and
// CodeUnavailable if too many wait or the gateway stops.
func (d *Dispatcher) Submit(r gateway.Request) (gateway.Command, error) {
	c, err := d.accept(r)
	if err != nil {
		return gateway.Command{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return gateway.Command{}, gateway.Unavailablef("the gateway is stopping")
	}
	i := slices.IndexFunc(d.waiting, func(j *job) bool { return j.cmd.Device == c.Device })
	if i < 0 && len(d.waiting) >= QueueSize {
		return gateway.Command{}, gateway.Unavailablef("%d commands wait already; try again later",
			len(d.waiting))
	}
	if i >= 0 {
		old := d.waiting[i]
		d.waiting = slices.Delete(d.waiting, i, i+1)
		d.end(old, gateway.CommandSuperseded, "a newer command came")
	}
	d.seq++
	j := &job{cmd: c, seq: d.seq, accepted: time.Now()}
	d.waiting = append(d.waiting, j)
	d.remember(j)
	d.cfg.Record(c)
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
	return c, nil
}

// accept makes a command of a request, or tells why it cannot be one.
func (d *Dispatcher) accept(r gateway.Request) (c gateway.Command, err error) {
	if err := r.Check(); err != nil {
		return c, err
	}
	dev, state, ok := d.cfg.Device(r.Device)
	if !ok {
		return c, gateway.NotFoundf("there is no device %d", r.Device)
	}
	if r.Action == gateway.ActionToggle {
		switch {
		case state.Does(gateway.ActionOn, gateway.PowerUnknown):
			r.Action = gateway.ActionOff
		case state.Does(gateway.ActionOff, gateway.PowerUnknown):
			r.Action = gateway.ActionOn
		default:
			return c, gateway.Invalidf("%s has not told whether it is on; ask for on or off", dev.Alias)
		}
	}
	now := gateway.InstantOf(d.cfg.Now())
	c = gateway.Command{
		ID: newID(), Device: r.Device, Action: r.Action, PowerState: r.PowerState, Urgent: r.Urgent,
		Source: r.Source, Status: gateway.CommandQueued, Created: now, Updated: now,
	}
	return c, d.able(dev, c)
}

// able tells why the device cannot be asked this, or returns nil.
func (d *Dispatcher) able(dev gateway.Device, c gateway.Command) error {
	switch {
	case dev.Relay != nil && d.cfg.Relay == nil:
		return gateway.Unavailablef("%s has a relay, but there are no relays here", dev.Alias)
	case dev.Relay != nil:
		return nil
	case dev.Dialect == "":
		return gateway.Invalidf("%s cannot be switched: it has neither a relay nor a dialect", dev.Alias)
	}
	msgs, err := d.cfg.Encode(dev, c)
	if err == nil && len(msgs) == 0 {
		return gateway.Invalidf("%s cannot be switched", dev.Alias)
	}
	if err != nil && gateway.CodeOf(err) == gateway.CodeInternal {
		return &gateway.Error{
			Code: gateway.CodeInvalid, Message: dev.Alias + " cannot be asked this", Err: err,
		}
	}
	return err
}

// newID returns an id that no other command has: 80 random bits in base 32.
func newID() string { return rand.Text()[:16] }

// Reported tells the state of a device after a report of its own. It confirms
// the command that is under way, if that is what it wants.
func (d *Dispatcher) Reported(s gateway.DeviceState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	j := d.active[s.Device]
	if j == nil || !s.Does(j.cmd.Action, j.cmd.PowerState) {
		return
	}
	d.finish(j, gateway.CommandConfirmed, "")
	select {
	case d.wake <- struct{}{}: // another one may wait
	default:
	}
}

// Command returns a recent command.
func (d *Dispatcher) Command(id string) (gateway.Command, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.recent[id]; j != nil {
		return j.cmd, true
	}
	return gateway.Command{}, false
}

// Progress returns when Run last looked at everything, for a watchdog. While
// Run lives this is never much longer than 10 s ago.
func (d *Dispatcher) Progress() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.progress
}

// Run carries requests out until ctx ends, and returns nil then. What is not
// done by then ends: nothing is sent later. A panic of a part that was handed
// in becomes an error. Run must be called once.
func (d *Dispatcher) Run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("dispatching commands: %v", p)
		}
		d.stop()
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		timer.Reset(d.turn(time.Now()))
	}
}
