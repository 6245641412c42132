// Package power switches the household's relays.
//
// It owns which device has which line, the level of each line, and that every
// line has its safe level when the gateway stops. It must not know how a line
// is driven, or why it is switched: lines are opened by a function that is
// handed in.
//
// # Usage
//
// New, then Configure with the relays of all devices, and again when one
// changes. Run holds the lines until its context ends and then makes them
// safe. Whoever made the Relays also defers Close, which does nothing the
// second time: a panic must not leave a heater on.
//
// # Faults
//
// A line that cannot be opened is disabled with its reason, which Problems
// tells, and the others work.
//
// # Concurrency
//
// Relays are safe for concurrent use. One lock is held while a line is
// switched, so that each line has one writer; a driver that hangs holds up all
// of them.
package power

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/wattle-home/wattle/gateway"
)

// Line is an output that switches a relay.
type Line interface {
	// Set switches the relay on or off.
	Set(on bool) error
	// Close gives the line back. It does not change its level.
	Close() error
}

// Config holds the parts of Relays.
type Config struct {
	// Open takes the line of a relay and gives it its initial level in the same
	// step, so that the relay does not flicker. Not nil.
	Open func(r gateway.Relay) (Line, error)

	Logger *slog.Logger // nil: nothing is logged
}

// Relays are the household's relays. Use New.
type Relays struct {
	cfg Config

	mu      sync.Mutex
	outputs map[gateway.DeviceID]*output
	closed  bool
}

// output is a device's relay. line is nil while it is disabled, and problem
// says why.
type output struct {
	relay   gateway.Relay
	line    Line
	on      bool // the last level that was set
	problem string
}

// New returns Relays without any.
func New(cfg Config) (*Relays, error) {
	if cfg.Open == nil {
		return nil, errors.New("power: Open must be given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Relays{cfg: cfg, outputs: map[gateway.DeviceID]*output{}}, nil
}

// Check tells what is wrong with a relay's settings, or returns nil. The error
// is a *gateway.Error with CodeInvalid that names each field. An empty Initial
// or Safe means off.
func Check(r gateway.Relay) error {
	var bad []gateway.FieldError
	if strings.TrimSpace(r.Line) == "" {
		bad = append(bad, gateway.FieldError{
			Field: "relay.line", Detail: "is missing; want a line such as gpiochip0:17",
		})
	}
	if !slices.Contains([]string{"", "on", "off"}, r.Initial) {
		bad = append(bad, gateway.FieldError{
			Field: "relay.initial", Detail: fmt.Sprintf("%.20q is not on or off", r.Initial),
		})
	}
	if !slices.Contains([]string{"", "on", "off", "hold"}, r.Safe) {
		bad = append(bad, gateway.FieldError{
			Field: "relay.safe", Detail: fmt.Sprintf("%.20q is not on, off or hold", r.Safe),
		})
	}
	if len(bad) == 0 {
		return nil
	}
	e := gateway.Invalidf("the relay is not valid")
	e.Fields = bad
	return e
}

// Configure makes the relays those of the given devices. Lines that no device
// has any more get their safe level and are given back; lines that are new are
// opened with their initial level; a line whose level on stop alone changed
// stays as it is. A line that could not be opened before is tried again.
//
// The error is a *gateway.Error with CodeConflict if two devices have one
// line: it stays with the one that has it, else goes to the smaller id. The
// rest is done nevertheless.
func (r *Relays) Configure(relays map[gateway.DeviceID]gateway.Relay) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return gateway.Unavailablef("the relays are switched off: the gateway is stopping")
	}
	// Give back first: a line may go from one device to another.
	for _, id := range slices.Sorted(maps.Keys(r.outputs)) {
		o := r.outputs[id]
		want, ok := relays[id]
		if ok && o.line != nil && sameLine(o.relay, want) && Check(want) == nil {
			o.relay = want
			continue
		}
		delete(r.outputs, id)
		if err := o.release(); err != nil {
			r.cfg.Logger.Error("relay was not left safe", "device", id, "line", o.relay.Line, "err", err)
		}
	}
	owner := map[string]gateway.DeviceID{}
	for id, o := range r.outputs {
		owner[o.relay.Line] = id
	}
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(relays)) {
		want := relays[id]
		if r.outputs[id] != nil {
			continue
		}
		var o *output
		if other, taken := owner[want.Line]; taken {
			err := gateway.Conflictf("line %s belongs to device %d already", want.Line, other)
			o = &output{relay: want, problem: err.Error()}
			errs = append(errs, err)
		} else {
			o = r.open(want)
			owner[want.Line] = id
		}
		if o.problem != "" {
			r.cfg.Logger.Error("relay is disabled", "device", id, "line", want.Line, "reason", o.problem)
		}
		r.outputs[id] = o
	}
	return errors.Join(errs...)
}

