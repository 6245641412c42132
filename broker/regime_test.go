package broker_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

func TestR9_retainedExpire(t *testing.T) {
	s, addr := bareOpen(t, nil, nil)
	if s.Options.Capabilities.MaximumMessageExpiryInterval != 24*60*60 {
		t.Error("the bare library keeps retained messages longer than a day")
	}
	p := join(t, addr, link{user: "plug", id: "x"})
	for i := range 501 {
		p.publish(fmt.Sprint("wattle/plug/", i), "x", 0, true, 0)
	}
	p.ping()
	if n := s.Topics.Retained.Len(); n < 501 {
		t.Errorf("the bare library retains %d of 501", n)
	}

	h := open(t, func(c *broker.Config) { c.Limits.DeviceRate = -1 })
	p = h.enter(link{user: "plug", id: "x"})
	for i := range 501 {
		p.publish(fmt.Sprint("wattle/plug/", i), "x", 0, true, 0)
	}
	p.publish("wattle/plug/0", "y", 0, true, 0) // replaces
	p.ping()
	if s := h.Stats(); s.RetainedTopics != 500 || s.RetainedRefused != 1 {
		t.Errorf("%d topics retained, %d refused; want 500 and 1", s.RetainedTopics, s.RetainedRefused)
	}
	m := h.enter(link{user: "meter", id: "x"})
	for i := range 20 {
		m.publish(fmt.Sprint("wattle/meter/", i), strings.Repeat("x", 60000), 0, true, 0)
	}
	m.publish("wattle/meter/0", "", 0, true, 0) // room for another
	m.publish("wattle/meter/1", strings.Repeat("y", 60000), 0, true, 0)
	m.publish("wattle/meter/19", strings.Repeat("y", 60000), 0, true, 0)
	m.ping()
	if s := h.Stats(); s.RetainedTopics != 517 || s.RetainedRefused != 4 {
		t.Errorf("%d topics retained, %d refused; want 517 and 4", s.RetainedTopics, s.RetainedRefused)
	}
	// Wills are under the same limit.
	_ = h.enter(link{user: "plug", id: "w", will: &testWill{
		topic: "wattle/plug/will", payload: "x", retain: true,
	}}).c.Close()
	eventually(t, "will not retained", func() bool { return h.Stats().RetainedRefused == 5 })
}

func TestR10_queuedCommand(t *testing.T) {
	s, addr := bareOpen(t, nil, func(o *mqtt.Options) { o.InlineClient = true })
	keep := link{user: "plug", id: "x", keep: true}
	p := join(t, addr, keep)
	p.subscribe(1, "wattle/plug/set")
	_ = p.c.Close()
	eventually(t, "the client is gone", func() bool {
		cl, ok := s.Clients.Get("x")
		return ok && cl.Closed()
	})
	_ = s.Publish("wattle/plug/set", []byte("on"), false, 1)
	if n := join(t, addr, keep).receive(); n.payload != "on" {
		t.Errorf("got %+v", n)
	}

	h := open(t, nil)
	p = h.enter(keep)
	p.subscribe(1, "wattle/plug/set")
	command := gateway.Message{Topic: "wattle/plug/set", Payload: []byte("on"), QoS: 1}
	_ = h.Publish(command)
	p.receive() // and does not acknowledge it
	_ = p.c.Close()
	eventually(t, "the client is gone", func() bool { return h.Stats().Connections == 0 })
	_ = h.Publish(command)
	p = h.enter(keep)
	if p.connack[0] != 1 {
		t.Error("the session is gone")
	}
	if notes := p.ping(); len(notes) != 0 {
		t.Errorf("a queued command came: %s", say(notes))
	}
	_ = h.Publish(command) // the subscription lives
	p.receive()
}

