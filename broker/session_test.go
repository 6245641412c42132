package broker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

func TestSubscribe_options(t *testing.T) {
	h := open(t, nil)
	_ = h.Publish(gateway.Message{Topic: "r", Payload: []byte("kept"), Retain: true, QoS: 1})
	p := h.enter(link{version: 5, user: "hass", id: "x"})
	subscribe := func(filter string, id byte, options byte) {
		t.Helper()
		list := props([]byte{packets.PropSubscriptionIdentifier, id})
		if id == 0 {
			list = props(nil)
		}
		p.send(packet(0x82, []byte{0, 9}, list, str(filter), []byte{options}))
		if first, body := p.read(); first != 0x90 || body[3] > 2 {
			t.Fatalf("got packet %#x %x, want SUBACK", first, body)
		}
	}
	const noLocal, asPublished, ifNew, never = 4, 8, 0x10, 0x20
	steps := []struct {
		name    string
		options byte
		kept    bool
	}{
		{"new", 1 | ifNew, true}, {"again", 1 | ifNew, false}, {"always", 1, true},
		{"never", 1 | never, false},
	}
	for _, s := range steps {
		subscribe("r", 5, s.options)
		notes := p.ping()
		if got := len(notes) == 1; got != s.kept {
			t.Errorf("%s: retained came %t, want %t", s.name, got, s.kept)
		} else if s.kept && (!notes[0].retain || !bytes.Equal(notes[0].props, []byte{11, 5})) {
			t.Errorf("%s: got %+v, want retain and identifier 5", s.name, notes[0])
		}
	}
	subscribe("l", 0, noLocal)
	p.publish("l", "own", 0, false, 0)
	h.enter(link{user: "nodred", id: "y"}).publish("l", "other", 0, false, 0)
	eventually(t, "other's message", func() bool { return slices.Contains(payloads(p.ping()), "other") })

	subscribe("as", 0, asPublished)
	subscribe("not", 0, 0)
	for _, topic := range []string{"as", "not"} {
		_ = h.Publish(gateway.Message{Topic: topic, Payload: []byte("x"), Retain: true})
	}
	if notes := p.ping(); len(notes) != 2 || !notes[0].retain || notes[1].retain {
		t.Errorf("retain as published: got %+v", notes)
	}
	// Overlapping: one message, with both identifiers and the higher QoS.
	subscribe("o/+", 3, 0)
	subscribe("o/a", 4, 1)
	_ = h.Publish(gateway.Message{Topic: "o/a", QoS: 2})
	if notes := p.ping(); len(notes) != 1 || notes[0].qos != 1 ||
		!bytes.Equal(notes[0].props, []byte{11, 3, 11, 4}) {
		t.Errorf("overlapping: got %+v", notes)
	}
	p.send(packet(0xa2, []byte{0, 9, 0}, str("o/a"), str("nothing")))
	p.expect(0xb0, 5, 0, 9, 0, 0, 0x11)
	_ = h.Publish(gateway.Message{Topic: "o/a", QoS: 2})
	if notes := p.ping(); len(notes) != 1 || notes[0].qos != 0 {
		t.Errorf("after UNSUBSCRIBE: got %+v", notes)
	}
}

func TestSubscribe_wildcards(t *testing.T) {
	filters := []string{"+", "#", "a/+", "a/#", "+/b", "+/#", "a/+/#", "+/+/c", "/+", "$x/#", "a//b"}
	topics := []string{"a", "a/b", "a/b/c", "/", "/a", "$x/y", "$x", "a//b", "a/b/c/d"}
	h := open(t, func(c *broker.Config) { c.Limits.PerDevice = 99 })
	h.accounts["hass"] = account{
		client: h.accounts["hass"].client,
		grant:  gateway.Grant{Publish: []string{"#"}, Subscribe: []string{"#", "$x/#"}},
	}
	for _, f := range filters {
		p := h.enter(link{user: "hass", id: f})
		if got := p.subscribe(0, f); got[0] != 0 {
			t.Fatalf("filter %q: refused with %#x", f, got)
		}
		var got, want []string
		for _, topic := range topics {
			_ = h.Publish(gateway.Message{Topic: topic, Payload: []byte("x")})
			if gateway.MatchTopic(f, topic) {
				want = append(want, topic)
			}
		}
		for _, n := range p.ping() {
			got = append(got, n.topic)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("filter %q (-want +got):\n%s", f, diff)
		}
	}
}

func TestSubscribe_shared(t *testing.T) {
	h := open(t, nil)
	a := h.enter(link{user: "hass", id: "a"})
	b := h.enter(link{user: "nodred", id: "b", keep: true})
	other := h.enter(link{user: "hass", id: "c"})
	a.subscribe(1, "$share/g/s/#")
	b.subscribe(1, "$share/g/s/#")
	other.subscribe(1, "$share/h/s/#")
	const messages = 20
	for i := range messages {
		_ = h.Publish(gateway.Message{Topic: "s/a", Payload: []byte(fmt.Sprint(i)), QoS: 1})
	}
	na, nb := len(a.ping()), len(b.ping())
	if na+nb != messages || na != messages/2 {
		t.Errorf("the group got %d and %d, want half of %d each", na, nb, messages)
	}
	if n := len(other.ping()); n != messages {
		t.Errorf("the other group got %d, want %d", n, messages)
	}
	h.leave(b)
	_ = h.Publish(gateway.Message{Topic: "s/a", QoS: 1})
	_ = h.Publish(gateway.Message{Topic: "s/a", QoS: 1})
	if n := len(a.ping()); n != 2 {
		t.Errorf("who is left got %d of 2", n)
	}
	if got := h.enter(link{user: "plug", id: "x"}).subscribe(0, "$share/g/wattle/meter/set"); got[0] != 0x80 {
		t.Errorf("a foreign topic, shared: got %#x, want failure", got[0])
	}
}