// sameLine reports whether two settings drive one line in one way.
func sameLine(a, b gateway.Relay) bool { return a.Line == b.Line && a.ActiveLow == b.ActiveLow }

// open takes a line. What failed is in the output's problem.
func (r *Relays) open(relay gateway.Relay) *output {
	o := &output{relay: relay, on: relay.Initial == "on"}
	err := Check(relay)
	if err == nil {
		o.line, err = r.cfg.Open(relay)
	}
	if err != nil {
		o.line, o.problem = nil, err.Error()
	}
	return o
}

// release gives the line its safe level and back. Both are tried, and a driver
// that panics does not keep the caller from its other lines.
func (o *output) release() (err error) {
	if o.line == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("driver of the line: %v", p)
		}
	}()
	if o.relay.Safe != "hold" {
		on := o.relay.Safe == "on"
		if err = o.line.Set(on); err == nil {
			o.on = on
		}
	}
	err = errors.Join(err, o.line.Close())
	o.line, o.problem = nil, "the line was given back"
	return err
}

// Set switches the relay of a device. The error is a *gateway.Error:
// CodeNotFound for a device without a relay, CodeUnavailable for one that is
// disabled or whose line failed.
func (r *Relays) Set(device gateway.DeviceID, on bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.outputs[device]
	switch {
	case o == nil:
		return gateway.NotFoundf("device %d has no relay", device)
	case o.line == nil:
		return gateway.Unavailablef("the relay on %s is disabled: %s", o.relay.Line, o.problem)
	}
	if err := o.line.Set(on); err != nil {
		e := gateway.Unavailablef("the relay on %s could not be switched", o.relay.Line)
		e.Err = err
		return e
	}
	o.on = on
	return nil
}

// State returns the level that the relay of a device was last set to; known is
// false for a device without a relay and one that is disabled.
func (r *Relays) State(device gateway.DeviceID) (on, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.outputs[device]
	if o == nil || o.line == nil {
		return false, false
	}
	return o.on, true
}

// Problem is a relay that is disabled.
type Problem struct {
	Device gateway.DeviceID
	Line   string
	Reason string
}

// Problems returns the relays that are disabled, by device.
func (r *Relays) Problems() (list []Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, o := range r.outputs {
		if o.line == nil {
			list = append(list, Problem{id, o.relay.Line, o.problem})
		}
	}
	slices.SortFunc(list, func(a, b Problem) int { return cmp.Compare(a.Device, b.Device) })
	return list
}

// Run holds the lines until ctx ends, and then does what Close does, also on a
// panic.
func (r *Relays) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	<-ctx.Done()
	return nil
}

// Close gives each line its safe level and back; all are tried. From then on
// nothing can be switched. A second call does nothing.
func (r *Relays) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(r.outputs)) {
		o := r.outputs[id]
		if err := o.release(); err != nil {
			errs = append(errs, fmt.Errorf("making the relay of device %d on %s safe: %w",
				id, o.relay.Line, err))
		}
	}
	return errors.Join(errs...)
}
