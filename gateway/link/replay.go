package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Figures of a replay.
const (
	replayPause = 50 * time.Millisecond // the least between two messages of a device
	replayBatch = 100                   // readings in one message at most
	replayTake  = 2000                  // rows taken before any is sent, at most
	replayQueue = 64                    // messages of a device that wait, at most
)

// Login is what a device needs to publish as a native device.
type Login struct {
	Topic    string // NAME in wattle/NAME/reading
	Username string
	Password string
}

// Recorded says what Replay does.
type Recorded struct {
	Broker string   // as Options.Broker
	Files  []string // CSV, or CSV in gzip: device,time,power_w[,energy_wh]
	// Zone is the one of times without an offset. It must not be nil.
	Zone *time.Location
	// Credential gives each device of the files its login. It is asked once
	// for each, in order of their names. nil means the device's name as topic,
	// and a broker that asks for no password.
	Credential func(device string) (Login, error)
	// From, unless zero, leaves out what was recorded before it.
	From time.Time
	// Speed is how many seconds of the recording pass in one; 0 means 60, and
	// +Inf as fast as the broker takes it.
	Speed float64
	// Shift moves the recording so that its last reading is of the moment at
	// which it is due; else readings keep the times that they were taken.
	Shift  bool
	Logger *slog.Logger     // must not be nil
	Now    func() time.Time // the wall clock; nil means time.Now
}

// Replayed is what became of a replay.
type Replayed struct {
	Devices      int
	Readings     int64 // sent
	Messages     int64 // that they were in
	Acknowledged int64 // readings that the broker acknowledged
	Refused      int64 // readings that it refused for good
	First, Last  time.Time
}

// Replay lets recorded devices publish what they measured: each device of the
// files is a native MQTT client, readings carry their own times, and go out in
// order of time over all files with QoS 1. Readings of a device that are due
// together share a message. When the broker is slower than the recording, the
// replay waits.
//
// It returns when all was acknowledged or refused; if ctx ends before, with
// ctx's error and the counts so far. A fault in a file is found before
// anything is sent and is a *RowError.
func Replay(ctx context.Context, cfg Recorded) (Replayed, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Speed == 0 {
		cfg.Speed = 60
	}
	if !(cfg.Speed > 0) {
		return Replayed{}, gateway.Invalidf("speed %g: want more than 0", cfg.Speed)
	}
	p, err := cfg.survey()
	if err != nil {
		return Replayed{}, err
	}
	if len(p.devices) == 0 {
		return Replayed{}, gateway.Invalidf("the files hold no reading from %s on",
			cfg.From.Format(time.RFC3339))
	}
	return p.run(ctx)
}

// replay is a replay under way.
type replay struct {
	cfg     Recorded
	recs    []recording
	devices map[string]*replayed
	first   gateway.Instant // of the recording
	last    gateway.Instant
	shift   gateway.Instant // added to every instant
	began   time.Time
	cancel  context.CancelFunc

	mu     sync.Mutex
	counts Replayed
}

// replayed is one device of a replay.
type replayed struct {
	prefix string
	client *Client
	due    []gateway.Reading

	mu     sync.Mutex
	flying []int // readings in each message not yet settled, in order
}

// survey reads the files once: which devices there are, and from when to when.
func (cfg Recorded) survey() (*replay, error) {
	p := &replay{cfg: cfg, devices: map[string]*replayed{}, first: math.MaxInt64}
	if len(cfg.Files) == 0 {
		return nil, gateway.Invalidf("no file to replay is named")
	}
	for _, name := range cfg.Files {
		rec, err := survey(name, cfg.Zone, func(v sample) {
			if p.early(v.r.At) {
				return
			}
			if _, ok := p.devices[v.device]; !ok {
				p.devices[v.device] = &replayed{}
			}
			p.first, p.last = min(p.first, v.r.At), max(p.last, v.r.At)
		})
		if err != nil {
			return nil, err
		}
		if p.recs = append(p.recs, rec); len(p.devices) > mostDevices {
			return nil, gateway.Invalidf("%d devices in the files; want %d at most",
				len(p.devices), mostDevices)
		}
	}
	return p, nil
}

// early reports whether an instant is before the ones asked for.
func (p *replay) early(at gateway.Instant) bool {
	return !p.cfg.From.IsZero() && at < gateway.InstantOf(p.cfg.From)
}

