package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// strict is a hook for the bare library: everybody comes in, nobody may
// write below "secret/", and what else a test says.
type strict struct {
	allowAll
	publish func(pk packets.Packet) (packets.Packet, error)
	shut    atomic.Bool // nobody comes in any more
}

// Provides implements mqtt.Hook.
func (s *strict) Provides(b byte) bool {
	return s.allowAll.Provides(b) || b == mqtt.OnPublish && s.publish != nil
}

// OnConnectAuthenticate implements mqtt.Hook.
func (s *strict) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return !s.shut.Load() }

// OnACLCheck implements mqtt.Hook.
func (*strict) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	return !write || !strings.HasPrefix(topic, "secret/")
}

// OnPublish implements mqtt.Hook.
func (s *strict) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return s.publish(pk)
}

func TestR6_will(t *testing.T) {
	_, addr := bareOpen(t, &strict{}, nil)
	spy := join(t, addr, link{user: "hass", id: "spy"})
	spy.subscribe(0, "secret/#")
	bad := link{user: "plug", id: "x", will: &testWill{topic: "secret/set", payload: "on"}}
	_ = join(t, addr, bad).c.Close()
	if n := spy.receive(); n.topic != "secret/set" {
		t.Errorf("got %+v", n)
	}

	h := open(t, nil)
	spy = h.enter(link{user: "hass", id: "spy"})
	spy.subscribe(0, "#")
	for _, topic := range []string{
		"secret/set", "wattle/plug/set", "wattle/meter/reading", "$SYS/x", "wattle/plug/" +
			strings.Repeat("x", 300), "wattle/plug/" + strings.Repeat("/", 20),
	} {
		bad.will.topic = topic
		for version, want := range map[byte]byte{4: 5, 5: 0x87} {
			bad.version = version
			p := join(t, h.addr, bad)
			if p.connack[1] != want {
				t.Errorf("will on %.30q, version %d: CONNACK %x, want %d", topic, version, p.connack, want)
			}
			p.gone()
		}
	}
	for _, topic := range []string{"wattle/plug/#", "wattle/+/reading", ""} {
		bad.will.topic, bad.version = topic, 5
		if p := join(t, h.addr, bad); p.connack[1] != 0x90 {
			t.Errorf("will on %q: CONNACK %x, want topic name invalid", topic, p.connack)
		}
	}
	if notes := spy.ping(); len(notes) != 0 {
		t.Errorf("came through: %s", say(notes))
	}
}

func TestR6_clientID(t *testing.T) {
	_, addr := bareOpen(t, nil, nil)
	victim := join(t, addr, link{user: "meter", id: "same", keep: true})
	thief := join(t, addr, link{user: "plug", id: "same", keep: true})
	victim.gone()
	if thief.connack[0] != 1 {
		t.Error("the bare library keeps the sessions apart")
	}

	h := open(t, nil)
	victim = h.enter(link{user: "meter", id: "same", keep: true})
	victim.subscribe(1, "wattle/meter/set")
	thief = h.enter(link{user: "plug", id: "same", keep: true})
	if thief.connack[0] != 0 {
		t.Error("the session of another credential was resumed")
	}
	_ = h.Publish(gateway.Message{Topic: "wattle/meter/set", QoS: 1, Payload: []byte("on")})
	if n := victim.receive(); n.payload != "on" {
		t.Errorf("got %+v", n)
	}
	if notes := thief.ping(); len(notes) != 0 {
		t.Errorf("came through: %s", say(notes))
	}
	again := h.enter(link{user: "meter", id: "same", keep: true})
	if again.connack[0] != 1 {
		t.Error("the own session was not resumed")
	}
	victim.gone()
}

func TestR7_limits(t *testing.T) {
	deep := strings.Repeat("/", 4000)
	_, addr := bareOpen(t, nil, nil)
	p := join(t, addr, link{version: 5, user: "hass", id: "x"})
	if got := p.subscribe(0, deep); got[0] != 0 {
		t.Errorf("the bare library refuses 4000 levels: %x", got)
	}

	h := open(t, nil)
	p = h.enter(link{version: 5, user: "hass", id: "x"})
	long := strings.Repeat("x", 257)
	for _, f := range []string{deep, long, "", "a/#/b", "a#", "a+", "$share/g", "$share//a", "$share/+/a", "$SHARE/g/a"} {
		if got := p.subscribe(0, f); got[0] != 0x8f {
			t.Errorf("filter %.20q: %x, want filter invalid", f, got)
		}
	}
	for _, topic := range []string{deep, long} {
		p.publish(topic, "", 1, false, 1)
		p.expect(0x40, 3, 0, 1, 0x90)
	}
	h.enter(link{user: "hass", id: "4"}).subscribe(0, deep)
	if got := h.enter(link{user: "hass", id: "4"}).subscribe(0, deep); got[0] != 0x80 {
		t.Errorf("got %x, want failure", got)
	}
	var many []string
	for i := range 64 {
		many = append(many, fmt.Sprint("f/", i))
	}
	if got := p.subscribe(0, many...); bytes.ContainsAny(got, "\x80\x87\x97") {
		t.Errorf("64 filters: %x", got)
	}
	if got := p.subscribe(0, "one more", "f/1"); got[0] != 0x97 || got[1] != 0 {
		t.Errorf("got %x, want quota exceeded and success", got)
	}
}

