package broker

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// conn is one client's connection. The library sees it as a net.Conn.
//
// Its reading half belongs to the goroutine that runs Broker.serve; fields
// without a comment on locks are that goroutine's.
type conn struct {
	b    *Broker
	raw  net.Conn
	host string
	in   reader
	out  outbox
	acks acks

	opened  time.Time
	feed    []byte // the frame that the library reads at the moment
	version byte   // MQTT level of the CONNECT; 0 before it
	connect connect
	cl      *mqtt.Client // the library's; nil before CONNECT was accepted

	client      gateway.Client
	grant       gateway.Grant
	topics      map[string]*topic // what was found out about topics published to
	scratch     message           // the last of QoS 0 that came
	will        *will             // nil when there is none to send
	established bool              // CONNACK went out and Connected was called
	session     *session          // claimed; nil before
	owns        *session          // the same, under Broker.mu
	proven      bool              // authenticated, or gone; under Broker.mu
	live        atomic.Pointer[session]

	keepAlive time.Duration
	bucket    bucket

	reason  atomic.Int32  // why we ended it; 0: the client or the network did
	dropped atomic.Bool   // by Drop: no will, no session
	once    sync.Once     // closes closing
	closing chan struct{} // closed when the connection shall end
	ended   chan struct{} // closed when all that belongs to it has ended
}

// errClosed is what the library gets from Read when the connection ends.
var errClosed = errors.New("connection closed by the gateway")

// Read implements net.Conn for the library. It handles frames until one comes
// that is the library's, and returns bytes of that one.
func (c *conn) Read(p []byte) (int, error) {
	for len(c.feed) == 0 {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.feed)
	c.feed = c.feed[n:]
	return n, nil
}

// Write implements net.Conn for the library. It never blocks.
func (c *conn) Write(p []byte) (int, error) {
	if c.version < 5 && len(p) > 0 && p[0] == byteDisconnect {
		return len(p), nil // 3.1.1 servers just close
	}
	buf, ok := c.out.begin()
	if !ok {
		return 0, errClosed
	}
	c.out.end(append(buf, p...))
	return len(p), nil
}