func TestR10_commandExpires(t *testing.T) {
	soon := func() gateway.Instant { return gateway.InstantOf(time.Now().Add(150 * time.Millisecond)) }
	t.Run("not acknowledged", func(t *testing.T) {
		h := open(t, nil)
		good, bad := h.enter(link{user: "plug", id: "good"}), h.enter(link{user: "plug", id: "bad"})
		hass := h.enter(link{user: "hass", id: "x"})
		for _, p := range []*peer{good, bad, hass} {
			p.subscribe(1, "wattle/plug/set")
		}
		_ = h.Publish(gateway.Message{Topic: "wattle/plug/set", QoS: 1, Expires: soon()})
		n := good.receive()
		good.send([]byte{0x40, 2, byte(n.id >> 8), byte(n.id)})
		bad.gone()
		good.ping()
		hass.ping()
		if n := h.Stats().ResetForCommand; n != 1 {
			t.Errorf("%d connections reset, want 1", n)
		}
	})
	t.Run("not taken", func(t *testing.T) {
		h := open(t, nil)
		good, bad := h.enter(link{user: "plug", id: "good"}), h.enter(link{user: "plug", id: "bad"})
		good.subscribe(0, "wattle/plug/set")
		bad.subscribe(0, "wattle/global/ann", "wattle/plug/set")
		filler := gateway.Message{Topic: "wattle/global/ann", Payload: make([]byte, 60<<10)}
		eventually(t, "the kernel is full", func() bool {
			_ = h.Publish(filler)
			return h.Stats().WriteBytes > 200<<10
		})
		_ = h.Publish(gateway.Message{Topic: "wattle/plug/set", QoS: 1, Expires: soon()})
		good.receive()
		eventually(t, "the other is reset", func() bool { return h.Stats().ResetForCommand == 1 })
		good.ping()
	})
	t.Run("never sent", func(t *testing.T) {
		h := open(t, nil)
		p := h.enter(link{
			version: 5, user: "zigbee", id: "x", props: []byte{packets.PropReceiveMaximum, 0, 1},
		})
		p.subscribe(1, "zigbee/#")
		_ = h.Publish(gateway.Message{Topic: "zigbee/a", QoS: 1, Payload: []byte("first")})
		first := p.receive()
		at := soon()
		_ = h.Publish(gateway.Message{Topic: "zigbee/a", QoS: 1, Payload: []byte("late"), Expires: at})
		_ = h.Publish(gateway.Message{Topic: "zigbee/a", QoS: 1, Payload: []byte("last")})
		time.Sleep(time.Until(at.Time()) + 2*time.Millisecond)
		p.send([]byte{0x40, 2, byte(first.id >> 8), byte(first.id)})
		if n := p.receive(); n.payload != "last" {
			t.Errorf("got %q", n.payload)
		}
		if n := h.Stats().Expired; n != 1 {
			t.Errorf("%d messages expired, want 1", n)
		}
	})
}

func TestR11_hooks(t *testing.T) {
	deny := &strict{}
	deny.shut.Store(true)
	s, addr := bareOpen(t, deny, nil)
	_ = s.AddHook(&allowAll{}, nil) // one "yes" is enough
	if p := join(t, addr, link{user: "mallory", id: "x"}); p.connack[1] != 0 {
		t.Errorf("CONNACK %x", p.connack)
	}

	h := open(t, nil)
	for i := range 100 {
		version := byte(4 + i%2)
		want := map[byte]byte{4: 5, 5: 0x87}[version]
		if p := join(t, h.addr, link{version: version, id: fmt.Sprint(i)}); p.connack[1] != want {
			t.Fatalf("anonymous CONNECT: CONNACK %x, want %#x", p.connack, want)
		}
		want = map[byte]byte{4: 4, 5: 0x86}[version]
		if p := join(t, h.addr, link{version: version, user: "mallory"}); p.connack[1] != want {
			t.Fatalf("unknown user: CONNACK %x, want %#x", p.connack, want)
		}
	}
	if s := h.Stats(); s.Anonymous != 100 || s.Unauthenticated != 100 || s.Sessions != 0 {
		t.Errorf("got %+v", s)
	}
	wrong := packet(0x10, str("MQTT"), []byte{4, 0xc2, 0, 0}, str("x"), str("hass"), str("wrong"))
	p := dial(t, h.addr)
	p.send(wrong)
	p.expect(0x20, 2, 0, 4)
	p.gone()
}

func TestR12_rate(t *testing.T) {
	var got atomic.Int64
	_, addr := bareOpen(t, &strict{publish: func(pk packets.Packet) (packets.Packet, error) {
		got.Add(1)
		return pk, nil
	}}, nil)
	p := join(t, addr, link{user: "plug", id: "x"})
	for range 500 {
		p.publish("a", "x", 0, false, 0)
	}
	p.ping()
	if got.Load() != 500 {
		t.Errorf("the bare library took %d of 500", got.Load())
	}

	h := open(t, func(c *broker.Config) { c.Limits.DeviceRate, c.Limits.DeviceBurst = 5, 10 })
	start := time.Now()
	p = h.enter(link{user: "plug", id: "x"})
	for range 500 {
		p.publish("wattle/plug/reading", "x", 0, false, 0)
	}
	eventually(t, "reading pauses", func() bool { return h.Stats().Throttled >= 2 })
	n := h.Stats().Received
	if most := int64(10 + 5*time.Since(start).Seconds() + 2); n > most {
		t.Errorf("%d messages read, want %d at most", n, most)
	}
	other := h.enter(link{user: "nodred", id: "x"})
	for range 500 {
		other.publish("a", "x", 0, false, 0)
	}
	other.ping() // is not held back
}

