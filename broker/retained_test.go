package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// shelf is a RetainedStore.
type shelf struct {
	mu    sync.Mutex
	all   map[string]gateway.Retained
	fails bool
	saves int
}

// Retained implements broker.RetainedStore.
func (s *shelf) Retained(context.Context) ([]gateway.Retained, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []gateway.Retained
	for _, r := range s.all {
		all = append(all, r)
	}
	return all, nil
}

// SaveRetained implements broker.RetainedStore.
func (s *shelf) SaveRetained(_ context.Context, changed []gateway.Retained) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.fails {
		return errors.New("disk full")
	}
	for _, r := range changed {
		if s.all[r.Topic] = r; len(r.Payload) == 0 {
			delete(s.all, r.Topic)
		}
	}
	return nil
}

func TestRetained_overRestart(t *testing.T) {
	store := &shelf{all: map[string]gateway.Retained{}, fails: true}
	with := func(c *broker.Config) {
		c.Retained, c.Limits.RetainedSave = store, 5*time.Millisecond
	}
	h := open(t, with)
	p := h.enter(link{version: 5, user: "plug", id: "x"})
	p.publish("wattle/plug/state", "old", 1, true, 1)
	p.publish("wattle/plug/state", "new", 1, true, 2)
	p.publish("wattle/plug/gone", "x", 1, true, 3)
	p.publish("wattle/plug/gone", "", 1, true, 4)
	p.publish("wattle/plug/live", "x", 1, false, 5)
	p.send(packet(0x31, str("wattle/plug/brief"), props([]byte{2, 0, 0, 0, 100}), []byte("x")))
	p.ping()
	eventually(t, "saving fails", func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.saves > 2
	})
	store.mu.Lock()
	store.fails = false
	store.mu.Unlock()
	eventually(t, "saved", func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		return len(store.all) == 1
	})
	if n := strings.Count(h.logged.String(), "retained messages are not saved"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	_ = h.Publish(gateway.Message{
		Topic: "homeassistant/x/config", Payload: []byte("{}"), Retain: true,
	})
	if err := h.stop(); err != nil { // saves the rest
		t.Fatal(err)
	}
	if r := store.all["wattle/plug/state"]; string(r.Payload) != "new" || r.QoS != 1 ||
		r.Credential != 1 || r.At == 0 {
		t.Errorf("saved %+v", r)
	}

	h = open(t, with)
	p = h.enter(link{user: "hass", id: "x"})
	p.subscribe(1, "#")
	notes := p.ping()
	if len(notes) != 2 || notes[0].topic != "homeassistant/x/config" || notes[1].payload != "new" ||
		!notes[1].retain || notes[1].qos != 1 {
		t.Errorf("after the restart: %+v", notes)
	}
	h.Forget("wattle/plug/state")
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if len(store.all) != 1 {
		t.Errorf("left: %v", store.all)
	}
}

func TestRetained_many(t *testing.T) {
	h := open(t, nil)
	const topics = 3000
	payload := bytes.Repeat([]byte{'x'}, 1000)
	for i := range topics {
		_ = h.Publish(gateway.Message{
			Topic: fmt.Sprintf("a/%04d", i), Payload: payload, Retain: true, QoS: byte(i % 2),
		})
	}
	p := h.enter(link{user: "hass", id: "x"})
	for range 3 { // again and again, without reading
		p.send(packet(0x82, []byte{0, 1}, str("a/#"), []byte{1}))
	}
	seen := map[string]bool{}
	for len(seen) < topics {
		first, body := p.read()
		if first>>4 != 3 {
			continue
		}
		n := p.toNote(first, body)
		seen[n.topic] = true
		if n.qos == 1 {
			p.send([]byte{0x40, 2, byte(n.id >> 8), byte(n.id)})
		}
	}
	if s := h.Stats(); s.Overflowed != 0 || s.QueueDropped != 0 {
		t.Errorf("dropped: %+v", s)
	}
}
