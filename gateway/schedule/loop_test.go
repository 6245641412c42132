package schedule_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/schedule"
)

// home is what a loop sees. Its clock is the bubble's, which begins on
// 2000-01-01 00:00 UTC, a Saturday, moved by step.
type home struct {
	mu       sync.Mutex
	step     time.Duration
	distrust bool
	devices  []gateway.Device
	states   map[gateway.DeviceID]gateway.DeviceState
	log      []string // "HH:MM:SS ID WISH KIND"
	refusal  error
}

func (h *home) now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return time.Now().Add(h.step) }

// set changes something under the lock.
func (h *home) set(fn func()) { h.mu.Lock(); defer h.mu.Unlock(); fn() }

// report is a device's own report.
func (h *home) report(id gateway.DeviceID, on, online bool) {
	h.set(func() {
		h.states[id] = gateway.DeviceState{Device: id, Known: gateway.KnownOn, On: on, Online: online}
	})
}

// take returns what was handed over since the last call.
func (h *home) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.log
	h.log = nil
	return l
}

// run starts a loop over h that ends with the test.
func (h *home) run(t *testing.T) *schedule.Loop {
	t.Helper()
	l, err := schedule.NewLoop(schedule.Config{
		Devices: func() (list []gateway.Device) {
			h.set(func() { list = slices.Clone(h.devices) })
			return list
		},
		Now:     h.now,
		Trusted: func() bool { h.mu.Lock(); defer h.mu.Unlock(); return !h.distrust },
		State: func(id gateway.DeviceID) (gateway.DeviceState, bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			s, ok := h.states[id]
			return s, ok
		},
		Submit: func(r gateway.Request) error {
			at := h.now().UTC().Format("15:04:05")
			h.mu.Lock()
			defer h.mu.Unlock()
			h.log = append(h.log, fmt.Sprintf("%s %d %s %s",
				at, r.Device, word(r.Action, r.PowerState), r.Source.Kind))
			return h.refusal
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

func newHome(devices ...gateway.Device) *home {
	return &home{devices: devices, states: map[gateway.DeviceID]gateway.DeviceState{}}
}

// timed is a device that is to be on in a span.
func timed(id gateway.DeviceID, iv ...gateway.Interval) gateway.Device {
	return gateway.Device{ID: id, Schedule: gateway.Schedule{Intervals: iv}}
}

// pass lets time pass in a bubble, and what is due at its end happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func wantHanded(t *testing.T, h *home, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, h.take()); diff != "" {
		t.Errorf("%s: want -, got +\n%s", when, diff)
	}
}

func TestLoop_Run_dayOfTwoDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pc := gateway.Device{ID: 2, Schedule: gateway.Schedule{Power: []gateway.PowerInterval{
			{Interval: span(1100, 600), During: gateway.D2, After: gateway.D0},
		}}}
		h := newHome(timed(1, span(830, 1100)), pc, gateway.Device{ID: 3})
		h.run(t)
		pass(24 * time.Hour)
		wantHanded(t, h, "the day",
			"00:00:00 1 off reconcile", "00:00:00 2 D2 reconcile",
			"06:00:00 2 D0 schedule",
			"08:30:00 1 on schedule",
			"11:00:00 1 off schedule", "11:00:00 2 D2 schedule")
	})
}

func TestLoop_Run_startSparesWhoObeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(800, 900)), timed(2, span(800, 900)), timed(3, span(800, 900)))
		h.report(1, false, true)
		h.report(2, true, true)
		h.run(t)
		pass(time.Hour)
		wantHanded(t, h, "start", "00:00:00 2 off reconcile", "00:00:00 3 off reconcile")
		pass(7 * time.Hour)
		wantHanded(t, h, "occurrence",
			"08:00:00 1 on schedule", "08:00:00 2 on schedule", "08:00:00 3 on schedule")
	})
}

func TestLoop_Wake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(800, 900)))
		h.report(1, false, true)
		l := h.run(t)
		pass(30 * time.Second)
		h.set(func() { h.devices = []gateway.Device{timed(1, span(0, 200)), timed(2, span(0, 100))} })
		l.Wake()
		synctest.Wait()
		wantHanded(t, h, "a schedule was set and a device added",
			"00:00:30 1 on schedule", "00:00:30 2 on schedule")
		h.report(1, true, true)
		h.set(func() { h.devices = []gateway.Device{timed(1, span(0, 300))} })
		l.Wake()
		l.Wake()
		pass(4 * time.Hour)
		wantHanded(t, h, "set again, and the other removed", "03:00:00 1 off schedule")
	})
}

func TestLoop_Run_missedSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(100, 200), span(300, 400)), timed(2, span(100, 2300)),
			timed(3, span(2300, 2330)))
		for id := range gateway.DeviceID(4) {
			h.report(id, false, true)
		}
		h.run(t)
		pass(30 * time.Second)
		h.set(func() { h.step = 12 * time.Hour })
		pass(time.Minute) // no more: the loop notices
		wantHanded(t, h, "12 hours later", "12:01:00 2 on schedule", "12:01:00 1 off schedule")
		h.set(func() { h.step += 40 * 24 * time.Hour })
		pass(time.Minute)
		wantHanded(t, h, "40 days later",
			"12:02:00 3 off schedule", "12:02:00 2 on schedule", "12:02:00 1 off schedule")
	})
}

