package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/wattle-home/wattle/gateway"
)

// connection is one MQTT connection while it lives.
type connection struct {
	conn   *frameConn
	paho   *paho.Client
	state  *state.State
	window int // QoS 1 messages that may be on the wire
}

// session makes one connection and serves it until it breaks or ctx ends. It
// returns why it ended; after ctx ended that is of no interest.
func (c *Client) session(ctx context.Context) error {
	alive, broke := context.WithCancelCause(ctx)
	defer broke(nil)
	k, err := c.connect(alive, broke)
	if err != nil {
		return err
	}
	err = c.serve(alive, k)
	c.offline()
	reason := byte(packets.DisconnectUnspecifiedError)
	if ctx.Err() != nil {
		_ = k.publish(c.o.Will) // if it fails, the broker does it
		reason = packets.DisconnectNormalDisconnection
	}
	_ = k.paho.Disconnect(&paho.Disconnect{ReasonCode: reason}) // closes in any case
	return err
}

// connect dials and gets through CONNECT. When the connection breaks later,
// broke is called with the reason.
func (c *Client) connect(ctx context.Context, broke func(error)) (*connection, error) {
	raw, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	k := &connection{conn: &frameConn{Conn: raw}, state: state.NewInMemory(), window: window}
	k.paho = paho.NewClient(paho.ClientConfig{
		Conn:          k.conn,
		Session:       k.state,
		PacketTimeout: dialTimeout,
		OnClientError: broke,
		OnServerDisconnect: func(d *paho.Disconnect) {
			broke(fmt.Errorf("the broker disconnected with code 0x%02x", d.ReasonCode))
		},
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){c.received},
	})
	most := uint16(inboundMax)
	cp := &paho.Connect{
		ClientID:     c.o.ClientID,
		Username:     c.o.Username,
		UsernameFlag: c.o.Username != "",
		Password:     []byte(c.o.Password),
		PasswordFlag: c.o.Password != "",
		KeepAlive:    uint16(min(c.o.KeepAlive/time.Second+1, 65535)),
		CleanStart:   true,
		// The library keeps room for so many messages, 65,535 unless told.
		Properties: &paho.ConnectProperties{ReceiveMaximum: &most},
	}
	if w := c.o.Will; w != nil {
		cp.WillMessage = &paho.WillMessage{
			Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain,
		}
	}
	ack, err := k.paho.Connect(ctx, cp)
	if err != nil {
		if ack != nil && ack.ReasonCode >= 0x80 {
			no := &refusedError{code: ack.ReasonCode}
			if ack.Properties != nil {
				no.reason = ack.Properties.ReasonString
			}
			return nil, no
		}
		return nil, fmt.Errorf("awaiting the broker's CONNACK: %w", err)
	}
	if ack.Properties != nil && ack.Properties.ReceiveMaximum != nil {
		k.window = min(k.window, int(*ack.Properties.ReceiveMaximum))
	}
	return k, nil
}

// dial opens the TCP connection, with TLS where the URL asks for it.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	d := &net.Dialer{Timeout: dialTimeout}
	if !c.secure {
		return d.DialContext(ctx, "tcp", c.addr)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return (&tls.Dialer{NetDialer: d, Config: c.o.TLS}).DialContext(ctx, "tcp", c.addr)
}

// serve subscribes and then sends what is queued until alive ends, whose cause
// it returns, or sending fails.
func (c *Client) serve(alive context.Context, k *connection) error {
	if err := c.subscribe(alive, k); err != nil {
		return err
	}
	if err := k.publish(c.o.Birth); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	c.mu.Lock()
	c.online, c.ever = true, true
	c.mu.Unlock()
	c.o.Logger.InfoContext(alive, "mqtt connected", "broker", c.addr, "client_id", c.o.ClientID)
	if c.o.Connected != nil {
		c.o.Connected()
	}
	for {
		answer, err := c.transmit(alive, k)
		if err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		select {
		case p := <-answer:
			c.settle(alive, p)
		case <-c.wake:
		case <-alive.Done():
			return context.Cause(alive)
		}
	}
}

// subscribe asks for the topic filters. A filter that the broker refuses is
// logged: the device can still tell what it measures.
func (c *Client) subscribe(alive context.Context, k *connection) error {
	for _, filter := range c.o.Subscribe {
		ack, err := k.paho.Subscribe(alive, &paho.Subscribe{
			Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: 1}},
		})
		switch {
		case err == nil:
		case ack != nil && len(ack.Reasons) == 1:
			c.o.Logger.WarnContext(alive, "mqtt subscription refused", "topic", filter,
				"client_id", c.o.ClientID, "code", ack.Reasons[0])
		default:
			return fmt.Errorf("subscribing to %q: %w", filter, err)
		}
	}
	return nil
}