// Close implements net.Conn for the library.
func (c *conn) Close() error {
	c.shut()
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements net.Conn. The library would lift the deadlines that
// are set here.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn; see SetDeadline.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn; see SetDeadline.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// shut ends the connection after what is queued was written. It does not
// wait and may be called from any goroutine.
func (c *conn) shut() {
	c.out.finish()
	c.once.Do(func() { close(c.closing) })
	_ = c.raw.SetReadDeadline(time.Unix(1, 0))
}

// abort resets the connection. It may be called from any goroutine.
func (c *conn) abort() {
	c.out.abort()
	c.once.Do(func() { close(c.closing) })
}

// isClosing reports whether the connection is to end or has ended. It may be
// called from any goroutine.
func (c *conn) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// disconnect tells an MQTT 5 client why and ends the connection. It may be
// called from any goroutine once CONNECT was accepted.
func (c *conn) disconnect(why code) {
	c.reason.CompareAndSwap(0, int32(why))
	if c.version >= 5 {
		if buf, ok := c.out.begin(); ok {
			c.out.end(append(buf, byteDisconnect, 2, byte(why), 0))
		}
	}
	c.shut()
}

// fail ends the connection for what the client sent, and returns the error
// for the library.
func (c *conn) fail(why code) error {
	c.b.stats.protocol.Add(1)
	if c.established {
		c.disconnect(why)
	} else {
		c.shut()
	}
	return errClosed
}

// next reads one frame and handles it, or puts it into feed.
func (c *conn) next() error {
	if err := c.pause(); err != nil {
		return err
	}
	h, err := c.readHeader()
	if err != nil {
		return err
	}
	if c.cl == nil {
		return c.first(h)
	}
	if h.length > c.frameLimit() {
		c.b.stats.oversized.Add(1)
		return c.fail(codeTooLarge)
	}
	body, owned, err := c.readBody(h)
	if err != nil {
		return err
	}
	if why := c.frame(h, body, owned); why != 0 {
		return c.fail(why)
	}
	return nil
}

// frame handles a frame after CONNECT. owned says that body is not the read
// buffer's. The code is 0 if all is well.
func (c *conn) frame(h header, body []byte, owned bool) code {
	switch h.kind {
	case packets.Publish:
		return c.publish(h.flags, body, owned)
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		return c.acknowledged(h.kind, body)
	case packets.Pubrel:
		return c.release(body)
	case packets.Subscribe:
		return c.subscribe(body)
	case packets.Unsubscribe:
		return c.unsubscribe(body)
	case packets.Pingreq:
		if h.length != 0 {
			return codeMalformed
		}
		c.feed = []byte{packets.Pingreq << 4, 0}
		return 0
	case packets.Disconnect:
		return c.goodbye(body)
	default: // a second CONNECT [MQTT-3.1.0-2]
		return codeProtocolError
	}
}

// first handles the first frame, which must be a CONNECT of moderate size.
func (c *conn) first(h header) error {
	if h.kind != packets.Connect {
		return c.fail(codeProtocolError)
	}
	if h.length > c.b.limits.ConnectSize {
		c.b.stats.oversized.Add(1)
		return c.fail(codeTooLarge)
	}
	body, _, err := c.readBody(h)
	if err != nil {
		return err
	}
	var why code
	if c.connect, why = parseConnect(body, c.b.limits.UserProperties); why == 0 {
		c.version = c.connect.version
		why = c.connect.check()
	}
	if why != 0 {
		c.version = c.connect.version
		c.refuse(why)
		return c.fail(why)
	}
	c.feed = c.connect.forLibrary(body)
	return nil
}

// goodbye handles a DISCONNECT.
func (c *conn) goodbye(body []byte) code {
	reason := codeSuccess
	if c.version >= 5 && len(body) > 0 {
		cur := cursor{b: body}
		reason = code(cur.byte())
		if len(cur.b) > 0 {
			p, bad := parseProperties(&cur, packets.Disconnect, c.b.limits.UserProperties)
			if bad != 0 {
				return bad
			}
			if p.sessionExpiry > 0 && c.connect.props.sessionExpiry == 0 {
				return codeProtocolError // [MQTT-3.14.2-2]
			}
		}
		if len(cur.b) > 0 {
			return codeMalformed
		}
	} else if len(body) > 0 {
		return codeMalformed
	}
	if reason == codeSuccess {
		c.will = nil // [MQTT-3.14.4-3]
	}
	c.feed = appendVarint([]byte{byteDisconnect}, len(body))
	c.feed = append(c.feed, body...)
	return 0
}

// frameLimit is the longest frame that this client may send.
func (c *conn) frameLimit() int {
	switch c.client.Kind {
	case gateway.KindBridge:
		return c.b.limits.BridgeFrame
	case gateway.KindClient:
		return c.b.limits.ClientFrame
	default:
		return c.b.limits.DeviceFrame
	}
}

// pause holds the next read while the client is over its rate, or while a
// client without a Receive Maximum has too many messages unacknowledged.
func (c *conn) pause() error {
	var d time.Duration
	if c.bucket.rate > 0 { // the clock has its price
		d = c.bucket.take(time.Now())
	}
	if d > 0 {
		c.b.stats.throttled.Add(1)
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-c.closing:
			return errClosed
		}
	}
	if !c.acks.waitBelow(c.b.limits.ReceiveMaximum, c.version, c.closing) {
		return errClosed
	}
	return nil
}

// reader is the read buffer of a connection: small while it idles, large
// while much arrives.
type reader struct {
	buf   []byte
	r, w  int
	last  int // bytes of the last read
	large bool
}

// Sizes of the read buffer.
const (
	smallBuffer = 512
	largeBuffer = 16 << 10
)

// readHeader reads the fixed header of the next frame.
func (c *conn) readHeader() (header, error) {
	for first := true; ; first = false {
		h, bad := parseHeader(c.in.buf[c.in.r:c.in.w])
		if bad != 0 {
			return h, c.fail(bad)
		}
		if h.size > 0 {
			c.in.r += h.size
			return h, nil
		}
		idle := first && c.in.r == c.in.w
		if err := c.fill(idle); err != nil {
			return h, err
		}
	}
}

