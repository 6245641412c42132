package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dispatch"
)

// house is a household whose devices note what reaches them. Its methods are
// the parts of a Dispatcher.
type house struct {
	mu      sync.Mutex
	start   time.Time
	devices []gateway.Device
	states  map[gateway.DeviceID]gateway.DeviceState
	members []gateway.Member
	sent    []string // "SECONDS TOPIC PAYLOAD"
	expires []gateway.Instant
	relays  []string // "ID on"
	records []string // "ID STATUS"
	events  []gateway.Event
	publish error
	relay   error
}

// newHouse has a plug (1), a lamp (2), a relay (3) and a meter (4).
func newHouse() *house {
	return &house{
		start: time.Now(), states: map[gateway.DeviceID]gateway.DeviceState{},
		devices: []gateway.Device{
			{ID: 1, Alias: "plug", Dialect: "tasmota", Topic: "plug"},
			{ID: 2, Alias: "lamp", Dialect: "tasmota", Topic: "lamp"},
			{ID: 3, Alias: "boiler", Relay: &gateway.Relay{Line: "gpiochip0:17"}},
			{ID: 4, Alias: "meter", Dialect: "meter", Topic: "meter"},
		},
	}
}

func (h *house) device(id gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		if d.ID == id {
			return d, h.states[id], true
		}
	}
	return gateway.Device{}, gateway.DeviceState{}, false
}

func (h *house) config() dispatch.Config {
	locked := func(fn func()) { h.mu.Lock(); defer h.mu.Unlock(); fn() }
	return dispatch.Config{
		Device:  h.device,
		Devices: func() []gateway.Device { return h.devices },
		Members: func() []gateway.Member { return h.members },
		Encode: func(d gateway.Device, c gateway.Command) ([]gateway.Message, error) {
			if d.Dialect == "meter" {
				return nil, errors.New("meters take no commands")
			}
			want := string(c.Action)
			if c.Action == gateway.ActionPowerState {
				want = c.PowerState.String()
			}
			return []gateway.Message{{Topic: d.Topic, Payload: []byte(want)}}, nil
		},
		Publish: func(m gateway.Message) (err error) {
			locked(func() {
				at := int(time.Since(h.start) / time.Second)
				h.sent = append(h.sent, fmt.Sprintf("%d %s %s", at, m.Topic, m.Payload))
				h.expires, err = append(h.expires, m.Expires), h.publish
			})
			return err
		},
		Relay: func(id gateway.DeviceID, on bool) (err error) {
			locked(func() { h.relays, err = append(h.relays, fmt.Sprint(id, " ", on)), h.relay })
			return err
		},
		Record: func(c gateway.Command) {
			locked(func() { h.records = append(h.records, fmt.Sprint(c.Device, " ", c.Status)) })
		},
		Event: func(e gateway.Event) { locked(func() { h.events = append(h.events, e) }) },
	}
}

// run starts a dispatcher of h that ends with the test.
func (h *house) run(t *testing.T) *dispatch.Dispatcher {
	t.Helper()
	d, err := dispatch.New(h.config())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

func (h *house) sentNow() []string { h.mu.Lock(); defer h.mu.Unlock(); return slices.Clone(h.sent) }

// sleep lets time pass in a bubble, and what is due at its end happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func request(id gateway.DeviceID, a gateway.Action) gateway.Request {
	return gateway.Request{Device: id, Action: a, Source: gateway.Source{Kind: "api"}}
}

func submit(t *testing.T, d *dispatch.Dispatcher, r gateway.Request) gateway.Command {
	t.Helper()
	c, err := d.Submit(r)
	if err != nil {
		t.Fatal(err)
	}
	if c.Status != gateway.CommandQueued || c.ID == "" || c.Created == 0 {
		t.Errorf("accepted %+v, want a queued command with id and time", c)
	}
	return c
}

// reported is a device's own report of on or off.
func reported(id gateway.DeviceID, on bool) gateway.DeviceState {
	return gateway.DeviceState{Device: id, Known: gateway.KnownOn, On: on, Online: true}
}

func wantStatus(
	t *testing.T, d *dispatch.Dispatcher, c gateway.Command, want gateway.CommandStatus, tries int,
) {
	t.Helper()
	got, ok := d.Command(c.ID)
	if !ok || got.Status != want || got.Tries != tries {
		t.Errorf("command %s of device %d: got %q after %d tries (%s), known %v; want %q after %d",
			c.Action, c.Device, got.Status, got.Tries, got.Reason, ok, want, tries)
	}
}

func wantSent(t *testing.T, h *house, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, h.sentNow()); diff != "" {
		t.Errorf("messages: want -, got +\n%s", diff)
	}
}