// transmit writes what the window allows. It returns where the answer to the
// oldest message on the wire will come from; nil if there is none.
func (c *Client) transmit(
	alive context.Context, k *connection,
) (<-chan packets.ControlPacket, error) {
	for {
		o, oldest := c.next(k.window)
		if o == nil {
			return oldest, nil
		}
		pb := (&paho.Publish{
			Topic: o.m.Topic, Payload: o.m.Payload, QoS: o.m.QoS, Retain: o.m.Retain,
		}).Packet()
		if o.m.QoS > 0 {
			if err := k.state.AddToSession(alive, pb, o.done); err != nil {
				return nil, err
			}
		}
		if _, err := pb.WriteTo(k.conn); err != nil {
			return nil, err
		}
	}
}

// next takes the next message to send out of the queue, or counts it as on the
// wire if it will be acknowledged. If none may be sent it returns nil and
// where the oldest message on the wire gets its answer.
func (c *Client) next(window int) (o *outgoing, oldest <-chan packets.ControlPacket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent < len(c.queue) {
		o = c.queue[c.sent]
		switch {
		case o.m.QoS == 0:
			c.remove(c.sent)
			return o, nil
		case c.sent < window:
			o.done = make(chan packets.ControlPacket, 1)
			c.sent++
			return o, nil
		}
	}
	if c.sent == 0 {
		return nil, nil
	}
	return nil, c.queue[0].done
}

// settle takes the answer to the oldest message on the wire.
func (c *Client) settle(ctx context.Context, p packets.ControlPacket) {
	ack, ok := p.Content.(*packets.Puback)
	if !ok {
		return // the connection ends; the message will be sent again
	}
	c.mu.Lock()
	m := c.queue[0].m
	c.remove(0)
	c.sent--
	c.mu.Unlock()
	var err error
	if ack.ReasonCode >= 0x80 {
		err = fmt.Errorf("publishing to %q: refused with code 0x%02x", m.Topic, ack.ReasonCode)
		if !c.refused[ack.ReasonCode] {
			c.refused[ack.ReasonCode] = true
			c.o.Logger.WarnContext(ctx, "mqtt message refused", "topic", m.Topic,
				"client_id", c.o.ClientID, "code", ack.ReasonCode)
		}
	}
	if c.o.Settled != nil {
		c.o.Settled(m, err)
	}
}

// remove takes out queue[i]. c.mu is held.
func (c *Client) remove(i int) {
	copy(c.queue[i:], c.queue[i+1:])
	c.queue[len(c.queue)-1] = nil
	c.queue = c.queue[:len(c.queue)-1]
	close(c.changed)
	c.changed = make(chan struct{})
}

// offline puts what was on the wire back into the queue, and drops what has
// no claim to be delivered later.
func (c *Client) offline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.online, c.sent = false, 0
	for i := 0; i < len(c.queue); {
		if c.queue[i].m.QoS == 0 {
			c.remove(i)
			continue
		}
		c.queue[i].done = nil
		i++
	}
}

// publish sends m past the queue, if it is not nil. Its QoS is 0: nobody waits
// for an answer.
func (k *connection) publish(m *gateway.Message) error {
	if m == nil {
		return nil
	}
	p := &paho.Publish{Topic: m.Topic, Payload: m.Payload, Retain: m.Retain}
	_, err := p.Packet().WriteTo(k.conn)
	return err
}

// received hands an incoming message on.
func (c *Client) received(p paho.PublishReceived) (bool, error) {
	if c.o.Received != nil {
		c.o.Received(gateway.Message{
			Topic:   p.Packet.Topic,
			Payload: p.Packet.Payload,
			QoS:     p.Packet.QoS,
			Retain:  p.Packet.Retain,
		})
	}
	return true, nil
}

// frameConn writes each MQTT frame at once and gives up on a peer that does
// not take it within writeTimeout. The library locks it for each frame.
type frameConn struct {
	net.Conn
	mu    sync.Mutex
	frame bytes.Buffer
}

// Lock begins a frame. It implements sync.Locker, for which the library asks.
func (f *frameConn) Lock() { f.mu.Lock() }

// Write adds to the frame. The frame is complete with Unlock.
func (f *frameConn) Write(b []byte) (int, error) { return f.frame.Write(b) }

// Unlock sends the frame. If that fails the connection is closed, which its
// reader notices.
func (f *frameConn) Unlock() {
	defer f.mu.Unlock()
	defer f.frame.Reset()
	err := f.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = f.Conn.Write(f.frame.Bytes())
	}
	if err != nil {
		_ = f.Close()
	}
}
