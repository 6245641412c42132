package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	mqtt "github.com/mochi-mqtt/server/v2"

	"github.com/wattle-home/wattle/gateway"
)

// Config is what a Broker needs. Its functions are called without locks held,
// from several goroutines at once.
type Config struct {
	// Logger is not nil.
	Logger *slog.Logger

	// Authenticate checks a CONNECT and is not nil. It answers from memory and
	// never blocks. remote is the host alone. An *gateway.Error with
	// CodeUnavailable or CodeForbidden is answered as such, any other error as a
	// wrong password.
	Authenticate func(username string, password []byte, remote string) (
		gateway.Client, gateway.Grant, error)

	// Handle takes a PUBLISH, or a will, that its client was allowed to make,
	// and is not nil. It is called in the order in which one client sent them.
	// The payload may be kept, not changed. While Handle runs its client is not
	// read; others are.
	//
	// For QoS 1 and 2 done must be called exactly once, from any goroutine: nil
	// acknowledges, an error does not, and has the client resend later. For QoS 0
	// and wills done is nil. Subscribers get the message, and it is retained, at
	// done(nil), or when Handle has returned nil where there is no done.
	//
	// An error that Handle returns takes the message off: it is acknowledged,
	// neither delivered nor retained, and done is not called any more.
	Handle func(m gateway.Message, done func(error)) error

	// Connected, if not nil, is told when a client came and when it went, in
	// order for each session.
	Connected func(c gateway.Client, connected bool)

	// Refused, if not nil, is told each refusal; action is "publish",
	// "subscribe" or "will".
	Refused func(c gateway.Client, action, topic string)

	// Retained keeps the retained messages over a restart; nil keeps them in
	// memory alone.
	Retained RetainedStore

	// Limits; zero fields are defaults.
	Limits Limits
}

// RetainedStore keeps retained messages.
type RetainedStore interface {
	// Retained returns all of them.
	Retained(ctx context.Context) ([]gateway.Retained, error)
	// SaveRetained stores those that changed; an empty payload forgets one.
	SaveRetained(ctx context.Context, changed []gateway.Retained) error
}

// Broker is an MQTT broker.
type Broker struct {
	cfg     Config
	log     *slog.Logger
	limits  Limits
	server  *mqtt.Server
	stats   counters
	routes  routes
	keeper  keeper
	told    refusals
	retains retains
	buffers sync.Pool      // *[]byte of largeBuffer bytes
	conns   sync.WaitGroup // goroutines of connections

	dropRound  atomic.Uint64 // rises with each Drop
	someFailed atomic.Bool   // keeper.failed is not empty
	stopping   atomic.Bool
	seq        atomic.Uint64 // of the newest message

	mu       sync.Mutex
	open     map[*conn]struct{}  // connections that have not ended
	unproven map[string]int      // of these, not authenticated, by host
	sessions map[string]*session // by sessionKey
}

// New returns a broker that listens nowhere yet. Publish may be called before
// Run.
func New(cfg Config) (*Broker, error) {
	switch {
	case cfg.Logger == nil:
		return nil, errors.New("making a broker: Config.Logger is nil")
	case cfg.Authenticate == nil:
		return nil, errors.New("making a broker: Config.Authenticate is nil")
	case cfg.Handle == nil:
		return nil, errors.New("making a broker: Config.Handle is nil")
	}
	b := &Broker{
		cfg:      cfg,
		log:      cfg.Logger,
		limits:   cfg.Limits.withDefaults(),
		open:     map[*conn]struct{}{},
		unproven: map[string]int{},
		sessions: map[string]*session{},
	}
	b.buffers.New = func() any {
		p := make([]byte, largeBuffer)
		return &p
	}
	b.keeper.wake = make(chan struct{}, 1)
	b.retains.init(&b.limits, cfg.Retained)
	if err := b.makeServer(); err != nil {
		return nil, fmt.Errorf("making a broker: %w", err)
	}
	return b, nil
}