func TestDispatcher_Submit_confirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		c := submit(t, d, request(1, gateway.ActionOn))
		synctest.Wait()
		wantStatus(t, d, c, gateway.CommandSent, 1)
		if got, want := h.expires[0], c.Created+30*gateway.Second; got != want {
			t.Errorf("message expires at %v, want %v", got, want)
		}
		d.Reported(reported(1, false)) // the opposite
		d.Reported(reported(2, true))  // another device
		wantStatus(t, d, c, gateway.CommandSent, 1)
		d.Reported(reported(1, true))
		wantStatus(t, d, c, gateway.CommandConfirmed, 1)
		sleep(time.Minute)
		wantSent(t, h, "0 plug on")
		want := []string{"1 queued", "1 sent", "1 confirmed"}
		if diff := cmp.Diff(want, h.records); diff != "" {
			t.Errorf("records: want -, got +\n%s", diff)
		}
		if len(h.events) != 0 {
			t.Errorf("events of a success: %+v", h.events)
		}
	})
}

func TestDispatcher_Submit_triesThreeTimesThenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.publish = errors.New("nobody listens")
		d := h.run(t)
		c := submit(t, d, request(1, gateway.ActionOn))
		sleep(30*time.Second - time.Millisecond)
		wantStatus(t, d, c, gateway.CommandSent, 3)
		sleep(time.Millisecond)
		wantStatus(t, d, c, gateway.CommandFailed, 3)
		sleep(5 * time.Minute)
		wantSent(t, h, "0 plug on", "10 plug on", "20 plug on")
		for _, e := range h.expires {
			if e != c.Created+30*gateway.Second {
				t.Errorf("a message expires at %v, want 30 s after %v", e, c.Created)
			}
		}
		if len(h.events) != 1 {
			t.Fatalf("%d events, want 1: %+v", len(h.events), h.events)
		}
		e := h.events[0]
		if e.Kind != gateway.EventCommandFailed || e.Device != 1 || e.Source.Kind != "api" ||
			!strings.Contains(e.Text, "plug was not switched to on") ||
			!strings.Contains(e.Text, "nobody listens") {
			t.Errorf("event: %+v", e)
		}
		d.Reported(reported(1, true)) // too late
		wantStatus(t, d, c, gateway.CommandFailed, 3)
	})
}

// TestDispatcher_Submit_silentDevice checks that a device that tells changes
// alone has not failed if it does already what was asked.
func TestDispatcher_Submit_silentDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.states[1], h.states[2] = reported(1, true), reported(2, true)
		gone := h.states[2]
		gone.Online = false
		h.states[2] = gone
		d := h.run(t)
		there := submit(t, d, request(1, gateway.ActionOn))
		away := submit(t, d, request(2, gateway.ActionOn))
		sleep(31 * time.Second)
		wantStatus(t, d, there, gateway.CommandConfirmed, 3)
		wantStatus(t, d, away, gateway.CommandFailed, 3)
	})
}

func TestDispatcher_Submit_powerState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		r := request(1, gateway.ActionPowerState)
		r.PowerState = gateway.D2
		c := submit(t, d, r)
		synctest.Wait()
		s := reported(1, false)
		s.Known |= gateway.KnownPowerState
		s.PowerState = gateway.D3hot
		d.Reported(s)
		wantStatus(t, d, c, gateway.CommandSent, 1)
		s.PowerState = gateway.D2
		d.Reported(s)
		wantStatus(t, d, c, gateway.CommandConfirmed, 1)
		wantSent(t, h, "0 plug D2")
	})
}

func TestDispatcher_Submit_newerSupersedes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		first := submit(t, d, request(1, gateway.ActionOn))
		synctest.Wait()
		second := submit(t, d, request(1, gateway.ActionOff))
		synctest.Wait()
		wantStatus(t, d, second, gateway.CommandQueued, 0) // the first may still be confirmed
		third := submit(t, d, request(1, gateway.ActionOn))
		wantStatus(t, d, second, gateway.CommandSuperseded, 0)
		d.Reported(reported(1, true))
		synctest.Wait()
		wantStatus(t, d, first, gateway.CommandConfirmed, 1)
		wantStatus(t, d, third, gateway.CommandSent, 1)
		// Without a confirmation the next one does not wait for the retries.
		fourth := submit(t, d, request(1, gateway.ActionOff))
		sleep(2*time.Second - time.Millisecond)
		wantStatus(t, d, fourth, gateway.CommandQueued, 0)
		sleep(time.Millisecond)
		wantStatus(t, d, third, gateway.CommandSuperseded, 1)
		wantStatus(t, d, fourth, gateway.CommandSent, 1)
		wantSent(t, h, "0 plug on", "0 plug on", "2 plug off")
		sleep(40 * time.Second)
		if len(h.events) != 1 || !strings.Contains(h.events[0].Text, "to off") {
			t.Errorf("events: %+v, want one for the last command", h.events)
		}
	})
}

