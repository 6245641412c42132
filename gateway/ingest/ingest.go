// Package ingest takes what devices say and brings it to where it belongs:
// the registry, those who watch, the scheduler and the disk.
//
// It owns the way of a message (which device, which dialect, is it to be
// believed) and the group commit of readings. It must not know how a message
// came in, how readings are laid out on disk, or who watches.
//
// # Time
//
// A reading is stamped with its arrival unless the device's own time is
// plausible; what a dialect thinks of a device's clock is the dialect's
// matter, what is plausible stands in gateway.Reading.Check.
//
// # Concurrency
//
// Handle, Add and Request may be called from any goroutine; Run is called
// once and owns the goroutine that commits.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect"
)

// Devices is the registry, as ingest needs it.
type Devices interface {
	Device(id gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool)
	Find(dialect, topic string) (id gateway.DeviceID, ok bool)
	Reject(id gateway.DeviceID, reason string, at gateway.Instant) gateway.DeviceState
}

// Config is what an Ingest works with. All but the intervals must be set.
type Config struct {
	Logger  *slog.Logger
	Devices Devices
	// Report takes a report of a device into the registry and tells everyone
	// concerned. It must not block.
	Report func(id gateway.DeviceID, r gateway.Report, at gateway.Instant)
	// Rejected is told of a message that was not taken. It must not block.
	Rejected func(s gateway.DeviceState)
	// Request asks the scheduler for something in a client's name. It must not
	// block.
	Request func(r gateway.Request) error
	// Append stores readings; they are durable when it returns nil. It must not
	// keep rs. See store.Store.
	Append func(ctx context.Context, rs []gateway.Reading) error
	// Failing is told when storing begins to fail (with the reason) and when it
	// works again (with nil). It must not block.
	Failing func(err error)
	// Now is the wall clock; Zone is the household's.
	Now  func() time.Time
	Zone *time.Location
	// Commit says how long readings may wait for others; zero means at once.
	Commit CommitIntervals
}

// Ingest takes messages. Use New.
type Ingest struct {
	cfg      Config
	rows     map[string]dialect.Dialect // in the household's zone
	targets  sync.Map                   // of what was found out about devices: id to *target
	requests allowances
	committer
}

// New returns an Ingest that is not running yet.
func New(cfg Config) *Ingest {
	in := &Ingest{cfg: cfg, rows: map[string]dialect.Dialect{}, committer: newCommitter(cfg)}
	for _, row := range dialect.All() {
		in.rows[row.Name] = row.In(cfg.Zone)
	}
	return in
}

// errRefused tells the broker that a message is acknowledged and dropped.
type errRefused struct{ reason string }

// Error implements error.
func (e errRefused) Error() string { return e.reason }

// Handle takes one message of a client that was allowed to publish it. done,
// if not nil, is called exactly once, perhaps before Handle returns: with nil
// when the message may be acknowledged, with an error when its readings could
// not be stored. If Handle returns an error instead, done is not called: the
// message is acknowledged, but must not be passed on to others.
func (in *Ingest) Handle(m gateway.Message, done func(error)) error {
	if name, ok := requestOf(m.Topic); ok {
		if err := in.request(name, m); err != nil {
			return err
		}
		answer(done, nil)
		return nil
	}
	t, ok := in.route(m)
	if !ok {
		answer(done, nil)
		return nil
	}
	if t.isCommand(m.Topic) {
		if m.Retain {
			return in.reject(t.id, m, "retained command on "+m.Topic+" by "+m.Client.Name)
		}
		answer(done, nil)
		return nil
	}
	reports, err := t.row.Decode(m.Topic, m.Payload, m.At)
	if err != nil {
		return in.reject(t.id, m, err.Error())
	}
	return in.take(t.id, m, reports, done)
}

// requestOf returns the device of a topic on which clients ask for something.
func requestOf(topic string) (name string, ok bool) {
	if name, ok = strings.CutPrefix(topic, "wattle/"); ok {
		name, ok = strings.CutSuffix(name, "/request")
	}
	return name, ok
}

// target is a device and how to understand it.
type target struct {
	id       gateway.DeviceID
	topic    string // the device's, as row has it
	row      dialect.Dialect
	commands []string // filters of the topics on which it takes commands
}

// isCommand reports whether topic is one on which the device takes commands.
func (t *target) isCommand(topic string) bool {
	for _, f := range t.commands {
		if gateway.MatchTopic(f, topic) {
			return true
		}
	}
	return false
}