// run connects the devices and sends all.
func (p *replay) run(ctx context.Context) (Replayed, error) {
	ctx, p.cancel = context.WithCancel(ctx)
	defer p.cancel()
	for _, name := range slices.Sorted(maps.Keys(p.devices)) {
		if err := p.prepare(name, p.devices[name]); err != nil {
			return Replayed{}, err
		}
	}
	p.began = p.cfg.Now()
	if p.cfg.Shift {
		took := time.Duration(0)
		if !math.IsInf(p.cfg.Speed, 1) {
			took = time.Duration(float64(p.last-p.first) / p.cfg.Speed * float64(time.Millisecond))
		}
		p.shift = gateway.InstantOf(p.began.Add(took)) - p.last
	}
	p.counts.Devices = len(p.devices)
	p.counts.First, p.counts.Last = (p.first + p.shift).Time(), (p.last + p.shift).Time()

	clients, stop := context.WithCancel(ctx)
	defer stop()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for name, d := range p.devices {
		wg.Go(func() {
			if err := d.client.Run(clients); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("replaying %q: %w", name, err))
				p.cancel()
			}
		})
	}
	err := p.send(ctx)
	stop()
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(errs) > 0 {
		err = errors.Join(errs...)
	}
	return p.counts, err
}

// prepare makes a device's client.
func (p *replay) prepare(name string, d *replayed) (err error) {
	login := Login{Topic: name}
	if p.cfg.Credential != nil {
		if login, err = p.cfg.Credential(name); err != nil {
			return fmt.Errorf("finding the login of %q: %w", name, err)
		}
	}
	d.prefix = "wattle/" + login.Topic
	birth, will := nativePresence(d.prefix)
	d.client, err = NewClient(Options{
		Broker:   p.cfg.Broker,
		ClientID: login.Topic,
		Username: login.Username,
		Password: login.Password,
		Birth:    birth,
		Will:     will,
		Queue:    replayQueue,
		Logger:   p.cfg.Logger.With("device", name),
		Settled:  func(_ gateway.Message, err error) { p.settled(d, err) },
	})
	return err
}

// settled counts what the broker answered.
func (p *replay) settled(d *replayed, err error) {
	d.mu.Lock()
	n := int64(d.flying[0])
	d.flying = d.flying[1:]
	d.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.counts.Refused += n
	} else {
		p.counts.Acknowledged += n
	}
}

// send takes rows as they become due and waits until all is settled.
func (p *replay) send(ctx context.Context) error {
	rows := newMerger(p.recs, p.cfg.Zone)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, more, err := p.take(rows)
		if err == nil {
			err = p.publish(ctx)
		}
		if err != nil {
			return errors.Join(err, rows.Close())
		}
		if !more {
			break
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), rows.Close())
		}
	}
	for _, d := range p.devices {
		if err := d.client.Flush(ctx); err != nil {
			return err
		}
	}
	return rows.Close()
}

// take gathers the rows that are due and returns how long it is to the next.
func (p *replay) take(rows *merger) (wait time.Duration, more bool, err error) {
	now := p.cfg.Now()
	for range replayTake {
		v, ok, err := rows.peek()
		if err != nil || !ok {
			return 0, false, err
		}
		if !p.early(v.r.At) {
			if wait := p.due(v.r.At).Sub(now); wait > 0 {
				return max(wait, replayPause), true, nil
			}
			v.r.At += p.shift
			d := p.devices[v.device]
			d.due = append(d.due, v.r)
		}
		if err := rows.drop(); err != nil {
			return 0, false, err
		}
	}
	return 0, true, nil
}

// due returns when a reading taken at the given instant is sent.
func (p *replay) due(at gateway.Instant) time.Time {
	if math.IsInf(p.cfg.Speed, 1) {
		return p.began
	}
	passed := float64(at-p.first) / p.cfg.Speed * float64(time.Millisecond)
	return p.began.Add(time.Duration(passed))
}

// publish sends what was gathered; it waits while a device's queue is full.
func (p *replay) publish(ctx context.Context) error {
	for _, d := range p.devices {
		for batch := range slices.Chunk(d.due, replayBatch) {
			m, err := nativeReadings(d.prefix, batch)
			if err != nil {
				return fmt.Errorf("encoding readings of %s: %w", d.prefix, err)
			}
			d.mu.Lock()
			d.flying = append(d.flying, len(batch))
			d.mu.Unlock()
			if err := d.client.SendWait(ctx, m); err != nil {
				return err
			}
			p.mu.Lock()
			p.counts.Messages++
			p.counts.Readings += int64(len(batch))
			p.mu.Unlock()
		}
		d.due = d.due[:0]
	}
	return nil
}