func TestDispatcher_Submit_urgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		under := submit(t, d, request(1, gateway.ActionOn))
		synctest.Wait()
		waits := submit(t, d, request(1, gateway.ActionOn))
		other := submit(t, d, request(2, gateway.ActionOn))
		r := request(1, gateway.ActionOff)
		r.Urgent = true
		urgent := submit(t, d, r)
		synctest.Wait()
		wantStatus(t, d, under, gateway.CommandSuperseded, 1)
		wantStatus(t, d, waits, gateway.CommandSuperseded, 0)
		wantStatus(t, d, other, gateway.CommandSent, 1)
		wantStatus(t, d, urgent, gateway.CommandSent, 1)
		wantSent(t, h, "0 plug on", "0 lamp on", "0 plug off")
	})
}

func TestDispatcher_Submit_devicesAreIndependent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		deaf := submit(t, d, request(1, gateway.ActionOn))
		sleep(5 * time.Second)
		c := submit(t, d, request(2, gateway.ActionOff))
		boiler := submit(t, d, request(3, gateway.ActionOn))
		synctest.Wait()
		d.Reported(reported(2, false))
		wantStatus(t, d, deaf, gateway.CommandSent, 1)
		wantStatus(t, d, c, gateway.CommandConfirmed, 1)
		wantStatus(t, d, boiler, gateway.CommandConfirmed, 1)
		wantSent(t, h, "0 plug on", "5 lamp off")
	})
}

func TestDispatcher_Submit_relay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.devices[0].Relay = &gateway.Relay{Line: "gpiochip0:18"} // and a dialect: the relay counts
		d := h.run(t)
		submit(t, d, request(3, gateway.ActionOn))
		r := request(1, gateway.ActionPowerState)
		r.PowerState = gateway.D3cold
		submit(t, d, r)
		synctest.Wait()
		h.relay = errors.New("line is gone")
		c := submit(t, d, request(3, gateway.ActionOff))
		synctest.Wait()
		wantStatus(t, d, c, gateway.CommandFailed, 1)
		if diff := cmp.Diff([]string{"3 true", "1 false", "3 false"}, h.relays); diff != "" {
			t.Errorf("relays: want -, got +\n%s", diff)
		}
		wantSent(t, h)
		if len(h.events) != 1 || h.events[0].Text != "boiler was not switched to off: line is gone" {
			t.Errorf("events: %+v", h.events)
		}
	})
}

func TestDispatcher_Submit_toggle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		_, err := d.Submit(request(1, gateway.ActionToggle))
		if gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("unknown state: got %v, want it refused", err)
		}
		h.states[1], h.states[2] = reported(1, true), reported(2, false)
		if c := submit(t, d, request(1, gateway.ActionToggle)); c.Action != gateway.ActionOff {
			t.Errorf("device that is on: got %s", c.Action)
		}
		if c := submit(t, d, request(2, gateway.ActionToggle)); c.Action != gateway.ActionOn {
			t.Errorf("device that is off: got %s", c.Action)
		}
	})
}

func TestDispatcher_Submit_refuses(t *testing.T) {
	h := newHouse()
	h.devices = append(h.devices, gateway.Device{ID: 5, Alias: "note"})
	cfg := h.config()
	cfg.Relay = nil
	d, err := dispatch.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		r    gateway.Request
		want gateway.Code
	}{
		{"unknown device", request(99, gateway.ActionOn), gateway.CodeNotFound},
		{"unknown action", request(1, "explode"), gateway.CodeInvalid},
		{"meter", request(4, gateway.ActionOn), gateway.CodeInvalid},
		{"nothing to switch", request(5, gateway.ActionOn), gateway.CodeInvalid},
		{"relay without relays", request(3, gateway.ActionOn), gateway.CodeUnavailable},
	}
	for _, tt := range tests {
		if c, err := d.Submit(tt.r); gateway.CodeOf(err) != tt.want || c.ID != "" {
			t.Errorf("%s: got %+v, %v; want %s", tt.name, c, err, tt.want)
		}
	}
	if len(h.records) != 0 {
		t.Errorf("what was refused was recorded: %v", h.records)
	}
}

func TestDispatcher_Submit_queueFull(t *testing.T) {
	h := newHouse()
	h.devices = nil
	for i := range dispatch.QueueSize + 1 {
		h.devices = append(h.devices, gateway.Device{
			ID: gateway.DeviceID(i + 1), Dialect: "tasmota", Topic: fmt.Sprint("d", i+1),
		})
	}
	d, err := dispatch.New(h.config())
	if err != nil {
		t.Fatal(err)
	}
	for i := range dispatch.QueueSize {
		submit(t, d, request(gateway.DeviceID(i+1), gateway.ActionOn))
	}
	_, err = d.Submit(request(dispatch.QueueSize+1, gateway.ActionOn))
	if gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("one more: got %v, want unavailable", err)
	}
	submit(t, d, request(7, gateway.ActionOff)) // takes the place of another
}

