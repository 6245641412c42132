package power_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/power"
)

// board is a chip whose lines note what happens to them. A line that is open
// cannot be opened again.
type board struct {
	mu     sync.Mutex
	open   map[string]bool
	log    []string
	broken map[string]error // by line: opening fails
	stuck  map[string]error // by line: setting fails
	panics map[string]bool  // by line: setting panics
}

type line struct {
	b    *board
	name string
}

func newBoard() *board {
	return &board{
		open: map[string]bool{}, broken: map[string]error{}, stuck: map[string]error{},
		panics: map[string]bool{},
	}
}

func (b *board) relays(t *testing.T) *power.Relays {
	t.Helper()
	r, err := power.New(power.Config{Open: b.openLine})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (b *board) openLine(r gateway.Relay) (power.Line, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.broken[r.Line]; err != nil {
		return nil, err
	}
	if b.open[r.Line] {
		return nil, errors.New("line " + r.Line + " is in use")
	}
	b.open[r.Line] = true
	b.log = append(b.log, fmt.Sprintf("open %s %v", r.Line, r.Initial == "on"))
	return line{b, r.Line}, nil
}

func (l line) Set(on bool) error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	if l.b.panics[l.name] {
		panic("driver")
	}
	if err := l.b.stuck[l.name]; err != nil {
		return err
	}
	l.b.log = append(l.b.log, fmt.Sprintf("set %s %v", l.name, on))
	return nil
}

func (l line) Close() error {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.b.open[l.name] = false
	l.b.log = append(l.b.log, "close "+l.name)
	return nil
}

func (b *board) want(t *testing.T, when string, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if diff := cmp.Diff(want, b.log); diff != "" {
		t.Errorf("%s: want -, got +\n%s", when, diff)
	}
	b.log = nil
}

type relays = map[gateway.DeviceID]gateway.Relay

func TestRelays_Configure_followsDevices(t *testing.T) {
	b := newBoard()
	r := b.relays(t)
	configure := func(m relays) {
		t.Helper()
		if err := r.Configure(m); err != nil {
			t.Error(err)
		}
	}
	configure(relays{1: {Line: "a", Initial: "on", Safe: "off"}, 2: {Line: "b", Safe: "on"}})
	b.want(t, "two devices", "open a true", "open b false")
	configure(relays{1: {Line: "a", Initial: "off", Safe: "on"}, 2: {Line: "b", Safe: "on"}})
	b.want(t, "levels alone: nothing is switched")
	configure(relays{2: {Line: "b", Safe: "on"}, 3: {Line: "a", Initial: "off", Safe: "off"}})
	b.want(t, "a line goes to another device", "set a true", "close a", "open a false")
	configure(relays{2: {Line: "b", Safe: "on"}, 3: {Line: "a", ActiveLow: true, Safe: "hold"}})
	b.want(t, "the other way round", "set a false", "close a", "open a false")
	configure(nil)
	b.want(t, "no devices", "set b true", "close b", "close a")
	if on, known := r.State(2); on || known {
		t.Errorf("a device without relay: got %v, %v", on, known)
	}
}

func TestRelays_Set(t *testing.T) {
	b := newBoard()
	r := b.relays(t)
	if err := r.Configure(relays{1: {Line: "a", Initial: "on"}}); err != nil {
		t.Fatal(err)
	}
	if on, known := r.State(1); !on || !known {
		t.Errorf("initial level: got %v, %v", on, known)
	}
	if err := r.Set(1, false); err != nil {
		t.Error(err)
	}
	if on, known := r.State(1); on || !known {
		t.Errorf("after off: got %v, %v", on, known)
	}
	b.stuck["a"] = errors.New("no such device")
	err := r.Set(1, true)
	if gateway.CodeOf(err) != gateway.CodeUnavailable || !errors.Is(err, b.stuck["a"]) {
		t.Errorf("a line that fails: got %v", err)
	}
	if on, _ := r.State(1); on {
		t.Error("a level that was not set counts")
	}
	if err := r.Set(9, true); gateway.CodeOf(err) != gateway.CodeNotFound {
		t.Errorf("no relay: got %v", err)
	}
	b.want(t, "in all", "open a true", "set a false")
}

func TestRelays_Configure_disablesWhatFails(t *testing.T) {
	b := newBoard()
	b.broken["a"] = errors.New("no permission")
	r := b.relays(t)
	settings := relays{
		1: {Line: "a"},
		2: {Line: "b"},
		3: {Line: "c", Initial: "maybe"},
	}
	if err := r.Configure(settings); err != nil {
		t.Error(err)
	}
	b.want(t, "the others work", "open b false")
	p := r.Problems()
	if len(p) != 2 || p[0] != (power.Problem{Device: 1, Line: "a", Reason: "no permission"}) ||
		p[1].Device != 3 || !strings.Contains(p[1].Reason, `"maybe" is not on or off`) {
		t.Errorf("problems: %+v", p)
	}
	err := r.Set(1, true)
	if gateway.CodeOf(err) != gateway.CodeUnavailable ||
		!strings.Contains(err.Error(), "no permission") {
		t.Errorf("switching a disabled one: got %v", err)
	}
	delete(b.broken, "a")
	if err := r.Configure(settings); err != nil {
		t.Error(err)
	}
	b.want(t, "it is tried again", "open a false")
	if p := r.Problems(); len(p) != 1 {
		t.Errorf("problems: %+v", p)
	}
}

