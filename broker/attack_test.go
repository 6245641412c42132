package broker_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// The tests of this file and the next perform an attack twice: on the bare
// library, where it must succeed, and on the broker.

// brokenListener fails its first Accept.
type brokenListener struct {
	net.Listener
	failed atomic.Bool
}

// Accept implements net.Listener.
func (l *brokenListener) Accept() (net.Conn, error) {
	if l.failed.CompareAndSwap(false, true) {
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

// listen returns a listener whose first Accept fails.
func listen(t *testing.T) *brokenListener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &brokenListener{Listener: l}
}

// answered reports whether a CONNECT on addr is answered soon.
func answered(t *testing.T, addr string) bool {
	p := dial(t, addr)
	p.send(hello(link{user: "hass", id: "x"}))
	_ = p.c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err := p.r.ReadByte()
	return err == nil
}

func TestR1_acceptError(t *testing.T) {
	l := listen(t)
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	_ = s.AddHook(&allowAll{}, nil)
	if err := s.AddListener(listeners.NewNet("x", l)); err != nil {
		t.Fatal(err)
	}
	_ = s.Serve()
	defer func() { _ = s.Close() }()
	if answered(t, l.Addr().String()) {
		t.Error("the bare library goes on after an error of Accept")
	}

	ours := listen(t)
	h := openOn(t, ours)
	p := join(t, ours.Addr().String(), link{user: "hass", id: "x"})
	if p.connack[1] != 0 {
		t.Errorf("CONNACK %x", p.connack)
	}
	if n := h.Stats().AcceptErrors; n != 1 {
		t.Errorf("%d errors of Accept counted, want 1", n)
	}
}

func TestR1_connectTimeout(t *testing.T) {
	const limit = 200 * time.Millisecond
	_, addr := bareOpen(t, nil, nil)
	p := dial(t, addr)
	p.send([]byte{0x10, 20, 0, 4, 'M'})
	_ = p.c.SetReadDeadline(time.Now().Add(2 * limit))
	if _, err := p.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the bare library ended the connection: %v", err)
	}

	h := open(t, func(c *broker.Config) { c.Limits.ConnectTimeout = limit })
	silent, slow := dial(t, h.addr), dial(t, h.addr)
	slow.send([]byte{0x10, 20, 0, 4, 'M'})
	silent.gone()
	slow.gone()
	if n := h.Stats().ConnectTimeouts; n != 2 {
		t.Errorf("%d timeouts counted, want 2", n)
	}
}

func TestR1_connections(t *testing.T) {
	const most = 12
	_, addr := bareOpen(t, nil, nil)
	for i := range most + 5 {
		join(t, addr, link{user: "hass", id: fmt.Sprint(i)})
	}

	h := open(t, func(c *broker.Config) {
		c.Limits.Connections, c.Limits.Unauthenticated = most, 3
	})
	for range 3 {
		dial(t, h.addr)
	}
	eventually(t, "three connections", func() bool { return h.Stats().Connections == 3 })
	dial(t, h.addr).gone() // a fourth without CONNECT

	h2 := open(t, func(c *broker.Config) { c.Limits.Connections = most })
	for i := range most {
		h2.enter(link{user: "hass", id: fmt.Sprint(i)})
	}
	dial(t, h2.addr).gone()
	if n := h2.Stats().Crowded; n != 1 {
		t.Errorf("%d connections refused, want 1", n)
	}
}

func TestR1_silentConnections(t *testing.T) {
	h := open(t, func(c *broker.Config) { c.Limits.Connections, c.Limits.Unauthenticated = 4, 100 })
	first := dial(t, h.addr)
	for range 3 {
		dial(t, h.addr)
	}
	eventually(t, "all are in", func() bool { return h.Stats().Connections == 4 })
	h.enter(link{user: "hass", id: "x"}).ping()
	first.gone()
}

