package broker_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

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
	spy.watch(0, "secret/#")
	bad := link{user: "plug", id: "x", will: &testWill{topic: "secret/set", payload: "on"}}
	_ = join(t, addr, bad).c.Close()
	if n := spy.receive(); n.topic != "secret/set" {
		t.Errorf("got %+v", n)
	}

	h := open(t, nil)
	spy = h.enter(link{user: "hass", id: "spy"})
	spy.watch(0, "#")
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
	for _, f := range []string{
		deep, long, "", "a/#/b", "a#", "a+", "$share/g", "$share//a", "$share/+/a", "$SHARE/g/a",
	} {
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
		"foreign property":   {packet(0x30, str("a"), props([]byte{19, 0, 1})), 0x82},
		"no such property":   {packet(0x30, str("a"), props([]byte{99, 0, 1})), 0x82},
		"property cut":       {packet(0x30, str("a"), props([]byte{2, 0})), 0x81},
		"no filter":          {packet(0x82, []byte{0, 1, 0}), 0x82},
		"shared no local":    {packet(0x82, []byte{0, 1, 0}, str("$share/g/a"), []byte{4}), 0x82},
		"QoS 3":              {packet(0x82, []byte{0, 1, 0}, str("a"), []byte{3}), 0x81},
		"retain handling 3":  {packet(0x82, []byte{0, 1, 0}, str("a"), []byte{0x30}), 0x81},
		"from a server":      {[]byte{0xd0, 0}, 0x82},
		"AUTH":               {[]byte{0xf0, 0}, 0x82},
		"PINGREQ with more":  {[]byte{0xc0, 1, 0}, 0x81},
		"PUBACK too short":   {[]byte{0x40, 1, 0}, 0x81},
		"DISCONNECT expiry":  {packet(0xe0, []byte{0}, props([]byte{17, 0, 0, 0, 9})), 0x82},
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
