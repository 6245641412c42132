package broker_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

func TestWill(t *testing.T) {
	will := testWill{topic: "wattle/plug/availability", payload: "offline", qos: 1, retain: true}
	delayed := will
	delayed.props = []byte{packets.PropWillDelayInterval, 0, 0, 0, 30, 3, 0, 1, 'c'}
	long := link{version: 5, user: "plug", id: "x", keep: true, props: expiry, will: &delayed}
	tests := []struct {
		name string
		link link
		end  func(h *house, p *peer)
		sent bool
	}{
		{
			"lost",
			link{user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { _ = p.c.Close() }, true,
		},
		{
			"farewell",
			link{user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 0}) }, false,
		},
		{
			"farewell 5",
			link{version: 5, user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 0}) }, false,
		},
		{
			"farewell with will",
			link{version: 5, user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 1, 4}) }, true,
		},
		{
			"farewell with error",
			link{version: 5, user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 1, 0x80}) }, true,
		},
		{
			"fault",
			link{user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xff, 0}) }, true,
		},
		{
			"taken over",
			link{user: "plug", id: "x", will: &will},
			func(h *house, p *peer) { h.enter(link{user: "plug", id: "x"}) }, true,
		},
		{"delayed, back in time", long, func(h *house, p *peer) {
			_ = p.c.Close()
			back := long
			back.will = nil
			h.enter(back)
		}, false},
		{"delayed, started afresh", long, func(h *house, p *peer) {
			_ = p.c.Close()
			h.enter(link{version: 5, user: "plug", id: "x"})
		}, true},
		{
			"delayed, session ended",
			link{version: 5, user: "plug", id: "x", will: &delayed},
			func(_ *house, p *peer) { _ = p.c.Close() }, true,
		},
		{"stopped", long, func(h *house, p *peer) { _ = h.stop() }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := open(t, nil)
			p := h.enter(test.link)
			test.end(h, p)
			p.gone()
			_ = h.stop()
			sent := len(h.handled) == 1
			if sent != test.sent {
				t.Fatalf("handled %+v, want will %t", h.handled, test.sent)
			}
			if !sent {
				return
			}
			want := gateway.Message{
				Topic: will.topic, Payload: []byte("offline"), QoS: 1, Retain: true, Will: true,
				Client: h.accounts["plug"].client,
			}
			want.Client.ID = "x"
			got := h.handled[0]
			got.At = 0
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := h.Stats().RetainedTopics; n != 1 {
				t.Errorf("%d topics retained, want the will", n)
			}
		})
	}
}

func TestWill_delay(t *testing.T) {
	h := open(t, nil)
	spy := h.enter(link{version: 5, user: "hass", id: "spy"})
	spy.watch(0, "#")
	p := h.enter(link{
		version: 5, user: "plug", id: "x", keep: true, props: expiry,
		will: &testWill{
			topic: "wattle/plug/a", payload: "", // clears what is retained
			props: []byte{packets.PropWillDelayInterval, 0, 0, 0, 1, 3, 0, 1, 'c'},
		},
	})
	left := time.Now()
	h.leave(p)
	if notes := spy.ping(); len(notes) != 0 {
		t.Errorf("sent at once: %s", say(notes))
	}
	n := spy.receive()
	if took := time.Since(left); took < time.Second || took > 5*time.Second {
		t.Errorf("sent after %s, want a second", took)
	}
	if n.topic != "wattle/plug/a" || !bytes.Equal(n.props, []byte{3, 0, 1, 'c'}) {
		t.Errorf("got %+v", n)
	}
}

func TestWill_isTheLastWord(t *testing.T) {
	h := open(t, nil)
	var open pile
	h.setHandle(func(m gateway.Message, done func(error)) error {
		if done == nil {
			return nil
		}
		return open.handle(m, done)
	})
	spy := h.enter(link{user: "hass", id: "spy"})
	spy.watch(0, "#")
	p := h.enter(link{user: "plug", id: "x", will: &testWill{
		topic: "wattle/plug/availability", payload: "offline", retain: true,
	}})
	p.publish("wattle/plug/availability", "online", 1, true, 1)
	p.publish("wattle/plug/state", "old", 1, true, 2)
	p.publish("wattle/plug/state", "new", 0, true, 0)
	p.ping()
	h.leave(p)
	open.done(0)(nil) // stored after the client had gone
	open.done(1)(nil)
	var last []string
	for _, n := range spy.ping() {
		last = append(last, n.topic+" "+n.payload)
	}
	want := []string{
		"wattle/plug/state new", "wattle/plug/availability offline", "wattle/plug/state old",
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	r := h.enter(link{user: "hass", id: "r"})
	r.subscribe(0, "#")
	if diff := cmp.Diff([]string{"offline", "new"}, payloads(r.ping())); diff != "" {
		t.Errorf("retained (-want +got):\n%s", diff)
	}
	h.ForgetFrom(1)
	if n := h.Stats().RetainedTopics; n != 0 {
		t.Errorf("%d topics retained, want none", n)
	}
}

func TestWill_ofEvictedSession(t *testing.T) {
	h := open(t, func(c *broker.Config) { c.Limits.SessionsPerCredential = 1 })
	spy := h.enter(link{user: "hass", id: "spy"})
	spy.watch(0, "#")
	l := link{
		version: 5, user: "plug", id: "x", keep: true, props: expiry,
		will: &testWill{
			topic: "wattle/plug/a", payload: "left",
			props: []byte{packets.PropWillDelayInterval, 0, 0, 0, 60},
		},
	}
	h.leave(h.enter(l))
	h.enter(link{user: "plug", id: "y"})
	if n := spy.receive(); n.payload != "left" {
		t.Errorf("got %+v", n)
	}
}