func TestR13_drop(t *testing.T) {
	hook := &strict{}
	_, addr := bareOpen(t, hook, nil)
	p := join(t, addr, link{user: "plug", id: "x"})
	hook.shut.Store(true) // its password was changed
	p.publish("a", "x", 1, false, 1)
	p.expect(0x40, 2, 0, 1)

	h := open(t, nil)
	spy := h.enter(link{user: "hass", id: "spy"})
	spy.watch(0, "#")
	keep := link{
		version: 5, user: "plug", id: "x", keep: true,
		props: []byte{packets.PropSessionExpiryInterval, 0, 0, 1, 0},
		will:  &testWill{topic: "wattle/plug/availability", payload: "offline"},
	}
	p = h.enter(keep)
	p.subscribe(1, "wattle/plug/set")
	away := keep
	away.id = "away"
	_ = h.enter(away).c.Close()
	eventually(t, "one left", func() bool { return h.Stats().Connections == 2 })
	if n := spy.receive(); n.payload != "offline" {
		t.Errorf("got %+v", n)
	}
	bystander := h.enter(link{user: "meter", id: "x"})

	h.Drop(1)
	if got := p.gone(); got != 0x98 {
		t.Errorf("got reason %#x, want administrative action", got)
	}
	eventually(t, "sessions gone", func() bool { return h.Stats().Sessions == 2 })
	for _, id := range []string{"x", "away"} {
		keep.id = id
		if p := h.enter(keep); p.connack[0] != 0 {
			t.Errorf("the session %q was resumed", id)
		}
	}
	bystander.ping()
	if notes := spy.ping(); len(notes) != 0 {
		t.Errorf("came through: %s", say(notes))
	}
}

func TestR13_dropDuringConnect(t *testing.T) {
	var h *house
	var once atomic.Bool
	h = open(t, func(c *broker.Config) {
		c.Authenticate = func(user string, pw []byte, remote string) (
			gateway.Client, gateway.Grant, error,
		) {
			client, grant, err := h.authenticate(user, pw, remote)
			if user == "plug" && once.CompareAndSwap(false, true) {
				h.mu.Lock()
				delete(h.accounts, "plug") // revoked just after it was looked up
				h.mu.Unlock()
				h.Drop(1)
			}
			return client, grant, err
		}
	})
	if p := join(t, h.addr, link{user: "plug", id: "x"}); p.connack[1] != 4 {
		t.Errorf("CONNACK %x, want bad password", p.connack)
	}
	if n := h.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestBroker_Reset(t *testing.T) {
	h := open(t, nil)
	keep := link{user: "plug", id: "x", keep: true}
	p, bystander := h.enter(keep), h.enter(link{user: "meter", id: "x"})
	p.subscribe(0, "wattle/plug/set")
	h.Reset(1)
	p.gone()
	bystander.ping()
	eventually(t, "it is gone", func() bool { return h.Stats().Connections == 1 })
	if p = h.enter(keep); p.connack[0] != 1 {
		t.Error("the session is gone too")
	}
}

func TestBroker_panics(t *testing.T) {
	h := open(t, func(c *broker.Config) {
		c.Authenticate = func(user string, _ []byte, _ string) (gateway.Client, gateway.Grant, error) {
			if user == "plug" {
				panic("a fault of ours")
			}
			return gateway.Client{Credential: 1}, gateway.Grant{}, nil
		}
		c.Connected = func(gateway.Client, bool) { panic("another") }
		c.Refused = func(gateway.Client, string, string) { panic("a third") }
	})
	p := dial(t, h.addr)
	p.send(hello(link{user: "plug"}))
	p.gone()
	p = h.enter(link{user: "hass"})
	p.publish("a", "x", 1, false, 1)
	p.expect(0x40, 2, 0, 1)
	h.leave(p)
	if n := h.Stats().Panics; n != 4 {
		t.Errorf("%d panics counted, want 4", n)
	}
}

func TestNew_refuses(t *testing.T) {
	if _, err := broker.New(broker.Config{}); err == nil {
		t.Error("a broker without a logger was made")
	}
	h := open(t, nil)
	for _, m := range []gateway.Message{
		{}, {Topic: "a/#"}, {Topic: "a\xff"}, {Topic: "a", QoS: 3},
	} {
		if err := h.Publish(m); err == nil {
			t.Errorf("%+v was published", m)
		}
	}
}