func TestR1_perDevice(t *testing.T) {
	_, addr := bareOpen(t, nil, nil)
	for i := range 9 {
		join(t, addr, link{user: "plug", id: fmt.Sprint(i)})
	}
	h := open(t, nil)
	for i := range 8 {
		h.enter(link{user: "plug", id: fmt.Sprint(i)})
	}
	if p := join(t, h.addr, link{version: 5, user: "plug", id: "8"}); p.connack[1] != 0x97 {
		t.Errorf("CONNACK %x, want quota exceeded", p.connack)
	}
	h.enter(link{user: "meter", id: "8"})
	h.enter(link{user: "plug", id: "7"}) // takes over its own
}

func TestR1_keepAlive(t *testing.T) {
	_, addr := bareOpen(t, nil, nil)
	p := join(t, addr, link{user: "plug", id: "x"})
	_ = p.c.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
	if _, err := p.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the bare library ended the connection: %v", err)
	}

	h := open(t, func(c *broker.Config) { c.Limits.KeepAlive = 100 * time.Millisecond })
	h.enter(link{user: "plug", id: "x"}).gone()
	if n := h.Stats().KeepAliveTimeouts; n != 1 {
		t.Errorf("%d timeouts counted, want 1", n)
	}
	five := h.enter(link{version: 5, user: "plug", id: "y", keepAlive: 3600})
	if !bytes.Contains(five.connack, []byte{packets.PropServerKeepAlive, 0, 180}) {
		t.Errorf("CONNACK %x has no server keep alive of 180 s", five.connack)
	}
}