func TestR7_closes(t *testing.T) {
	user := func(n int) []byte {
		return bytes.Repeat([]byte{packets.PropUser, 0, 1, 'a', 0, 1, 'b'}, n)
	}
	var filters []byte
	for range 65 {
		filters = append(append(filters, str("f")...), 0)
	}
	h := open(t, nil)
	for name, c := range map[string]struct {
		frame []byte
		want  byte
	}{
		"second CONNECT":     {hello(link{version: 5, user: "hass", id: "x"}), 0x82},
		"65 filters":         {packet(0x82, []byte{0, 1, 0}, filters), 0x97},
		"17 user properties": {packet(0x30, str("a"), props(user(17))), 0x97},
		"topic alias":        {packet(0x30, str("a"), props([]byte{packets.PropTopicAlias, 0, 1})), 0x94},
		"alias alone":        {packet(0x30, str(""), props([]byte{packets.PropTopicAlias, 0, 1})), 0x94},
		"no topic":           {packet(0x30, str(""), props(nil)), 0x82},
		"wildcard":           {packet(0x30, str("a/#"), props(nil)), 0x90},
		"no UTF-8":           {packet(0x30, str("a\xff"), props(nil)), 0x81},
		"NUL":                {packet(0x30, str("a\x00"), props(nil)), 0x81},
		"identifier 0":       {packet(0x32, str("a"), []byte{0, 0, 0}), 0x81},
		"property twice":     {packet(0x30, str("a"), props([]byte{1, 0, 1, 0})), 0x82},
		"foreign property":   {packet(0x30, str("a"), props([]byte{packets.PropServerKeepAlive, 0, 1})), 0x82},
		"no such property":   {packet(0x30, str("a"), props([]byte{99, 0, 1})), 0x82},
		"property cut":       {packet(0x30, str("a"), props([]byte{packets.PropMessageExpiryInterval, 0})), 0x81},
		"no filter":          {packet(0x82, []byte{0, 1, 0}), 0x82},
		"shared no local":    {packet(0x82, []byte{0, 1, 0}, str("$share/g/a"), []byte{4}), 0x82},
		"QoS 3":              {packet(0x82, []byte{0, 1, 0}, str("a"), []byte{3}), 0x81},
		"retain handling 3":  {packet(0x82, []byte{0, 1, 0}, str("a"), []byte{0x30}), 0x81},
		"from a server":      {[]byte{0xd0, 0}, 0x82},
		"AUTH":               {[]byte{0xf0, 0}, 0x82},
		"PINGREQ with more":  {[]byte{0xc0, 1, 0}, 0x81},
		"PUBACK too short":   {[]byte{0x40, 1, 0}, 0x81},
		"DISCONNECT expiry":  {packet(0xe0, []byte{0}, props([]byte{packets.PropSessionExpiryInterval, 0, 0, 0, 9})), 0x82},
	} {
		p := h.enter(link{version: 5, user: "hass", id: "x"})
		p.send(c.frame)
		if got := p.gone(); got != c.want {
			t.Errorf("%s: got reason %#x, want %#x", name, got, c.want)
		}
	}
	p := h.enter(link{version: 5, user: "hass", id: "x"})
	p.subscribe(0, "a")
	p.send(packet(0x30, str("a"), props(user(16)), []byte("x")))
	if n := p.receive(); !bytes.Equal(n.props, user(16)) {
		t.Errorf("user properties %x, want 16", n.props)
	}
}

func TestR7_passwordInLog(t *testing.T) {
	logged := &logbook{}
	_, addr := bareOpen(t, nil, func(o *mqtt.Options) {
		o.Logger = slog.New(slog.NewTextHandler(logged, nil))
	})
	second := hello(link{user: "zigbee", id: "canary"})
	p := join(t, addr, link{user: "hass", id: "x"})
	p.send(second)
	p.gone()
	password := fmt.Sprint([]byte("zigbee")) // as %v prints it
	if !strings.Contains(logged.String(), password[1:len(password)-1]) {
		t.Errorf("the bare library does not log the password:\n%s", logged)
	}
	h := open(t, nil)
	p = h.enter(link{user: "hass", id: "x"})
	p.send(second)
	p.gone()
	if s := h.logged.String(); strings.Contains(s, password[1:len(password)-1]) ||
		strings.Contains(s, "zigbee") {
		t.Errorf("the password is in the log:\n%s", s)
	}
}

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
	spy.subscribe(1, "wattle/#")
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
	spy.subscribe(0, "#")
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
		p := h.enter(link{version: 5, user: "zigbee", id: "x", props: []byte{packets.PropReceiveMaximum, 0, 1}})
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
	spy.subscribe(0, "#")
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
		c.Authenticate = func(user string, pw []byte, remote string) (gateway.Client, gateway.Grant, error) {
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