func TestRelays_Configure_oneLineTwoDevices(t *testing.T) {
	b := newBoard()
	r := b.relays(t)
	err := r.Configure(relays{1: {Line: "a"}, 2: {Line: "a", Initial: "on"}, 3: {Line: "b"}})
	if gateway.CodeOf(err) != gateway.CodeConflict ||
		!strings.Contains(err.Error(), "a belongs to device 1") {
		t.Errorf("got %v, want a conflict", err)
	}
	b.want(t, "the first has it", "open a false", "open b false")
	if p := r.Problems(); len(p) != 1 || p[0].Device != 2 {
		t.Errorf("problems: %+v", p)
	}
	err = r.Configure(relays{0: {Line: "a"}, 1: {Line: "a"}})
	if gateway.CodeOf(err) != gateway.CodeConflict {
		t.Errorf("got %v, want a conflict", err)
	}
	b.want(t, "who has it keeps it", "set b false", "close b")
	if err := r.Configure(relays{2: {Line: "a", Initial: "on"}}); err != nil {
		t.Error(err)
	}
	b.want(t, "it is free", "set a false", "close a", "open a true")
}

func TestRelays_Run_makesSafe(t *testing.T) {
	b := newBoard()
	r := b.relays(t)
	err := r.Configure(relays{
		1: {Line: "a", Safe: "on"}, 2: {Line: "b", Safe: "off"}, 3: {Line: "c", Safe: "hold"},
		4: {Line: "d"}, 5: {Line: "e"}, 6: {Line: "f"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range gateway.DeviceID(4) {
		if err := r.Set(id+1, true); err != nil {
			t.Error(err)
		}
	}
	b.log = nil
	b.panics["a"], b.stuck["e"] = true, errors.New("welded")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	cancel()
	err = <-done
	if !errors.Is(err, b.stuck["e"]) || !strings.Contains(err.Error(), "device 5 on e safe") ||
		!strings.Contains(err.Error(), "device 1 on a safe") {
		t.Errorf("got %v, want both lines that failed", err)
	}
	b.want(t, "all the others", "set b false", "close b", "close c", "set d false", "close d",
		"close e", "set f false", "close f")
	if err := r.Close(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := r.Set(2, true); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("switching after the end: got %v", err)
	}
	if err := r.Configure(relays{1: {Line: "a"}}); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("configuring after the end: got %v", err)
	}
	b.want(t, "nothing after the end")
}

// brokenContext panics when it is asked for its end.
type brokenContext struct{ context.Context }

func (brokenContext) Done() <-chan struct{} { panic("broken") }

func TestRelays_Run_makesSafeOnPanic(t *testing.T) {
	b := newBoard()
	r := b.relays(t)
	if err := r.Configure(relays{1: {Line: "a", Initial: "on", Safe: "off"}}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = r.Run(brokenContext{t.Context()})
	}()
	b.want(t, "panic", "open a true", "set a false", "close a")
}

func TestCheck(t *testing.T) {
	for _, r := range []gateway.Relay{
		{Line: "gpiochip0:17"},
		{Line: "x", Initial: "off", Safe: "hold"},
		{Line: "x", Initial: "on", Safe: "on"},
	} {
		if err := power.Check(r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	var e *gateway.Error
	err := power.Check(gateway.Relay{Line: " ", Initial: "hold", Safe: "ON"})
	if !errors.As(err, &e) || e.Code != gateway.CodeInvalid || len(e.Fields) != 3 {
		t.Fatalf("got %v, want three faults", err)
	}
	for i, want := range []string{"relay.line", "relay.initial", "relay.safe"} {
		if e.Fields[i].Field != want {
			t.Errorf("fault %d: got %s, want %s", i, e.Fields[i].Field, want)
		}
	}
}

func TestRelays_concurrent(t *testing.T) {
	b := newBoard()
	r := b.relays(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				id := gateway.DeviceID(1 + (g+i)%3)
				_ = r.Configure(relays{id: {Line: fmt.Sprint("l", id)}, 9: {Line: "z"}})
				_ = r.Set(9, i%2 == 0)
				r.State(id)
				r.Problems()
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for name, open := range b.open {
		if open {
			t.Errorf("line %s is still open", name)
		}
	}
}