func TestR2_lengthOfConnect(t *testing.T) {
	grown := func(addr string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p := dial(t, addr)
		p.send([]byte{0x10, 0xff, 0xff, 0xff, 0x7f, 0, 4, 'M'})
		_ = p.c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, _ = p.r.ReadByte()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	_, addr := bareOpen(t, nil, nil)
	if got := grown(addr); got < 200<<20 {
		t.Errorf("the bare library allocated %d bytes, want 256 MiB", got)
	}
	h := open(t, nil)
	if got := grown(h.addr); got > 1<<20 {
		t.Errorf("allocated %d bytes", got)
	}
	if n := h.Stats().Oversized; n != 1 {
		t.Errorf("%d frames over the limit counted, want 1", n)
	}
	for name, b := range map[string][]byte{
		"no CONNECT":           {0x30, 3, 0, 1, 'a'},
		"fifth length byte":    {0x10, 0xff, 0xff, 0xff, 0xff, 1},
		"CONNECT of 8193":      append([]byte{0x10, 0x81, 0x40}, make([]byte, 8193)...),
		"from a server":        {0x20, 2, 0, 0},
		"AUTH":                 {0xf0, 0},
		"packet type 0":        {0x00, 0},
		"CONNECT with a flag":  {0x11, 2, 0, 0},
		"CONNECT that is cut":  {0x10, 7, 0, 4, 'M', 'Q', 'T', 'T', 4},
		"CONNECT with surplus": append(hello(link{user: "hass", id: "x"}), 1),
	} {
		p := dial(t, h.addr)
		if name == "CONNECT with surplus" {
			b[1]++
		}
		p.send(b)
		if reason := p.gone(); reason != 0 {
			t.Errorf("%s: got reason %#x, want none", name, reason)
		}
	}
	h.enter(link{user: "hass", id: "x"})
}

func TestR2_frames(t *testing.T) {
	h := open(t, func(c *broker.Config) { c.Limits.FrameBudget = 6 << 20 })
	device := h.enter(link{version: 5, user: "plug", id: "x"})
	device.publish("wattle/plug/reading", strings.Repeat("x", 60<<10), 1, false, 1)
	device.expect(0x40, 2, 0, 1)
	device.send([]byte{0x32, 0x81, 0x80, 0x04}) // 64 KiB and a byte
	if got := device.gone(); got != 0x95 {
		t.Errorf("got reason %#x, want packet too large", got)
	}
	bridge := h.enter(link{user: "zigbee", id: "x"})
	bridge.publish("zigbee/bridge/devices", strings.Repeat("x", 3<<20), 1, false, 1)
	bridge.expect(0x40, 2, 0, 1)

	// Two long frames at a time are over the budget.
	long := bridge.publishBytes("zigbee/a", strings.Repeat("x", 4<<20-100), 1, false, 2)
	bridge.send(long[:5000])
	eventually(t, "the frame is being read", func() bool { return h.Stats().FrameBytes > 3<<20 })
	other := h.enter(link{version: 5, user: "zigbee", id: "y"})
	other.send([]byte{0x32, 0x80, 0x80, 0xc0, 0x01})
	if got := other.gone(); got != 0x89 {
		t.Errorf("got reason %#x, want server busy", got)
	}
	h.enter(link{user: "plug", id: "small"}).ping()
	bridge.send(long[5000:])
	bridge.expect(0x40, 2, 0, 2)
	if s := h.Stats(); s.OverBudget != 1 || s.FrameBytes != 0 {
		t.Errorf("got %+v", s)
	}
}

// cut is a SUBSCRIBE of MQTT 5 that ends before its options byte.
var cut = packet(0x82, []byte{0, 1, 0}, str("a"))

func TestR3_cutSubscribe(t *testing.T) {
	if os.Getenv("WATTLE_TEST_BARE") != "" { // in the child
		_, addr := bare(t, nil, nil)
		p := join(t, addr, link{version: 5, user: "hass", id: "x"})
		p.send(cut)
		p.gone()
		time.Sleep(patience) // the process ends while deferred functions run
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestR3_cutSubscribe$")
	child.Env = append(os.Environ(), "WATTLE_TEST_BARE=1")
	out, err := child.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("index out of range")) {
		t.Errorf("the bare library survives: %v\n%s", err, out)
	}

	h := open(t, nil)
	witness := h.enter(link{user: "nodred", id: "w"})
	p := h.enter(link{version: 5, user: "hass", id: "x"})
	p.send(cut)
	if got := p.gone(); got != 0x81 {
		t.Errorf("got reason %#x, want malformed", got)
	}
	witness.ping()
	if n := h.Stats().Panics; n != 0 {
		t.Errorf("%d panics, want none to survive", n)
	}
}

func TestR3_panicInHandle(t *testing.T) {
	h := open(t, nil)
	h.setHandle(func(m gateway.Message, done func(error)) error {
		if m.Topic == "bad" {
			panic("a fault of ours")
		}
		done(nil)
		return nil
	})
	p := h.enter(link{user: "hass", id: "x"})
	p.publish("bad", "x", 1, false, 1)
	p.publish("good", "x", 1, false, 2)
	p.expect(0x40, 2, 0, 2) // what was not stored is not acknowledged
	if n := h.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
}

// flood publishes n messages of 60 KiB with QoS 1 and returns how many were
// acknowledged; it gives up after a second without one.
func flood(p *peer, topic string, n int) (acked int) {
	frame := p.publishBytes(topic, strings.Repeat("x", 60<<10), 1, false, 1)
	for range n {
		_ = p.c.SetDeadline(time.Now().Add(time.Second))
		if _, err := p.c.Write(frame); err != nil {
			return acked
		}
		for {
			first, err := p.r.ReadByte()
			if err != nil {
				return acked
			}
			size, err := p.r.ReadByte()
			if err != nil {
				return acked
			}
			_, _ = p.r.Discard(int(size))
			if first == 0x40 {
				acked++
				break
			}
		}
	}
	return acked
}

func TestR4_subscriberStopsReading(t *testing.T) {
	const messages = 400 // 24 MiB
	_, addr := bareOpen(t, nil, nil)
	stuck := join(t, addr, link{user: "hass", id: "stuck"})
	stuck.subscribe(1, "a/#")
	if got := flood(join(t, addr, link{user: "hass", id: "p"}), "a/b", messages); got == messages {
		t.Error("the bare library serves the publisher")
	}
	_ = stuck.c.Close()

	for _, qos := range []byte{0, 1, 2} {
		h := open(t, nil)
		stuck := h.enter(link{user: "hass", id: "stuck"})
		stuck.subscribe(qos, "a/#")
		p := h.enter(link{user: "nodred", id: "p"})
		if got := flood(p, "a/b", messages); got != messages {
			t.Errorf("QoS %d: %d of %d acknowledged", qos, got, messages)
		}
		if s := h.Stats(); s.WriteBytes > 2<<20 || s.QueueBytes > 1<<20+128<<10 {
			t.Errorf("QoS %d: %d and %d bytes wait", qos, s.WriteBytes, s.QueueBytes)
		}
		if s := h.Stats(); s.Overflowed+s.QueueDropped == 0 {
			t.Errorf("QoS %d: nothing was dropped: %+v", qos, s)
		}
		again := h.enter(link{user: "hass", id: "stuck"}) // takeover does not wait either
		again.ping()
	}
}

func TestR4_stalledWriter(t *testing.T) {
	h := open(t, func(c *broker.Config) {
		c.Limits.WriteTimeout = 100 * time.Millisecond
		c.Limits.WriteQueue = 64 << 20
		c.Limits.WriteBudget = 64 << 20
	})
	stuck := h.enter(link{user: "hass", id: "stuck"})
	stuck.subscribe(0, "a/#")
	flood(h.enter(link{user: "nodred", id: "p"}), "a/b", 400)
	eventually(t, "stalled client dropped", func() bool { return h.Stats().Stalled == 1 })
	eventually(t, "its queue is given back", func() bool { return h.Stats().WriteBytes == 0 })
}

func TestR5_receiveMaximum(t *testing.T) {
	const messages = 12
	run := func(sub, pub *peer, inOrder bool) (got int) {
		sub.subscribe(1, "a")
		for i := range messages {
			pub.publish("a", fmt.Sprint(i), 1, false, uint16(i+1))
			pub.expect(0x40, 2, 0, byte(i+1))
		}
		open := 0
		for got < messages {
			_ = sub.c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			if _, err := sub.r.Peek(1); err != nil {
				if open == 0 {
					return got
				}
			} else if n := sub.receive(); true {
				if inOrder && n.payload != fmt.Sprint(got) {
					t.Errorf("got %q as number %d", n.payload, got)
				}
				got++
				if open++; open < 2 {
					continue
				}
			}
			for ; open > 0; open-- { // identifiers begin with 1
				id := got - open + 1
				sub.send([]byte{0x40, 2, byte(id >> 8), byte(id)})
			}
		}
		return got
	}
	two := []byte{packets.PropReceiveMaximum, 0, 2}
	_, addr := bareOpen(t, nil, nil)
	got := run(join(t, addr, link{version: 5, user: "hass", id: "s", props: two}),
		join(t, addr, link{user: "hass", id: "p"}), false)
	if got == messages {
		t.Error("the bare library delivers all messages")
	}
	h := open(t, nil)
	got = run(h.enter(link{version: 5, user: "hass", id: "s", props: two}),
		h.enter(link{user: "nodred", id: "p"}), true)
	if got != messages {
		t.Errorf("%d of %d messages came", got, messages)
	}
}

func TestR5_receiveMaximum_isHonoured(t *testing.T) {
	h := open(t, nil)
	sub := h.enter(link{
		version: 5, user: "hass", id: "s", props: []byte{packets.PropReceiveMaximum, 0, 2},
	})
	sub.subscribe(1, "a")
	for range 5 {
		_ = h.Publish(gateway.Message{Topic: "a", QoS: 1})
	}
	if notes := sub.ping(); len(notes) != 2 {
		t.Errorf("%d messages unacknowledged, want 2", len(notes))
	}
	sub.send([]byte{0x40, 2, 0, 1})
	if notes := sub.ping(); len(notes) != 1 || notes[0].id != 3 {
		t.Errorf("got %+v, want one more", notes)
	}
}
