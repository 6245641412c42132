package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// pile collects what Handle was asked to acknowledge.
type pile struct {
	mu    sync.Mutex
	dones []func(error)
}

// handle implements Config.Handle.
func (p *pile) handle(_ gateway.Message, done func(error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dones = append(p.dones, done)
	return nil
}

// len returns how many there were.
func (p *pile) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.dones)
}

// done returns the answer of number i.
func (p *pile) done(i int) func(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dones[i]
}

func TestR8_failedCommit(t *testing.T) {
	full := errors.New("disk full")
	_, addr := bareOpen(t, &strict{publish: func(pk packets.Packet) (packets.Packet, error) {
		return pk, full
	}}, nil)
	p := join(t, addr, link{user: "plug", id: "x"})
	p.publish("a", "1", 1, false, 1)
	p.expect(0x40, 2, 0, 1) // acknowledged, and lost

	h := open(t, func(c *broker.Config) { c.Limits.RetryStagger = time.Millisecond })
	var open pile
	h.setHandle(open.handle)
	spy := h.enter(link{user: "hass", id: "spy"})
	spy.watch(1, "wattle/#")
	p = h.enter(link{version: 5, user: "plug", id: "x"})
	for i := range byte(4) {
		p.publish("wattle/plug/reading", fmt.Sprint(i+1), 1+i%2, i == 0, uint16(i+1))
	}
	p.ping() // while all of them wait
	if open.len() != 4 {
		t.Fatalf("%d messages handled, want 4", open.len())
	}
	open.done(2)(nil)
	open.done(1)(full)
	p.ping() // the first is still open: no acknowledgement before it
	if notes := spy.ping(); len(notes) != 0 {
		t.Errorf("delivered before the first was stored: %s", say(notes))
	}
	open.done(0)(nil)
	p.expect(0x40, 2, 0, 1)
	p.expect(0x40, 2, 0, 3)
	open.done(3)(full)
	if n := h.Stats().Unacknowledged; n != 2 {
		t.Errorf("%d not acknowledged, want 2", n)
	}
	if notes := spy.ping(); len(notes) != 2 || notes[0].payload != "1" || notes[1].payload != "3" {
		t.Errorf("delivered %s, want 1 and 3", say(notes))
	}
	// Something was stored after the failure: the client is closed so that it
	// sends again.
	if got := p.gone(); got != 0x89 {
		t.Errorf("got reason %#x, want server busy", got)
	}
	spy.ping()
	if n := h.Stats().Retried; n != 1 {
		t.Errorf("%d clients closed, want 1", n)
	}
}

func TestR8_takenOff(t *testing.T) {
	h := open(t, nil)
	h.setHandle(func(gateway.Message, func(error)) error { return errors.New("no reading") })
	spy := h.enter(link{user: "hass", id: "spy"})
	spy.watch(0, "#")
	p := h.enter(link{version: 5, user: "plug", id: "x"})
	p.publish("wattle/plug/reading", "x", 0, true, 0)
	p.publish("wattle/plug/reading", "x", 1, true, 1)
	p.expect(0x40, 2, 0, 1)
	p.publish("wattle/plug/reading", "x", 2, true, 2)
	p.expect(0x50, 2, 0, 2)
	if notes := spy.ping(); len(notes) != 0 {
		t.Errorf("delivered: %s", say(notes))
	}
	if s := h.Stats(); s.RetainedTopics != 0 || s.TakenOff != 3 {
		t.Errorf("got %+v", s)
	}
}

func TestR8_exactlyOnce(t *testing.T) {
	h := open(t, nil)
	var open pile
	h.setHandle(open.handle)
	keep := link{user: "plug", id: "x", keep: true}
	p := h.enter(keep)
	p.publish("wattle/plug/reading", "1", 2, false, 7)
	p.ping()
	again := h.enter(keep) // the acknowledgement is still to come
	p.gone()
	again.publish("wattle/plug/reading", "1", 2, false, 7)
	again.ping()
	if open.len() != 1 {
		t.Fatalf("handled %d times, want once", open.len())
	}
	open.done(0)(nil)
	again.expect(0x50, 2, 0, 7)
	last := h.enter(keep)
	last.publish("wattle/plug/reading", "1", 2, false, 7)
	last.expect(0x50, 2, 0, 7)
	last.send([]byte{0x62, 2, 0, 7})
	last.expect(0x70, 2, 0, 7)
	if open.len() != 1 {
		t.Errorf("handled %d times, want once", open.len())
	}
	last.publish("wattle/plug/reading", "2", 2, false, 7)
	last.ping()
	if open.len() != 2 {
		t.Errorf("handled %d messages, want a second one", open.len())
	}
	open.done(1)(errors.New("disk full"))
	last.publish("wattle/plug/reading", "2", 2, false, 7)
	last.ping()
	if open.len() != 3 {
		t.Errorf("handled %d times, want again what was not stored", open.len())
	}
	open.done(2)(nil)
	last.expect(0x50, 2, 0, 7)
}

func TestR8_receiveMaximum(t *testing.T) {
	h := open(t, nil)
	h.setHandle(func(gateway.Message, func(error)) error { return nil }) // never done
	p := h.enter(link{version: 5, user: "hass", id: "x"})
	if !bytes.Contains(p.connack, []byte{packets.PropReceiveMaximum, 0, 64}) {
		t.Errorf("CONNACK %x has no receive maximum of 64", p.connack)
	}
	for i := range 65 {
		p.publish("a", "", 1, false, uint16(i+1))
	}
	if got := p.gone(); got != 0x93 {
		t.Errorf("got reason %#x, want receive maximum exceeded", got)
	}
	// A 3.1.1 client knows no such limit: it is not read for a while.
	p = h.enter(link{user: "hass", id: "x"})
	for i := range 200 {
		p.publish("a", "", 1, false, uint16(i+1))
	}
	eventually(t, "64 more read", func() bool { return h.Stats().Received >= 129 })
	_ = p.c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := p.r.ReadByte(); err == nil {
		t.Error("got an answer")
	}
	if n := h.Stats().Received; n != 129 { // one too many was read of the first client
		t.Errorf("%d messages read, want 129", n)
	}
}