func TestDispatcher_Command_forgetsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		pending := submit(t, d, request(1, gateway.ActionOn))
		var done []gateway.Command
		for range 300 {
			done = append(done, submit(t, d, request(3, gateway.ActionOn)))
			synctest.Wait()
		}
		known := 0
		for _, c := range done {
			if _, ok := d.Command(c.ID); ok {
				known++
			}
		}
		if _, ok := d.Command(done[299].ID); !ok || known != 255 {
			t.Errorf("%d of the ended ones are known, the newest %v; want 255 with it", known, ok)
		}
		wantStatus(t, d, pending, gateway.CommandSent, 1)
	})
}

func TestDispatcher_Run_tooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d, err := dispatch.New(h.config())
		if err != nil {
			t.Fatal(err)
		}
		old := submit(t, d, request(1, gateway.ActionOn))
		sleep(25 * time.Second)
		late := submit(t, d, request(2, gateway.ActionOn))
		sleep(5 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		sleep(time.Minute)
		wantStatus(t, d, old, gateway.CommandExpired, 0)
		wantStatus(t, d, late, gateway.CommandFailed, 3)
		wantSent(t, h, "30 lamp on", "40 lamp on", "50 lamp on")
		for _, e := range h.expires {
			if e != late.Created+30*gateway.Second {
				t.Errorf("a message expires at %v, want 30 s after %v", e, late.Created)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDispatcher_Run_end(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d, err := dispatch.New(h.config())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		sent := submit(t, d, request(1, gateway.ActionOn))
		synctest.Wait()
		waits := submit(t, d, request(1, gateway.ActionOff))
		before := d.Progress()
		sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v, want a clean end", err)
		}
		wantStatus(t, d, sent, gateway.CommandExpired, 1)
		wantStatus(t, d, waits, gateway.CommandExpired, 0)
		if len(h.events) != 0 {
			t.Errorf("events: %+v", h.events)
		}
		_, err = d.Submit(request(1, gateway.ActionOn))
		if gateway.CodeOf(err) != gateway.CodeUnavailable {
			t.Errorf("after the end: got %v, want unavailable", err)
		}
		if d.Progress().Before(before) {
			t.Error("progress went back")
		}
	})
}

func TestDispatcher_Run_panicOfAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		cfg := h.config()
		cfg.Relay = func(gateway.DeviceID, bool) error { panic("broken driver") }
		d, err := dispatch.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		submit(t, d, request(3, gateway.ActionOn))
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "broken driver") {
			t.Errorf("got %v, want the panic as an error", err)
		}
	})
}

func TestDispatcher_Progress_whileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newHouse().run(t)
		for range 5 {
			sleep(10 * time.Second)
			if ago := time.Since(d.Progress()); ago > 10*time.Second {
				t.Fatalf("progress was %v ago", ago)
			}
		}
	})
}

// TestDispatcher_wallClockStep checks that a step of the wall clock does not
// end a command that is under way.
func TestDispatcher_wallClockStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		cfg := h.config()
		var mu sync.Mutex
		step := time.Duration(0)
		cfg.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(step) }
		d, err := dispatch.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		c := submit(t, d, request(1, gateway.ActionOn))
		synctest.Wait()
		mu.Lock()
		step = 50 * 365 * 24 * time.Hour
		mu.Unlock()
		sleep(15 * time.Second)
		wantStatus(t, d, c, gateway.CommandSent, 2)
		if got, want := h.expires[1], gateway.InstantOf(cfg.Now().Add(15*time.Second)); got != want {
			t.Errorf("the second message expires at %v, want %v", got, want)
		}
		d.Reported(reported(1, true))
		wantStatus(t, d, c, gateway.CommandConfirmed, 2)
		cancel()
		<-done
	})
}

// TestDispatcher_concurrent is for the race detector, and checks that every
// command ends.
func TestDispatcher_concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		d := h.run(t)
		var wg sync.WaitGroup
		ids := make(chan string, 1000)
		for g := range 8 {
			wg.Go(func() {
				for i := range 50 {
					r := request(gateway.DeviceID(1+(g+i)%3), gateway.ActionOn)
					r.Urgent = i%7 == 0
					if c, err := d.Submit(r); err == nil {
						ids <- c.ID
					}
					d.Reported(reported(gateway.DeviceID(1+i%2), true))
					d.Progress()
				}
			})
		}
		wg.Wait()
		close(ids)
		sleep(2 * time.Minute)
		n := 0
		for id := range ids {
			n++
			if c, ok := d.Command(id); ok && !c.Status.Ended() {
				t.Errorf("command is still %s", c.Status)
			}
		}
		if n != 400 {
			t.Errorf("%d of 400 were accepted", n)
		}
	})
}
