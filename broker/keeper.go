package broker

import (
	"context"
	"sync"
	"time"
)

// keeper holds what is due at some time. Its lock is a leaf.
type keeper struct {
	wake chan struct{} // has room for one

	mu      sync.Mutex
	watches []watch
	wills   []*will            // of sessions that were evicted
	failed  map[*conn]struct{} // clients that lack an acknowledgement
	retry   []*conn            // of these, to be closed one after another
	retryAt time.Time
}

// watch is a command on its way to a device, which must not arrive after at.
// With QoS 0 conn's bytes up to mark must have been taken by then, otherwise
// session must have sent acknowledged.
type watch struct {
	at      time.Time
	conn    *conn
	mark    uint64
	session *session
	sent    *outbound
}

// sweepInterval is how often sessions and retained messages are looked at.
const sweepInterval = time.Second

// poke has keep look again.
func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// watch adds w.
func (k *keeper) watch(w watch) {
	k.mu.Lock()
	k.watches = append(k.watches, w)
	k.mu.Unlock()
	k.poke()
}

// late adds the will of a session that has ended.
func (k *keeper) late(w *will) {
	k.mu.Lock()
	k.wills = append(k.wills, w)
	k.mu.Unlock()
	k.poke()
}

// takeLate returns the wills of sessions that have ended.
func (k *keeper) takeLate() []*will {
	k.mu.Lock()
	defer k.mu.Unlock()
	wills := k.wills
	k.wills = nil
	return wills
}

// keep does what is due until ctx ends.
func (b *Broker) keep(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.keeper.wake:
		case <-t.C:
		}
		now := time.Now()
		next := b.expireCommands(now)
		next = min(next, b.retryFailed(now))
		b.sweep(now)
		t.Reset(next)
	}
}

// expireCommands resets the connections of devices that did not take a
// command in time, and returns when it has to be called again.
func (b *Broker) expireCommands(now time.Time) time.Duration {
	k := &b.keeper
	next := sweepInterval
	var due []watch
	k.mu.Lock()
	rest := k.watches[:0]
	for _, w := range k.watches {
		if left := w.at.Sub(now); left > 0 {
			next = min(next, left)
			rest = append(rest, w)
			continue
		}
		due = append(due, w)
	}
	clear(k.watches[len(rest):])
	k.watches = rest
	k.mu.Unlock()
	for _, w := range due {
		if w.missed() {
			b.stats.resetForCommand.Add(1)
			b.log.Warn("device did not take a command in time, connection reset",
				"client", w.conn.client.Name, "remote", w.conn.host)
			w.conn.abort()
		}
	}
	return next
}

// missed reports whether the command may still be on its way.
func (w *watch) missed() bool {
	if w.session == nil {
		taken := w.conn.out.written() - uint64(unacknowledged(w.conn.raw))
		return int64(taken-w.mark) < 0
	}
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	if w.session.conn != w.conn {
		return false
	}
	i := w.session.find(w.sent.d.id)
	return i >= 0 && w.session.inflight[i] == w.sent && !w.sent.released
}

// unsettled remembers a client whose message was not stored.
func (b *Broker) unsettled(c *conn, err error) {
	k := &b.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.failed) == 0 {
		b.log.Warn("message not stored, its client has to send it again",
			"client", c.client.Name, "err", err)
	}
	if k.failed == nil {
		k.failed = map[*conn]struct{}{}
	}
	if !c.isClosing() {
		k.failed[c] = struct{}{}
		b.someFailed.Store(true)
	}
}

// forget takes an ended connection out of those that lack something.
func (k *keeper) forget(c *conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.failed, c)
}

// settled has the remembered clients closed, now that messages are stored
// again.
func (b *Broker) settled() {
	if !b.someFailed.Load() {
		return
	}
	k := &b.keeper
	k.mu.Lock()
	for c := range k.failed {
		k.retry = append(k.retry, c)
	}
	clear(k.failed)
	b.someFailed.Store(false)
	k.mu.Unlock()
	k.poke()
}

// retryFailed closes the next client that has to send again, and returns when
// it has to be called again.
func (b *Broker) retryFailed(now time.Time) time.Duration {
	k := &b.keeper
	k.mu.Lock()
	if wait := k.retryAt.Sub(now); len(k.retry) > 0 && wait > 0 {
		k.mu.Unlock()
		return wait
	}
	var c *conn
	next := sweepInterval
	for len(k.retry) > 0 && c == nil {
		if c = k.retry[0]; c.isClosing() {
			c = nil
		}
		k.retry[0] = nil
		k.retry = k.retry[1:]
	}
	if c != nil {
		k.retryAt = now.Add(b.limits.RetryStagger)
		next = b.limits.RetryStagger
	}
	k.mu.Unlock()
	if c != nil {
		b.stats.retried.Add(1)
		c.disconnect(codeBusy)
	}
	return next
}

// sweep ends sessions whose client did not come back, and sends wills whose
// delay has passed.
func (b *Broker) sweep(now time.Time) {
	wills := b.keeper.takeLate()
	b.mu.Lock()
	for _, s := range b.sessions {
		if s.owner != nil {
			continue
		}
		ends := !now.Before(s.expires)
		if s.delayed != nil && (ends || !now.Before(s.delayedUntil)) {
			wills = append(wills, s.delayed)
			s.delayed = nil
		}
		if ends {
			b.stats.sessionsExpired.Add(1)
			b.removeLocked(s)
			s.end()
		}
	}
	b.mu.Unlock()
	for _, w := range wills {
		b.sendWill(w)
	}
	b.retains.expire(now)
}
