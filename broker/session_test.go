package broker_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// expiry is a Session Expiry Interval of a minute.
var expiry = []byte{packets.PropSessionExpiryInterval, 0, 0, 0, 60}

// payloads returns the payloads of notes.
func payloads(notes []note) (all []string) {
	for _, n := range notes {
		all = append(all, n.payload)
	}
	return all
}

// leave closes a peer and waits until the broker noticed.
func (h *house) leave(p *peer) {
	h.t.Helper()
	before := h.Stats().Connections
	_ = p.c.Close()
	eventually(h.t, "the client is gone", func() bool { return h.Stats().Connections < before })
}

func TestSession_queue(t *testing.T) {
	for _, l := range []link{
		{version: 4, user: "hass", id: "x", keep: true},
		{version: 5, user: "zigbee", id: "x", keep: true, props: expiry},
	} {
		t.Run(l.user, func(t *testing.T) {
			h := open(t, nil)
			p := h.enter(l)
			p.subscribe(2, "zigbee/#")
			for i := range 3 { // not acknowledged
				_ = h.Publish(gateway.Message{
					Topic: "zigbee/a", Payload: []byte(fmt.Sprint(i)), QoS: 1 + byte(i%2),
				})
			}
			first := p.ping()
			p.send([]byte{0x50, 2, 0, 2}) // PUBREC for the second
			p.expect(0x62, 2, 0, 2)
			h.leave(p)
			for i := 3; i < 200; i++ {
				_ = h.Publish(gateway.Message{
					Topic: "zigbee/a", Payload: []byte(fmt.Sprint(i)), QoS: 1 + byte(i%2),
				})
			}
			_ = h.Publish(gateway.Message{Topic: "zigbee/a", Payload: []byte("QoS 0")})
			p = h.enter(l)
			if p.connack[0] != 1 {
				t.Fatal("no session present")
			}
			p.expect(0x62, 2, 0, 2) // PUBREL again
			p.send([]byte{0x70, 2, 0, 2})
			want := []string{"0", "2"}
			for i := 3; i < 200; i++ {
				want = append(want, fmt.Sprint(i))
			}
			var got []string
			for i := range want {
				n := p.receive()
				got = append(got, n.payload)
				if again := i < 2; n.dup != again || again && n.id != first[2*i].id {
					t.Errorf("message %s: dup %t, id %d", n.payload, n.dup, n.id)
				}
				ack := byte(0x40)
				if n.qos == 2 {
					ack = 0x50
				}
				id := []byte{byte(n.id >> 8), byte(n.id)}
				p.send(append([]byte{ack, 2}, id...))
				if n.qos == 2 {
					// The next PUBLISH may stand between: read up to the PUBREL later.
					p.send(append([]byte{0x70, 2}, id...))
				}
				for skip := true; skip; {
					b, err := p.r.Peek(1)
					if skip = err == nil && b[0] == 0x62; skip {
						p.read()
					}
					if i == len(want)-1 {
						break
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
			eventually(t, "the queue is empty", func() bool { return h.Stats().QueueBytes == 0 })
		})
	}
}

func TestSession_queueIsBounded(t *testing.T) {
	h := open(t, nil)
	l := link{user: "hass", id: "x", keep: true}
	p := h.enter(l)
	p.subscribe(1, "#")
	h.leave(p)
	for i := range 1500 {
		_ = h.Publish(gateway.Message{Topic: "a", Payload: []byte(fmt.Sprint(i)), QoS: 1})
	}
	if s := h.Stats(); s.QueueDropped != 500 {
		t.Errorf("%d messages dropped, want 500", s.QueueDropped)
	}
	big := make([]byte, 100<<10)
	h.Drop(4)
	p = h.enter(l)
	p.subscribe(1, "#")
	h.leave(p)
	for range 50 {
		_ = h.Publish(gateway.Message{Topic: "a", Payload: big, QoS: 1})
	}
	if s := h.Stats(); s.QueueBytes > 1<<20 || s.QueueBytes < 900<<10 {
		t.Errorf("%d bytes are queued, want a MiB", s.QueueBytes)
	}
	h.Drop(4)
	if s := h.Stats(); s.QueueBytes != 0 || s.Sessions != 0 {
		t.Errorf("after Drop: %+v", s)
	}
}

func TestSession_clean(t *testing.T) {
	h := open(t, nil)
	for _, l := range []link{
		{version: 4, user: "hass", id: "x"},
		{version: 5, user: "hass", id: "x", keep: true}, // no expiry: ends with the connection
	} {
		p := h.enter(l)
		p.subscribe(1, "a")
		h.leave(p)
		if n := h.Stats().Sessions; n != 0 {
			t.Errorf("version %d: %d sessions left", l.version, n)
		}
		if p = h.enter(l); p.connack[0] != 0 {
			t.Errorf("version %d: session present", l.version)
		}
		_ = h.Publish(gateway.Message{Topic: "a", QoS: 1})
		if notes := p.ping(); len(notes) != 0 {
			t.Errorf("version %d: the subscription lives", l.version)
		}
		h.leave(p)
	}
	// A clean start drops what was.
	keep := link{version: 5, user: "hass", id: "x", keep: true, props: expiry}
	p := h.enter(keep)
	p.subscribe(1, "a", "b/+/#")
	keep.keep = false
	clean := h.enter(keep)
	p.gone()
	_ = h.Publish(gateway.Message{Topic: "a", QoS: 1})
	_ = h.Publish(gateway.Message{Topic: "b/c", QoS: 1})
	if notes := clean.ping(); clean.connack[0] != 0 || len(notes) != 0 {
		t.Errorf("session present %d, came: %s", clean.connack[0], say(notes))
	}
}

func TestSession_expires(t *testing.T) {
	h := open(t, func(c *broker.Config) { c.Limits.SessionExpiry = time.Second })
	p := h.enter(link{
		version: 5, user: "hass", id: "x", keep: true,
		props: []byte{packets.PropSessionExpiryInterval, 0xff, 0xff, 0xff, 0xff},
	})
	if !bytes.Contains(p.connack, []byte{packets.PropSessionExpiryInterval, 0, 0, 0, 1}) {
		t.Errorf("CONNACK %x does not tell the session's expiry", p.connack)
	}
	p.subscribe(1, "a")
	h.leave(p)
	if n := h.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
	eventually(t, "the session expires", func() bool { return h.Stats().SessionsExpired == 1 })
	if n := h.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions, want none", n)
	}
}

func TestSession_limits(t *testing.T) {
	h := open(t, func(c *broker.Config) { c.Limits.SessionsPerCredential, c.Limits.Sessions = 4, 6 })
	for i := range 10 {
		h.leave(h.enter(link{user: "hass", id: fmt.Sprint(i), keep: true}))
	}
	if s := h.Stats(); s.Sessions != 4 || s.SessionsEvicted != 6 {
		t.Errorf("%d sessions, %d evicted; want 4 and 6", s.Sessions, s.SessionsEvicted)
	}
	if p := h.enter(link{user: "hass", id: "9", keep: true}); p.connack[0] != 1 {
		t.Error("the newest session was evicted")
	}
	for i := range 2 {
		h.enter(link{user: "nodred", id: fmt.Sprint(i), keep: true})
	}
	// The house is full: nobody's session makes room for another's.
	if p := join(t, h.addr, link{user: "plug", id: "x"}); p.connack[1] != 3 {
		t.Errorf("CONNACK %x, want server unavailable", p.connack)
	}
}

func TestSession_takeover(t *testing.T) {
	h := open(t, nil)
	l := link{version: 5, user: "hass", id: "x"}
	const most = 20
	var all []*peer
	for range most {
		all = append(all, h.enter(l))
	}
	for _, p := range all[:most-1] {
		if got := p.gone(); got != 0x8e {
			t.Errorf("got reason %#x, want session taken over", got)
		}
	}
	last := all[most-1]
	last.subscribe(0, "a")
	_ = h.Publish(gateway.Message{Topic: "a", Payload: []byte("1")})
	if n := last.receive(); n.payload != "1" {
		t.Errorf("got %+v", n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.present["hass/x"]; n != 1 {
		t.Errorf("Connected counts %d, want 1", n)
	}
}

func TestSession_takeoverAtOnce(t *testing.T) {
	h := open(t, nil)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			p := dial(t, h.addr)
			p.send(hello(link{user: "hass", id: "x", keep: i%2 == 0}))
			p.send(packet(0x82, []byte{0, 1}, str("a"), []byte{1}))
			_, _, _ = p.next()
		})
	}
	wg.Wait()
	p := h.enter(link{user: "hass", id: "x"})
	p.subscribe(1, "a")
	_ = h.Publish(gateway.Message{Topic: "a", QoS: 1})
	if notes := p.ping(); len(notes) != 1 {
		t.Errorf("%d messages came, want 1", len(notes))
	}
	if n := h.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestSession_emptyID(t *testing.T) {
	h := open(t, nil)
	if p := join(t, h.addr, link{user: "hass", keep: true}); p.connack[1] != 2 {
		t.Errorf("CONNACK %x, want identifier rejected", p.connack)
	}
	h.enter(link{user: "hass"}).ping()
	p := h.enter(link{version: 5, user: "hass"})
	if !bytes.Contains(p.connack, []byte{packets.PropAssignedClientID, 0, 20}) {
		t.Errorf("CONNACK %x assigns no client id", p.connack)
	}
	if bytes.ContainsRune(p.connack[4:], 0) && bytes.Contains(p.connack, []byte("4\x00")) {
		t.Errorf("CONNACK %x shows the credential's space", p.connack)
	}
}
