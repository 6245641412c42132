package broker_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

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
		{"new", 1 | ifNew, true},
		{"again", 1 | ifNew, false},
		{"always", 1, true},
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
	eventually(t, "other's message", func() bool {
		return slices.Contains(payloads(p.ping()), "other")
	})

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
	plug := h.enter(link{user: "plug", id: "x"})
	if got := plug.subscribe(0, "$share/g/wattle/meter/set"); got[0] != 0x80 {
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
	want := []byte{packets.PropMessageExpiryInterval, 0, 0, 0, left, 1, 1, 3, 0, 1, 'c'}
	if left < 90 || left > 99 || !bytes.Equal(notes[0].props, want) {
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
