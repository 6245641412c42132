package broker

import (
	"errors"
	"log/slog"
	"math"
	"slices"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is the one hook that the library gets: hooks are joined by "or", so a
// second one could only admit more.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// errRefused is what the library gets for a CONNECT that was answered.
var errRefused = errors.New("client refused")

// makeServer makes the library's server. It never serves: it has no listener
// and its event loop does not run.
func (b *Broker) makeServer() error {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumMessageExpiryInterval = 0 // R9; ours are retained elsewhere anyway
	caps.MaximumClientWritesPending = 1   // nothing is written that way
	caps.MaximumSessionExpiryInterval = uint32(b.limits.SessionExpiry.Seconds())
	caps.ReceiveMaximum = uint16(min(b.limits.ReceiveMaximum, math.MaxUint16))
	caps.TopicAliasMaximum = 0
	b.server = mqtt.New(&mqtt.Options{
		Capabilities:             caps,
		ClientNetReadBufferSize:  16, // conn has a buffer
		ClientNetWriteBufferSize: 16,
		SysTopicResendInterval:   math.MaxInt32,
		Logger:                   slog.New(slog.DiscardHandler), // it logs whole packets
	})
	return b.server.AddHook(&hook{b: b}, nil)
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "wattle" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablished,
		mqtt.OnPacketEncode, mqtt.OnACLCheck, mqtt.OnPublish,
	}, b)
}

// OnConnect decides on a CONNECT before the library looks for its session. A
// client that is refused is told why here, where the reason is known.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return errRefused
	}
	if c.connect.id == "" {
		c.connect.id = cl.ID // assigned by the library
	}
	if why := c.admit(); why != 0 {
		c.reason.CompareAndSwap(0, int32(why))
		c.refuse(why)
		return errRefused
	}
	c.cl = cl
	cl.ID = c.session.key
	c.settings()
	cl.State.Keepalive = uint16(min(c.keepAlive.Seconds(), math.MaxUint16))
	cl.State.ServerKeepalive = c.version >= 5
	// R5: with a Receive Maximum the library loses count of its quota and can
	// deadlock. Ours is honoured in session.
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	cl.Properties.Will = mqtt.Will{}
	c.will = c.connect.takeWill(c)
	h.b.resume(c)
	return nil
}

// resume prepares the session for c: a fresh one ends what was, and sends a
// will that waited; the client's return takes such a will back.
func (b *Broker) resume(c *conn) {
	s := c.session
	fresh := c.connect.clean()
	b.mu.Lock()
	w := s.delayed
	s.delayed = nil
	b.mu.Unlock()
	if w != nil && fresh {
		b.sendWill(w)
	}
	if fresh {
		b.routes.dropParents(s)
	}
	s.prepare(c, fresh)
	b.routes.changed()
}

// OnConnectAuthenticate lets in whom OnConnect let in.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	c, ok := cl.Net.Conn.(*conn)
	return ok && c.cl == cl
}

// OnPacketEncode completes CONNACK.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if c, ok := cl.Net.Conn.(*conn); ok && pk.FixedHeader.Type == packets.Connack &&
		pk.ReasonCode == 0 {
		pk.Properties.MaximumPacketSize = uint32(c.frameLimit()) + 5
	}
	return pk
}

// OnSessionEstablished begins delivery, after CONNACK.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return
	}
	h.b.routes.changed() // subscriptions were resumed or dropped
	c.established = true
	c.session.attach(c)
	h.b.connected(c.client, true)
	h.b.log.Debug("client connected", "client", c.client.Name, "client_id", clip(c.client.ID),
		"remote", c.host, "version", c.version)
	if h.b.stopping.Load() {
		c.disconnect(codeShuttingDown)
	}
}

// OnACLCheck refuses everything: what the library would check never reaches
// it.
func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool { return false }

// OnPublish rejects everything, for the same reason.
func (h *hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, packets.ErrRejectPacket
}

// takeWill returns the will as a message, or nil.
func (k *connect) takeWill(c *conn) *will {
	if !k.hasWill {
		return nil
	}
	w := &will{
		client: c.client, origin: c.session,
		topic: k.willTopic, payload: k.willBody, props: k.willProps.forward,
		qos: k.willQoS(), retain: k.flags&flagRetain != 0,
		delay: seconds(k.willProps.willDelay),
	}
	if k.willProps.has(packets.PropMessageExpiryInterval) {
		w.expiry, w.hasExpiry = seconds(k.willProps.messageExpiry), true
	}
	return w
}
