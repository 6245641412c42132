package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Pauses of the accept loop after an error.
const (
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept takes connections from l until ctx ends or l is closed. Any other
// error, such as no file descriptor left, is waited out.
func (b *Broker) accept(ctx context.Context, l net.Listener) {
	pause := acceptPause
	for {
		raw, err := l.Accept()
		if err == nil {
			pause = acceptPause
			b.take(raw)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, net.ErrClosed) {
			b.log.Error("listener was closed, no more clients come in on it", "address", l.Addr())
			return
		}
		b.stats.acceptErrors.Add(1)
		b.log.Warn("accepting failed", "address", l.Addr(), "pause", pause, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// take serves a new connection if there is room for it, else closes it.
func (b *Broker) take(raw net.Conn) {
	c := &conn{
		b: b, raw: raw, host: host(raw.RemoteAddr()), opened: time.Now(),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
	c.out = outbox{raw: raw, limits: &b.limits, stats: &b.stats, drained: c.drained}
	b.mu.Lock()
	room := b.unproven[c.host] < b.limits.Unauthenticated &&
		(len(b.open) < b.limits.Connections || b.evictUnprovenLocked())
	if room {
		b.open[c] = struct{}{}
		b.unproven[c.host]++
	}
	b.mu.Unlock()
	if !room {
		b.stats.crowded.Add(1)
		_ = raw.Close()
		return
	}
	b.stats.accepted.Add(1)
	b.conns.Go(func() { b.serve(c) })
}

// evictUnprovenLocked cuts off the connection that is longest without a
// CONNECT, so that silent ones cannot keep clients out, and reports whether
// there was one.
func (b *Broker) evictUnprovenLocked() bool {
	var oldest *conn
	for c := range b.open {
		if !c.proven && !c.isClosing() && (oldest == nil || c.opened.Before(oldest.opened)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	b.stats.crowded.Add(1)
	oldest.abort()
	return true
}

// serve runs one connection to its end.
func (b *Broker) serve(c *conn) {
	err := b.establish(c)
	c.shut()
	c.out.wait()
	if err != nil {
		b.log.Debug("connection ended", "client", c.client.Name, "client_id", c.client.ID,
			"remote", c.host, "reason", fmt.Sprintf("%#x", c.reason.Load()), "err", err)
	}
	b.depart(c)
	b.keeper.forget(c)
	b.mu.Lock()
	delete(b.open, c)
	b.provenLocked(c)
	b.mu.Unlock()
	close(c.ended)
}

// establish lets the library run the connection. A panic there or in what it
// calls ends this connection alone.
func (b *Broker) establish(c *conn) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.stats.panics.Add(1)
			err = fmt.Errorf("serving a connection panicked: %v", r)
			c.dropped.Store(true)
			b.log.Error("connection panicked", "client", c.client.Name, "remote", c.host,
				"panic", r, "stack", string(debug.Stack()))
		}
	}()
	return b.server.EstablishConnection("", c)
}

// provenLocked takes c out of the connections that are not authenticated.
func (b *Broker) provenLocked(c *conn) {
	if c.proven {
		return
	}
	c.proven = true
	if b.unproven[c.host]--; b.unproven[c.host] == 0 {
		delete(b.unproven, c.host)
	}
}

// claim makes c the owner of its session, after the session's former
// connection has ended altogether. The code is 0 if it did.
func (b *Broker) claim(c *conn) code {
	key := sessionKey(c.client.Credential, c.client.ID)
	for {
		old, why := b.tryClaim(c, key)
		if old == nil {
			return why
		}
		old.disconnect(codeTakenOver) // [MQTT-3.1.4-3]
		t := time.NewTimer(takeoverTime)
		select {
		case <-old.ended:
		case <-c.closing:
			why = codeUnavailable
		case <-t.C:
			b.log.Warn("former connection does not end", "client", c.client.Name,
				"client_id", c.client.ID)
			why = codeUnavailable
		}
		t.Stop()
		if why != 0 {
			return why
		}
	}
}

// tryClaim claims the session, or returns the connection that has it.
func (b *Broker) tryClaim(c *conn, key string) (old *conn, why code) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[key]
	if s != nil && s.owner != nil {
		return s.owner, 0
	}
	if c.client.Kind == gateway.KindDevice {
		n := 0
		for o := range b.open {
			if o.owns != nil && o.owns.credential == c.client.Credential {
				n++
			}
		}
		if n >= b.limits.PerDevice {
			b.stats.crowded.Add(1)
			return nil, codeQuota
		}
	}
	if s == nil {
		if !b.roomLocked(c.client.Credential) {
			b.stats.crowded.Add(1)
			return nil, codeQuota
		}
		s = newSession(b, key, c.client.Credential)
		b.sessions[key] = s
	}
	s.owner = c
	c.owns, c.session = s, s
	b.provenLocked(c)
	return nil, 0
}

// roomLocked makes room for one more session of a credential, if need be by
// ending the one of its own that is longest without a client. It reports
// whether there is room.
func (b *Broker) roomLocked(id gateway.CredentialID) bool {
	var oldest *session
	own := 0
	for _, s := range b.sessions {
		if s.credential != id {
			continue
		}
		own++
		if s.owner == nil && (oldest == nil || s.left.Before(oldest.left)) {
			oldest = s
		}
	}
	if own < b.limits.SessionsPerCredential && len(b.sessions) < b.limits.Sessions {
		return true
	}
	if oldest == nil {
		return false
	}
	b.stats.sessionsEvicted.Add(1)
	if oldest.delayed != nil {
		b.keeper.late(oldest.delayed)
	}
	b.removeLocked(oldest)
	oldest.end()
	return true
}

// removeLocked takes a session without a client out of all tables.
func (b *Broker) removeLocked(s *session) {
	delete(b.sessions, s.key)
	if cl, ok := b.server.Clients.Get(s.key); ok {
		b.server.UnsubscribeClient(cl)
		b.server.Clients.Delete(s.key)
	}
	b.routes.dropParents(s)
	b.routes.changed()
}

// claimed returns the session that c has, or nil. It may be called from any
// goroutine.
func (c *conn) claimed() *session {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.owns
}

// unclaim gives c's session back as if c had never come.
func (b *Broker) unclaim(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := c.session
	c.owns, c.session = nil, nil
	s.owner = nil
	if _, known := b.server.Clients.Get(s.key); !known {
		delete(b.sessions, s.key)
	}
}

// depart takes c off its session when the connection has ended: the session
// ends too or begins to wait, and the will is sent or begins to.
func (b *Broker) depart(c *conn) {
	s := c.session
	if s == nil {
		return
	}
	s.detach()
	ends := c.dropped.Load() || c.sessionExpiry() == 0
	if c.dropped.Load() {
		c.will = nil
	}
	if w := c.will; w != nil && (w.delay == 0 || ends || b.stopping.Load()) {
		c.will = nil
		c.acks.supersede(w.topic)
		b.sendWill(w)
	}
	if c.established {
		b.connected(c.client, false)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c.owns, s.owner = nil, nil
	s.left = time.Now()
	s.expires = s.left.Add(c.sessionExpiry())
	if ends || c.dropped.Load() { // Drop may have come since
		b.removeLocked(s)
		s.end()
		return
	}
	if w := c.will; w != nil {
		s.delayed, s.delayedUntil = w, s.left.Add(w.delay)
		b.keeper.poke()
	}
}

// sessionExpiry returns how long c's session waits for its client to come
// back; 0 ends it with the connection.
func (c *conn) sessionExpiry() time.Duration {
	most := c.b.limits.SessionExpiry
	if c.version < 5 {
		if c.connect.clean() {
			return 0
		}
		return most
	}
	if c.cl == nil {
		return 0
	}
	asked := time.Duration(c.cl.Properties.Props.SessionExpiryInterval) * time.Second
	return min(asked, most)
}