// route finds the device that a message is about: by the credential, or for a
// bridge by the topic.
func (in *Ingest) route(m gateway.Message) (*target, bool) {
	if m.Client.Device != 0 {
		return in.target(m.Client.Device)
	}
	for _, row := range dialect.All() {
		for _, name := range row.Names(m.Topic) {
			if id, ok := in.cfg.Devices.Find(row.Name, name); ok {
				return in.target(id)
			}
		}
	}
	return nil, false
}

// target returns what is known of a device, which is worked out again only
// when the device changes.
func (in *Ingest) target(id gateway.DeviceID) (*target, bool) {
	known, _ := in.targets.Load(id)
	if t, ok := known.(*target); ok {
		if now, ok := in.cfg.Devices.Find(t.row.Name, t.topic); ok && now == id {
			return t, true
		}
	}
	in.targets.Delete(id)
	d, _, ok := in.cfg.Devices.Device(id)
	if !ok {
		return nil, false
	}
	row, ok := in.rows[d.Dialect]
	if !ok {
		return nil, false
	}
	t := &target{id: id, topic: d.Topic, row: row, commands: row.Topics(d.Topic).Commands}
	in.targets.Store(id, t)
	return t, true
}

// take checks the readings of a message, tells what was reported and queues
// the readings for the disk.
func (in *Ingest) take(
	id gateway.DeviceID, m gateway.Message, reports []gateway.Report, done func(error),
) error {
	readings := make([]gateway.Reading, 0, 4) // most need no more
	for i := range reports {
		r := &reports[i]
		rd, ok := r.Reading(m.At)
		if !ok || !dialect.Main(*r) {
			continue
		}
		if err := rd.Check(m.At); err != nil {
			return in.reject(id, m, err.Error())
		}
		rd.Device = id
		readings = append(readings, rd)
	}
	for i := range reports {
		if dialect.Main(reports[i]) {
			in.cfg.Report(id, reports[i], m.At)
		}
	}
	if len(readings) == 0 {
		answer(done, nil)
		return nil
	}
	in.add(readings, m.QoS > 0 && done != nil, done)
	return nil
}

// Add stores readings that came by another way than MQTT, such as REST, and
// returns when they are durable. They must have been checked.
func (in *Ingest) Add(ctx context.Context, rs []gateway.Reading) error {
	if len(rs) == 0 {
		return nil
	}
	stored := make(chan error, 1)
	in.add(rs, true, func(err error) { stored <- err })
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reject counts a message that was not taken.
func (in *Ingest) reject(id gateway.DeviceID, m gateway.Message, reason string) error {
	s := in.cfg.Devices.Reject(id, reason, m.At)
	if s.Rejected.Count == 1 { // the rest is counted, and readable over the API
		in.cfg.Logger.Warn("rejecting a message", "device", id, "topic", m.Topic, "reason", reason)
	}
	in.cfg.Rejected(s)
	return errRefused{reason}
}

// request takes ON, OFF, TOGGLE or the body of a command from a client.
func (in *Ingest) request(name string, m gateway.Message) error {
	id, ok := in.cfg.Devices.Find(dialect.Native, name)
	if !ok {
		return errRefused{"no device " + name}
	}
	if m.Retain {
		return in.reject(id, m, "retained request by "+m.Client.Name)
	}
	if !in.requests.take(m.Client.Credential, in.cfg.Now()) {
		return in.reject(id, m, "too many requests by "+m.Client.Name)
	}
	r, err := ParseRequest(m.Payload)
	if err != nil {
		return in.reject(id, m, err.Error())
	}
	r.Device = id
	r.Source = gateway.Source{Kind: "mqtt", Member: m.Client.Name}
	if err := in.cfg.Request(r); err != nil {
		return in.reject(id, m, err.Error())
	}
	return nil
}

// ParseRequest reads ON, OFF, TOGGLE or the JSON body of a command.
func ParseRequest(payload []byte) (gateway.Request, error) {
	switch string(payload) {
	case "ON":
		return gateway.Request{Action: gateway.ActionOn}, nil
	case "OFF":
		return gateway.Request{Action: gateway.ActionOff}, nil
	case "TOGGLE":
		return gateway.Request{Action: gateway.ActionToggle}, nil
	}
	var body struct {
		Action     gateway.Action     `json:"action"`
		PowerState gateway.PowerState `json:"power_state"`
		Urgent     bool               `json:"urgent"`
	}
	dec := json.NewDecoder(strings.NewReader(string(payload)))
	dec.DisallowUnknownFields()
	err := dec.Decode(&body)
	_, rest := dec.Token() // nothing may follow
	if err != nil || !errors.Is(rest, io.EOF) {
		return gateway.Request{},
			gateway.Invalidf("request: want ON, OFF, TOGGLE or the body of a command")
	}
	r := gateway.Request{Action: body.Action, PowerState: body.PowerState, Urgent: body.Urgent}
	return r, r.Check()
}
