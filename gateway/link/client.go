package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/wattle-home/wattle/gateway"
)

// Limits of a connection.
const (
	dialTimeout  = 10 * time.Second
	writeTimeout = 5 * time.Second
	firstPause   = 500 * time.Millisecond // before the second try
	lastPause    = 30 * time.Second       // the longest between tries
	steadyAfter  = 5 * time.Second        // a connection that lived so long starts the pauses anew
	inboundMax   = 32                     // messages on their way to us at a time
	window       = 20                     // QoS 1 messages on their way from us
	defaultQueue = 1000
	defaultAlive = time.Minute
)

// Options say how a Client connects and what it does with what comes in.
type Options struct {
	Broker   string // mqtt://host[:port], or mqtts:// with TLS
	ClientID string
	Username string
	Password string
	// KeepAlive is after how much silence the client pings; 0 means a minute.
	KeepAlive time.Duration
	// Birth, if not nil, is published first after each connect.
	Birth *gateway.Message
	// Will, if not nil, is published by the broker when the connection breaks,
	// and by the client itself before it goes.
	Will *gateway.Message
	// Subscribe are topic filters, subscribed with QoS 1 at each connect.
	Subscribe []string
	// Queue is how many messages may wait to be sent or acknowledged; 0 means
	// 1,000.
	Queue  int
	TLS    *tls.Config  // for mqtts://; nil means the system's roots
	Logger *slog.Logger // must not be nil

	// Connected is called after each connect, when the subscriptions stand and
	// before anything waiting is sent. May be nil.
	Connected func()
	// Received is called with each message that comes in, in order. It must
	// not block. May be nil.
	Received func(m gateway.Message)
	// Settled is called when a QoS 1 message was acknowledged (nil) or refused
	// for good (the reason), in order of sending. May be nil.
	Settled func(m gateway.Message, err error)
}

// Client is one MQTT connection that is made again when it breaks. All methods
// are safe for concurrent use; Run is called once. The functions of Options
// are called from Run's goroutines without a lock held, so that they may call
// Send.
//
// A QoS 1 message that was not acknowledged is sent again, in order, after a
// reconnect. A QoS 0 message is dropped while there is no connection, as a
// device does it.
type Client struct {
	o      Options
	addr   string
	secure bool

	mu      sync.Mutex
	queue   []*outgoing   // in order; the first sent of them are on the wire
	sent    int           //
	online  bool          //
	ever    bool          // it was online before
	dropped int64         // messages lost because the queue was full
	changed chan struct{} // closed when the queue gets shorter
	wake    chan struct{} // holds one token when there is something to send
	refused map[byte]bool // reason codes that were logged; Run's goroutine alone
}

// outgoing is a message that is not settled.
type outgoing struct {
	m    gateway.Message
	done chan packets.ControlPacket // gets the PUBACK, once on the wire
}

// NewClient checks the options; it connects nothing. An error is an
// *gateway.Error with CodeInvalid.
func NewClient(o Options) (*Client, error) {
	addr, secure, err := parseBroker(o.Broker)
	if err != nil {
		return nil, err
	}
	if o.ClientID == "" {
		return nil, gateway.Invalidf("the MQTT client id is empty")
	}
	if o.Queue <= 0 {
		o.Queue = defaultQueue
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = defaultAlive
	}
	return &Client{
		o: o, addr: addr, secure: secure,
		changed: make(chan struct{}),
		wake:    make(chan struct{}, 1),
		refused: map[byte]bool{},
	}, nil
}

// parseBroker reads the URL of a broker. Its text is not repeated in errors
// beyond the host, since people put passwords into URLs.
func parseBroker(broker string) (addr string, secure bool, err error) {
	u, err := url.Parse(broker)
	if err != nil || u.Hostname() == "" {
		return "", false, gateway.Invalidf("the broker's URL is not of the form mqtt://host:port")
	}
	port := u.Port()
	switch u.Scheme {
	case "mqtt", "tcp":
		if port == "" {
			port = "1883"
		}
	case "mqtts", "ssl":
		secure = true
		if port == "" {
			port = "8883"
		}
	default:
		return "", false, gateway.Invalidf(
			"broker %s: the scheme %q is not mqtt or mqtts", u.Host, u.Scheme)
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return "", false, gateway.Invalidf("broker %s: a path in the URL has no meaning", u.Host)
	}
	return net.JoinHostPort(u.Hostname(), port), secure, nil
}

// Send queues m and returns at once. When the queue is full its oldest message
// that is not on the wire is dropped.
func (c *Client) Send(m gateway.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.QoS == 0 && !c.online {
		return
	}
	if len(c.queue) >= c.o.Queue {
		c.dropped++
		if c.sent == len(c.queue) {
			return
		}
		c.queue = append(c.queue[:c.sent], c.queue[c.sent+1:]...)
	}
	c.push(m)
}

// SendWait queues m as soon as there is room for it. The error is ctx's.
func (c *Client) SendWait(ctx context.Context, m gateway.Message) error {
	for {
		c.mu.Lock()
		if len(c.queue) < c.o.Queue {
			c.push(m)
			c.mu.Unlock()
			return nil
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// push appends m. c.mu is held.
func (c *Client) push(m gateway.Message) {
	c.queue = append(c.queue, &outgoing{m: m})
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Flush returns when every message was settled. The error is ctx's.
func (c *Client) Flush(ctx context.Context) error {
	for {
		c.mu.Lock()
		n, changed := len(c.queue), c.changed
		c.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Dropped returns how many messages were lost because the queue was full.
func (c *Client) Dropped() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// refusedError says that the broker will not let this client in.
type refusedError struct {
	code   byte
	reason string
}

// Error implements error.
func (e *refusedError) Error() string {
	s := e.reason
	switch {
	case s != "":
	case e.code == packets.ConnackBadUsernameOrPassword:
		s = "bad user name or password"
	case e.code == packets.ConnackNotAuthorized:
		s = "not authorized"
	}
	return fmt.Sprintf("refused with code 0x%02x: %s", e.code, s)
}

// final reports whether trying again with the same words is of no use.
func (e *refusedError) final() bool {
	switch e.code {
	case packets.ConnackBadUsernameOrPassword, packets.ConnackNotAuthorized,
		packets.ConnackInvalidClientID, packets.ConnackUnsupportedProtocolVersion:
		return true
	}
	return false
}

// Run connects, and connects again when the connection breaks, with pauses
// that grow to half a minute. It returns nil when ctx has ended, after it
// said goodbye with the will's message; it returns an error only if the
// broker refuses the client before it was ever connected, for a reason that
// will not pass, such as a wrong password.
func (c *Client) Run(ctx context.Context) error {
	pause := firstPause
	for {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var no *refusedError
		if errors.As(err, &no) && no.final() && !c.wasOnline() {
			return fmt.Errorf("connecting to %s as %q: %w", c.addr, c.o.Username, err)
		}
		if !errors.As(err, &no) && time.Since(began) > steadyAfter {
			pause = firstPause
		}
		c.o.Logger.WarnContext(ctx, "mqtt connection lost", "broker", c.addr,
			"client_id", c.o.ClientID, "error", err, "retry_in", pause)
		// Many clients that lost one broker should not all come at once.
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		pause = min(2*pause, lastPause)
	}
}

// wasOnline reports whether there was a connection before.
func (c *Client) wasOnline() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ever
}

// Online reports whether the client is connected.
func (c *Client) Online() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.online
}
