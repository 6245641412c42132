package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Figures of the loop.
const (
	// longest is how long the loop sleeps at most, so that it notices a step of
	// the wall clock.
	longest = time.Minute
	// distrusted is how often it asks whether the clock is trusted by now.
	distrusted = 10 * time.Second
	// resubmit is how soon it tries again when its request was not accepted for
	// now.
	resubmit = time.Second
	// smallStep is how far the clock may go back while what was handed over
	// stays handed over. After a longer step the clock was wrong before, and the
	// loop begins anew, as cron does.
	smallStep = 3 * time.Hour
	// A wish that was not done is handed over again when the device comes back,
	// and, while it is there, after each rest, so many times.
	rest    = 5 * time.Minute
	repeats = 3
)

// Kinds of sources of the loop's requests.
const (
	kindSchedule  = "schedule"  // an occurrence, or a schedule that was set
	kindReconcile = "reconcile" // the device does not do what is wanted
)

// Config holds the parts of a Loop.
type Config struct {
	// Devices returns all devices as they are now. Not nil.
	Devices func() []gateway.Device
	// Zone is the household's. Nil: UTC.
	Zone *time.Location
	// Now is the wall clock. Nil: time.Now.
	Now func() time.Time
	// Trusted reports whether the clock can be trusted; nothing is handed over
	// while it cannot. Nil: always.
	Trusted func() bool
	// Submit takes a request; an error with CodeUnavailable means "later". It
	// must not block. Not nil.
	Submit func(r gateway.Request) error
	// State returns what a device reported. Not nil.
	State func(id gateway.DeviceID) (gateway.DeviceState, bool)

	Logger *slog.Logger // nil: nothing is logged
}

// Loop hands over what schedules want when it becomes wanted. Use NewLoop.
type Loop struct {
	cfg  Config
	wake chan struct{} // holds one token while there is something new

	tracks map[gateway.DeviceID]*track // of the goroutine in Run alone
	ready  bool                        // the clock was trusted in the last turn

	mu       sync.Mutex
	progress time.Time
	news     map[gateway.DeviceID]news
}

// news is what the commands of a device told since the last turn.
type news uint8

const (
	newsFailed   news = 1 + iota // what a schedule wanted was not done
	newsOverride                 // somebody wants something else
)

// track is what the loop knows of one device.
type track struct {
	schedule gateway.Schedule
	plan     Plan
	done     time.Time // what became wanted until then was handed over
	next     time.Time // when to look at the plan again
	waits    *wanted   // a wish that was not accepted yet
	missed   bool      // the last wish was not done, and nobody wants otherwise
	away     bool      // the device was not there since
	retry    time.Time // when a missed wish may be handed over again
	repeats  int       // how often it was
}

// wanted is a wish to hand over, and why.
type wanted struct {
	Want
	kind string // of the source
}

// NewLoop returns a loop that does nothing yet.
func NewLoop(cfg Config) (*Loop, error) {
	if cfg.Devices == nil || cfg.Submit == nil || cfg.State == nil {
		return nil, errors.New("schedule: Devices, Submit and State must be given")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trusted == nil {
		cfg.Trusted = func() bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Loop{
		cfg: cfg, wake: make(chan struct{}, 1), progress: time.Now(),
		tracks: map[gateway.DeviceID]*track{}, news: map[gateway.DeviceID]news{},
	}, nil
}

// Wake makes the loop look at the devices anew: one was added, changed or
// removed, or its schedule was set. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Command tells the loop of each change of a command. If a schedule's command
// came to nothing, the loop asks again when the device is there, unless
// somebody asked for something else since. It never blocks.
func (l *Loop) Command(c gateway.Command) {
	ours := c.Source.Kind == kindSchedule || c.Source.Kind == kindReconcile
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ours && (c.Status == gateway.CommandFailed || c.Status == gateway.CommandExpired):
		if l.news[c.Device] != newsOverride {
			l.news[c.Device] = newsFailed
		}
	case !ours && c.Status == gateway.CommandQueued:
		l.news[c.Device] = newsOverride
	}
}

// Progress returns when the loop last looked at everything, for a watchdog.
// While Run lives this is never much longer than a minute ago.
func (l *Loop) Progress() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.progress
}

// Run hands over what becomes wanted until ctx ends, and returns nil then. At
// its beginning, and when a schedule was set, it hands over what is wanted
// where the device does not report that it does it. After a time in which it
// could not run, only the newest wish of a device counts. A panic of a part
// that was handed in becomes an error. Run must be called once.
func (l *Loop) Run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("running schedules: %v", p)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-timer.C:
		}
		timer.Reset(l.turn())
	}
}

// due is a wish to hand over to a device.
type due struct {
	device gateway.DeviceID
	wish   wanted
}