func TestMessage_expiry(t *testing.T) {
	h := open(t, nil)
	l := link{version: 5, user: "hass", id: "x", keep: true, props: expiry}
	p := h.enter(l)
	p.subscribe(1, "a")
	h.leave(p)
	pub := h.enter(link{version: 5, user: "nodred", id: "y"})
	for i, s := range []byte{1, 100} {
		pub.send(packet(0x33, str("a"), []byte{0, byte(i + 1)},
			props([]byte{1, 1, packets.PropMessageExpiryInterval, 0, 0, 0, s, 3, 0, 1, 'c'}), []byte("m")))
		pub.expect(0x40, 2, 0, byte(i+1))
	}
	time.Sleep(1100 * time.Millisecond)
	p = h.enter(l)
	notes := p.ping()
	if len(notes) != 1 || len(notes[0].props) != 11 {
		t.Fatalf("got %+v, want one message with three properties", notes)
	}
	// What is left of its life comes first, then the others in their order.
	left := notes[0].props[4]
	if want := []byte{packets.PropMessageExpiryInterval, 0, 0, 0, left, 1, 1, 3, 0, 1, 'c'}; left < 90 ||
		left > 99 || !bytes.Equal(notes[0].props, want) {
		t.Errorf("got properties %x", notes[0].props)
	}
	if n := h.Stats().Expired; n != 1 {
		t.Errorf("%d messages expired, want 1", n)
	}
}

func TestMessage_tooLargeForClient(t *testing.T) {
	h := open(t, nil)
	p := h.enter(link{
		version: 5, user: "hass", id: "x", props: []byte{packets.PropMaximumPacketSize, 0, 0, 0, 50},
	})
	p.subscribe(1, "#")
	for _, n := range []int{10, 60, 42, 43} {
		_ = h.Publish(gateway.Message{Topic: "a", Payload: bytes.Repeat([]byte{'x'}, n), QoS: 1})
	}
	var got []int
	for _, n := range p.ping() {
		got = append(got, len(n.payload))
	}
	if diff := cmp.Diff([]int{10, 42}, got); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func TestRefused_loggedOnce(t *testing.T) {
	h := open(t, nil)
	for _, version := range []byte{4, 5} {
		p := h.enter(link{version: version, user: "plug", id: "x"})
		for range 3 {
			p.publish("wattle/meter/reading", "x", 0, false, 0)
			p.publish("wattle/meter/reading", "x", 1, false, 1)
			p.publish("wattle/plug/set", "x", 2, false, 2)
			if version == 5 {
				p.expect(0x40, 3, 0, 1, 0x87)
				p.expect(0x50, 3, 0, 2, 0x87)
				continue
			}
			p.expect(0x40, 2, 0, 1)
			p.expect(0x50, 2, 0, 2)
			p.send([]byte{0x62, 2, 0, 2})
			p.expect(0x70, 2, 0, 2)
		}
		want := map[byte]byte{4: 0x80, 5: 0x87}[version]
		if got := p.subscribe(0, "wattle/#", "wattle/plug/set"); got[0] != want || got[1] != 0 {
			t.Errorf("version %d: SUBACK %x, want %#x and success", version, got, want)
		}
		for i := range 100 {
			p.publish(fmt.Sprint("foreign/", i), "x", 0, false, 0)
		}
		p.ping()
	}
	if got := h.topics(); len(got) != 0 {
		t.Errorf("handled %q", got)
	}
	if n := strings.Count(h.logged.String(), "topic=wattle/meter/reading"); n != 1 {
		t.Errorf("logged %d times, want once", n)
	}
	if n := strings.Count(h.logged.String(), "msg=refused"); n != 32 {
		t.Errorf("%d lines, want 32 at most", n)
	}
	if n := len(h.refused); n != 2*(9+1+100) {
		t.Errorf("told %d refusals, want %d", n, 2*(9+1+100))
	}
}

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
		{"lost", link{user: "plug", id: "x", will: &will}, func(_ *house, p *peer) { _ = p.c.Close() }, true},
		{"farewell", link{user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 0}) }, false},
		{"farewell 5", link{version: 5, user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 0}) }, false},
		{"farewell with will", link{version: 5, user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 1, 4}) }, true},
		{"farewell with error", link{version: 5, user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xe0, 1, 0x80}) }, true},
		{"fault", link{user: "plug", id: "x", will: &will},
			func(_ *house, p *peer) { p.send([]byte{0xff, 0}) }, true},
		{"taken over", link{user: "plug", id: "x", will: &will},
			func(h *house, p *peer) { h.enter(link{user: "plug", id: "x"}) }, true},
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
		{"delayed, session ended", link{version: 5, user: "plug", id: "x", will: &delayed},
			func(_ *house, p *peer) { _ = p.c.Close() }, true},
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
	spy.subscribe(0, "#")
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
	_ = h.Publish(gateway.Message{Topic: "homeassistant/x/config", Payload: []byte("{}"), Retain: true})
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
	spy.subscribe(0, "#")
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
	want := []string{"wattle/plug/state new", "wattle/plug/availability offline", "wattle/plug/state old"}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("delivered (-want +got):\n%s", diff)
	}
	r := h.enter(link{user: "hass", id: "r"})
	r.subscribe(0, "#")
	if notes := r.ping(); len(notes) != 2 || notes[0].payload != "offline" || notes[1].payload != "new" {
		t.Errorf("retained %s, want offline and new", say(notes))
	}
	h.ForgetFrom(1)
	if n := h.Stats().RetainedTopics; n != 0 {
		t.Errorf("%d topics retained, want none", n)
	}
}