// Run accepts clients on the listeners until ctx ends; then it closes them and
// the clients, waits for all goroutines, saves the retained messages and
// returns nil. It returns an error if retained messages cannot be loaded, or
// not be saved at the end. Run may be called once.
func (b *Broker) Run(ctx context.Context, listeners ...net.Listener) error {
	defer closeAll(listeners)
	if err := b.retains.load(ctx); err != nil {
		return err
	}
	var loops sync.WaitGroup
	loops.Go(func() { b.keep(ctx) })
	loops.Go(func() { b.saveRetained(ctx) })
	for _, l := range listeners {
		loops.Go(func() { b.accept(ctx, l) })
	}
	<-ctx.Done()
	b.stopping.Store(true)
	closeAll(listeners)
	loops.Wait()
	for _, c := range b.connections() {
		if c.claimed() != nil {
			c.disconnect(codeShuttingDown)
		} else {
			c.shut() // CONNECT may be on its way; OnSessionEstablished looks again
		}
	}
	b.conns.Wait()
	b.sendDelayedWills()
	return b.retains.flush(context.WithoutCancel(ctx))
}

// closeAll closes the listeners; a second time does nothing.
func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

// Publish delivers and, if asked to, retains a message of the gateway. It
// never blocks. The payload must not be changed afterwards. An error says that
// the topic cannot be published to, or that there is no such QoS.
//
// If m.Expires is set the message is delivered to nobody after that instant,
// and a device or bridge that did not acknowledge it by then (with QoS 0: whose
// network stack did not) is disconnected hard, so that it cannot arrive later
// out of some buffer.
func (b *Broker) Publish(m gateway.Message) error {
	if !gateway.ValidTopic(m.Topic) || !utf8.ValidString(m.Topic) {
		return fmt.Errorf("publishing: topic %.60q is empty, has wildcards or is no UTF-8", m.Topic)
	}
	if m.QoS > 2 {
		return fmt.Errorf("publishing to %q: QoS %d is not 0, 1 or 2", m.Topic, m.QoS)
	}
	now := time.Now()
	msg := &message{
		topic: m.Topic, payload: m.Payload, qos: m.QoS, retain: m.Retain,
		at: gateway.InstantOf(now), seq: b.seq.Add(1),
	}
	if m.Expires != 0 {
		msg.command = true
		msg.expires = now.Add(time.Duration(m.Expires-gateway.InstantOf(now)) * time.Millisecond)
	}
	b.distribute(msg)
	return nil
}

// Forget drops what is retained on topic; subscribers are not told.
func (b *Broker) Forget(topic string) { b.retains.forget(topic) }

// ForgetFrom drops all that a credential retains; subscribers are not told.
func (b *Broker) ForgetFrom(id gateway.CredentialID) {
	for _, topic := range b.retains.from(id) {
		b.retains.forget(topic)
	}
}

// Drop disconnects the clients of a credential and drops their sessions and
// wills, because its password or rights changed or it was revoked. It does
// not wait for them to end, but what they send from now on is checked against
// the new state: their connections are not read any more.
func (b *Broker) Drop(id gateway.CredentialID) {
	b.dropRound.Add(1)
	var conns []*conn
	var idle []*session
	b.mu.Lock()
	for _, s := range b.sessions {
		switch {
		case s.credential != id:
		case s.owner != nil:
			s.owner.dropped.Store(true)
			conns = append(conns, s.owner)
		default:
			idle = append(idle, s)
			b.removeLocked(s)
		}
	}
	b.mu.Unlock()
	for _, s := range idle {
		s.end()
	}
	for _, c := range conns {
		c.disconnect(codeAdministrative)
	}
}

// Reset cuts the connections of a credential off with whatever was not
// delivered yet. Sessions stay. It is for a command that was not confirmed and
// must not arrive late.
func (b *Broker) Reset(id gateway.CredentialID) {
	for _, c := range b.connections() {
		if s := c.claimed(); s != nil && s.credential == id {
			c.abort()
		}
	}
}

// connected tells that a client came or went.
func (b *Broker) connected(client gateway.Client, here bool) {
	if b.cfg.Connected != nil {
		defer b.survive("telling of a connection")
		b.cfg.Connected(client, here)
	}
}

// survive recovers from a panic in a function of Config. It is deferred.
func (b *Broker) survive(doing string) {
	if r := recover(); r != nil {
		b.stats.panics.Add(1)
		b.log.Error("panicked", "doing", doing, "panic", r, "stack", string(debug.Stack()))
	}
}

// connections returns the open connections.
func (b *Broker) connections() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*conn, 0, len(b.open))
	for c := range b.open {
		all = append(all, c)
	}
	return all
}

// distribute retains m, if it is to be, and delivers it to its subscribers.
func (b *Broker) distribute(m *message) {
	if m.retain {
		if !b.retains.set(m) {
			b.stats.retainedRefused.Add(1)
			b.told.once(b.log, m.client, "retain", m.topic)
		}
	}
	b.fanOut(m)
}