// turn does what is due and returns how long to sleep.
func (l *Loop) turn() time.Duration {
	told := l.takeNews()
	if !l.cfg.Trusted() {
		if l.ready {
			l.cfg.Logger.Warn("clock is not trusted any more, schedules rest")
		}
		l.ready = false
		return distrusted
	}
	kind := kindSchedule
	if !l.ready { // what the clock said before counts for nothing
		clear(l.tracks)
		l.ready, kind = true, kindReconcile
	}
	now := l.cfg.Now()
	devices := l.cfg.Devices()
	l.forget(devices)
	var list []due
	for _, d := range devices {
		if w := l.look(d, now, kind, told[d.ID]); w != nil {
			list = append(list, due{d.ID, *w})
		}
	}
	// In the order in which the wishes came up, then in that of the devices.
	slices.SortStableFunc(list, func(a, b due) int { return a.wish.Since.Compare(b.wish.Since) })
	sleep := longest
	for _, w := range list {
		if !l.hand(w) {
			sleep = resubmit
		}
	}
	for _, t := range l.tracks {
		sleep = min(sleep, t.next.Sub(now))
	}
	return max(sleep, 0)
}

// takeNews returns what was told since the last turn, and notes the turn.
func (l *Loop) takeNews() map[gateway.DeviceID]news {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = time.Now()
	n := l.news
	l.news = map[gateway.DeviceID]news{}
	return n
}

// forget drops the devices that are there no more.
func (l *Loop) forget(devices []gateway.Device) {
	there := make(map[gateway.DeviceID]bool, len(devices))
	for _, d := range devices {
		there[d.ID] = true
	}
	for id := range l.tracks {
		if !there[id] {
			delete(l.tracks, id)
		}
	}
}

// look returns what is to be handed over to a device now, or nil. kind is that
// of a wish that comes from a schedule which is new to the loop.
func (l *Loop) look(d gateway.Device, now time.Time, kind string, told news) *wanted {
	t := l.tracks[d.ID]
	if t == nil || !reflect.DeepEqual(t.schedule, d.Schedule) {
		t = &track{schedule: d.Schedule, plan: NewPlan(d.Schedule, l.cfg.Zone)}
		l.tracks[d.ID] = t
		return l.begin(d.ID, t, now, kind)
	}
	switch told {
	case newsFailed:
		t.missed = true
	case newsOverride:
		t.missed, t.waits = false, nil
	}
	switch {
	case now.Before(t.done.Add(-smallStep)):
		l.cfg.Logger.Warn("clock went back, schedule begins anew", "device", d.ID)
		return l.begin(d.ID, t, now, kindReconcile)
	case !now.Before(t.next):
		if w := l.changed(d.ID, t, now); w != nil {
			return w
		}
	}
	if t.missed && t.waits == nil {
		return l.again(d.ID, t, now)
	}
	return t.waits
}

// begin starts a device's track at now. It returns what is wanted, if the
// device does not report that it does it.
func (l *Loop) begin(id gateway.DeviceID, t *track, now time.Time, kind string) *wanted {
	t.pass(now)
	t.waits, t.missed = nil, false
	w, ok := t.plan.Wanted(now)
	if !ok || l.does(id, w) {
		return nil
	}
	t.repeats = 0
	return &wanted{w, kind}
}

// changed returns what became wanted since the last look, the newest wish if
// there were several, or nil.
func (l *Loop) changed(id gateway.DeviceID, t *track, now time.Time) *wanted {
	last := t.done
	w, ok := t.plan.Wanted(now)
	t.pass(now)
	switch {
	case !ok:
		return nil
	case w.Since.IsZero(): // longer ago than plans tell
		if now.Before(last.AddDate(0, 0, horizon)) || l.does(id, w) {
			return nil
		}
	case !w.Since.After(last):
		return nil
	}
	t.missed, t.repeats = false, 0
	return &wanted{w, kindSchedule}
}

// again returns a wish that was not done, once the device is there to do it.
func (l *Loop) again(id gateway.DeviceID, t *track, now time.Time) *wanted {
	w, ok := t.plan.Wanted(now)
	if !ok || l.does(id, w) {
		t.missed = false
		return nil
	}
	if s, ok := l.cfg.State(id); !ok || !s.Online {
		t.away = true
		return nil
	}
	switch {
	case t.away:
		t.repeats = 0
	case now.Before(t.retry) || t.repeats >= repeats:
		return nil
	}
	t.away = false
	t.repeats++
	return &wanted{w, kindReconcile}
}

// pass notes that all until now is being handed over, and when to look again.
func (t *track) pass(now time.Time) {
	t.done = now
	t.next = now.Add(24 * time.Hour) // no wall clock: just some time
	if o, ok := t.plan.Next(now); ok {
		t.next = o.At
	}
}

// does reports whether a device does what is wanted.
func (l *Loop) does(id gateway.DeviceID, w Want) bool {
	s, ok := l.cfg.State(id)
	return ok && s.Does(w.Action, w.PowerState)
}

// hand puts a wish through the door. It returns false if that must be tried
// again.
func (l *Loop) hand(w due) bool {
	t := l.tracks[w.device]
	t.waits, t.missed = nil, false
	t.retry = l.cfg.Now().Add(rest)
	err := l.cfg.Submit(gateway.Request{
		Device: w.device, Action: w.wish.Action, PowerState: w.wish.PowerState,
		Source: gateway.Source{Kind: w.wish.kind},
	})
	switch {
	case err == nil:
		return true
	case gateway.CodeOf(err) == gateway.CodeUnavailable:
		t.waits = &w.wish
		return false
	}
	l.cfg.Logger.Warn("schedule cannot be followed", "device", w.device, "err", err)
	return true
}