// readBody reads the rest of a frame. The bytes are valid to the next read
// unless owned is true.
func (c *conn) readBody(h header) (body []byte, owned bool, err error) {
	if h.length > len(c.in.buf)-c.in.r && h.length > smallBuffer {
		return c.readLong(h.length)
	}
	for c.in.w-c.in.r < h.length {
		if err := c.fill(false); err != nil {
			return nil, false, err
		}
	}
	body = c.in.buf[c.in.r : c.in.r+h.length]
	c.in.r += h.length
	return body, false, nil
}

// readLong reads a frame that does not fit into the buffer, within the budget
// that all connections share.
func (c *conn) readLong(length int) (body []byte, owned bool, err error) {
	budget := &c.b.stats.frameBytes
	defer budget.Add(-int64(length))
	if budget.Add(int64(length)) > c.b.limits.FrameBudget {
		c.b.stats.overBudget.Add(1)
		return nil, false, c.fail(codeBusy)
	}
	body = make([]byte, length)
	n := copy(body, c.in.buf[c.in.r:c.in.w])
	c.in.r += n
	c.setReadDeadline(false)
	if _, err := io.ReadFull(c.raw, body[n:]); err != nil {
		return nil, false, c.readError(err)
	}
	return body, true, nil
}

// fill reads more bytes into the buffer. idle says that no frame has begun.
func (c *conn) fill(idle bool) error {
	in := &c.in
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
	if in.r > 0 && in.w == len(in.buf) {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	switch {
	case in.buf == nil:
		in.buf = make([]byte, smallBuffer)
	case in.large && in.w == 0 && in.last < smallBuffer:
		large := in.buf
		c.b.buffers.Put(&large)
		in.buf, in.large = make([]byte, smallBuffer), false
	}
	c.setReadDeadline(idle)
	n, err := c.raw.Read(in.buf[in.w:])
	in.w += n
	in.last = n
	if n == 0 && err != nil {
		return c.readError(err)
	}
	if in.w == len(in.buf) && !in.large && c.cl != nil {
		big := *c.b.buffers.Get().(*[]byte)
		in.w = copy(big, in.buf[in.r:in.w])
		in.r, in.buf, in.large = 0, big, true
	}
	return nil
}

// setReadDeadline sets how long the next read may take.
func (c *conn) setReadDeadline(idle bool) {
	var t time.Time
	switch {
	case c.cl == nil:
		t = c.opened.Add(c.b.limits.ConnectTimeout)
	case idle:
		t = time.Now().Add(c.keepAlive + c.keepAlive/2) // [MQTT-3.1.2-22]
	default:
		t = time.Now().Add(c.b.limits.FrameTimeout)
	}
	_ = c.raw.SetReadDeadline(t)
	if c.isClosing() { // shut may have set its deadline before ours
		_ = c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// readError counts a failed read and returns the error for the library.
func (c *conn) readError(err error) error {
	if c.isClosing() {
		return errClosed
	}
	if isTimeout(err) {
		if c.cl == nil {
			c.b.stats.connectTimeouts.Add(1)
		} else {
			c.b.stats.keepAliveTimeouts.Add(1)
			c.disconnect(codeKeepAlive)
		}
	}
	return err
}

// bucket is a token bucket. A rate of 0 or less is no limit.
type bucket struct {
	rate, burst float64
	tokens      float64
	last        time.Time
}

// take takes one token and returns how long to wait for it, at most a second.
func (k *bucket) take(now time.Time) time.Duration {
	if k.rate <= 0 {
		return 0
	}
	k.tokens = min(k.burst, k.tokens+now.Sub(k.last).Seconds()*k.rate)
	k.last = now
	k.tokens--
	if k.tokens >= 0 {
		return 0
	}
	k.tokens = max(k.tokens, -k.rate) // debt of one second at most
	return time.Duration(-k.tokens / k.rate * float64(time.Second))
}