func TestLoop_Run_stepBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(800, 1000)))
		h.report(1, false, true)
		h.run(t)
		pass(8*time.Hour + 30*time.Minute)
		wantHanded(t, h, "before", "08:00:00 1 on schedule")
		h.report(1, true, true)
		h.set(func() { h.step = -time.Hour })
		pass(2 * time.Hour)
		wantHanded(t, h, "an hour back: 08:00 does not come twice")
		pass(time.Hour)
		wantHanded(t, h, "and then", "10:00:00 1 off schedule")
		h.report(1, false, true)
		h.set(func() { h.step -= 5 * 24 * time.Hour }) // it was wrong by days: begin anew
		pass(24 * time.Hour)
		wantHanded(t, h, "days back", "08:00:00 1 on schedule", "10:00:00 1 off schedule")
	})
}

func TestLoop_Run_untrustedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(100, 200), span(500, 1000)))
		h.set(func() { h.distrust, h.step = true, -10*365*24*time.Hour })
		l := h.run(t)
		pass(6 * time.Hour)
		wantHanded(t, h, "not trusted")
		if ago := time.Since(l.Progress()); ago > 10*time.Second {
			t.Errorf("progress was %v ago", ago)
		}
		h.set(func() { h.distrust, h.step = false, 0 })
		pass(10 * time.Second)
		wantHanded(t, h, "trusted", "06:00:10 1 on reconcile")
		h.set(func() { h.distrust = true })
		pass(20 * time.Hour)
		wantHanded(t, h, "not any more")
	})
}

func TestLoop_Run_refusedForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(100, 200)))
		h.report(1, false, true)
		h.run(t)
		h.set(func() { h.refusal = gateway.Unavailablef("full") })
		pass(time.Hour + 2*time.Second)
		h.set(func() { h.refusal = nil })
		pass(time.Hour - 3*time.Second)
		wantHanded(t, h, "tried until it is accepted",
			"01:00:00 1 on schedule", "01:00:01 1 on schedule",
			"01:00:02 1 on schedule", "01:00:03 1 on schedule")
		h.set(func() { h.refusal = gateway.Invalidf("cannot be switched") })
		pass(time.Hour)
		wantHanded(t, h, "refused for good", "02:00:00 1 off schedule")
	})
}

// failed is the end of a schedule's command.
func failed(id gateway.DeviceID) gateway.Command {
	return gateway.Command{
		Device: id, Status: gateway.CommandFailed, Source: gateway.Source{Kind: "schedule"},
	}
}

func TestLoop_Command_missedWish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(100, 200)))
		h.report(1, false, false)
		l := h.run(t)
		pass(time.Hour)
		wantHanded(t, h, "while it is away", "01:00:00 1 on schedule")
		pass(30 * time.Second)
		l.Command(failed(1))
		pass(9*time.Minute + 30*time.Second)
		wantHanded(t, h, "it stays away")
		h.report(1, false, true)
		l.Wake()
		synctest.Wait()
		wantHanded(t, h, "it is back", "01:10:00 1 on reconcile")
		l.Command(failed(1)) // it is there, but does not obey
		pass(49 * time.Minute)
		wantHanded(t, h, "once: that one was not told to have failed", "01:15:00 1 on reconcile")
	})
}

func TestLoop_Command_givesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(100, 2300)))
		h.report(1, false, true)
		l := h.run(t)
		n := 0
		for range 12 * 60 {
			pass(time.Minute)
			for range h.take() {
				n++
				l.Command(failed(1))
			}
		}
		if n != 4 {
			t.Errorf("handed over %d times to a device that never obeys, want 1 + 3", n)
		}
	})
}

func TestLoop_Command_override(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(timed(1, span(100, 200)))
		h.report(1, false, false)
		l := h.run(t)
		pass(time.Hour + 30*time.Second)
		wantHanded(t, h, "while it is away", "01:00:00 1 on schedule")
		l.Command(failed(1))
		l.Command(gateway.Command{
			Device: 1, Status: gateway.CommandQueued, Source: gateway.Source{Kind: "api"},
		})
		h.report(1, false, true)
		pass(time.Hour)
		wantHanded(t, h, "somebody wants it otherwise until then", "02:00:00 1 off schedule")
	})
}

func TestLoop_Run_panicOfAPart(t *testing.T) {
	l, err := schedule.NewLoop(schedule.Config{
		Devices: func() []gateway.Device { panic("broken") },
		Submit:  func(gateway.Request) error { return nil },
		State: func(gateway.DeviceID) (s gateway.DeviceState, ok bool) {
			return s, false
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("got %v, want the panic as an error", err)
	}
}

// TestLoop_Run_year checks that a year of the loop is a year of the
// plan, both changes of the clock included.
func TestLoop_Run_year(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := zone(t, "Europe/Berlin")
		d := timed(1, span(230, 430), span(2200, 100, 5, 6))
		var got []string
		l, err := schedule.NewLoop(schedule.Config{
			Devices: func() []gateway.Device { return []gateway.Device{d} },
			Zone:    z,
			Submit: func(r gateway.Request) error {
				got = append(got, time.Now().UTC().Format("01-02T15:04Z ")+string(r.Action))
				return nil
			},
			State: func(gateway.DeviceID) (gateway.DeviceState, bool) {
				return gateway.DeviceState{Known: gateway.KnownOn}, true
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		from := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		pass(366 * 24 * time.Hour)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := show(schedule.NewPlan(d.Schedule, z).Occurrences(from.Add(1), time.Now()))
		if diff := cmp.Diff(want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("want -, got +\n%s", diff)
		}
	})
}
