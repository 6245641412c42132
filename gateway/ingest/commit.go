package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// CommitIntervals says how long a reading may wait for others, so that many
// share one write to the card. A commit happens at once when there was none
// within the interval, or when many readings wait; and sooner than after an
// interval for a device that has much to say, see pace.
type CommitIntervals struct {
	Acknowledged   time.Duration // QoS 1 and 2: holds the acknowledgement
	Unacknowledged time.Duration // QoS 0: what may be lost with the power
}

// DefaultCommit is what a card lives long with.
func DefaultCommit() CommitIntervals {
	return CommitIntervals{Acknowledged: time.Second, Unacknowledged: 5 * time.Second}
}

// Bounds of the queue of readings.
const (
	commitSize = 256   // so many do not wait for the interval
	queueSize  = 16384 // so many may wait; then the source is held, see add
	holdTime   = time.Second
	retryFirst = time.Second // pause after a failed commit, doubled up to
	retryMost  = 15 * time.Second
)

// committer gathers readings and commits them in groups.
type committer struct {
	append  func(ctx context.Context, rs []gateway.Reading) error
	failing func(err error)

	mu       sync.Mutex
	readings []gateway.Reading
	waiting  []waiter
	spare    group     // memory of the group before
	due      time.Time // when the oldest reading must be committed
	pace     pace
	broken   error         // why the last commit failed; nil while all is well
	space    chan struct{} // closed when the queue was taken; nil while nobody waits
	wake     chan struct{}
}

// group is what one commit stores, and who waits for it.
type group struct {
	readings []gateway.Reading
	waiting  []waiter
}

// waiter is some readings and who waits for them.
type waiter struct {
	count  int // of the readings, in order
	acked  bool
	done   func(error)      // nil for nobody
	device gateway.DeviceID // of the first
	at     time.Time        // when they came in, if acked
}

// newCommitter returns a committer that is not running yet.
func newCommitter(cfg Config) committer {
	return committer{
		append:  cfg.Append,
		failing: cfg.Failing,
		pace:    newPace(cfg.Commit),
		wake:    make(chan struct{}, 1),
	}
}

// add queues readings, at least one, of one source. done, if not nil, is called
// once, when they are durable or are known not to be. If the queue is full the
// caller is held for a second at most; then the readings are refused.
func (c *committer) add(rs []gateway.Reading, acked bool, done func(error)) {
	c.mu.Lock()
	if !c.hold(len(rs)) {
		c.mu.Unlock()
		answer(done, gateway.Unavailablef("%d readings wait for the disk", queueSize))
		return
	}
	defer c.mu.Unlock()
	due := c.pace.due(acked)
	sooner := len(c.readings) == 0 || due.Before(c.due)
	w := waiter{count: len(rs), acked: acked, done: done, device: rs[0].Device}
	if acked {
		w.at = time.Now()
		if sooner && due.After(w.at) && c.pace.hurry(w) {
			due = w.at
		}
	}
	if sooner {
		c.due = due
	}
	c.readings = append(c.readings, rs...)
	if n := len(c.waiting) - 1; n >= 0 && w.nobody() && c.waiting[n].nobody() {
		c.waiting[n].count += w.count
	} else {
		c.waiting = append(c.waiting, w)
	}
	if n := len(c.readings); sooner || n >= commitSize && n-len(rs) < commitSize {
		signal(c.wake)
	}
}

// nobody reports whether nobody waits for the readings of w.
func (w waiter) nobody() bool { return !w.acked && w.done == nil }

// answer calls done, if there is anybody to be told.
func answer(done func(error), err error) {
	if done != nil {
		done(err)
	}
}

// hold waits until the queue has room for n readings, or for any if it is
// empty, a second at most. The lock is held but while it waits.
func (c *committer) hold(n int) bool {
	var timeout <-chan time.Time
	for len(c.readings)+n > queueSize && len(c.readings) > 0 {
		if timeout == nil {
			timeout = time.After(holdTime)
		}
		if c.space == nil {
			c.space = make(chan struct{})
		}
		space := c.space
		c.mu.Unlock()
		expired := false
		select {
		case <-space:
		case <-timeout:
			expired = true
		}
		c.mu.Lock()
		if expired {
			return false
		}
	}
	return true
}

// signal puts one token into a channel of size one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run commits until ctx ends, then once more what is still queued.
func (c *committer) Run(ctx context.Context) error {
	pause := retryFirst
	for {
		stopping := c.await(ctx)
		if g := c.takeAll(); len(g.readings) > 0 {
			// What was accepted is stored even when the program is about to end.
			err := c.commit(context.WithoutCancel(ctx), g)
			c.reuse(g)
			switch {
			case err == nil:
				pause = retryFirst
			case stopping:
				c.giveUp(err)
			default:
				sleep(ctx, pause)
				pause = min(2*pause, retryMost)
			}
		}
		if stopping {
			return nil
		}
	}
}

// giveUp answers those whose readings still wait when the last commit failed.
func (c *committer) giveUp(err error) {
	for _, w := range c.takeAll().waiting {
		answer(w.done, err)
	}
}

// await blocks until a commit is due; it returns true when ctx ended.
func (c *committer) await(ctx context.Context) bool {
	for {
		c.mu.Lock()
		n, wait := len(c.readings), time.Until(c.due)
		c.mu.Unlock()
		if n >= commitSize || n > 0 && wait <= 0 {
			return ctx.Err() != nil
		}
		var timer <-chan time.Time
		if n > 0 {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return true
		case <-c.wake:
		case <-timer:
		}
	}
}

// takeAll empties the queue.
func (c *committer) takeAll() group {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := group{c.readings, c.waiting}
	c.readings, c.waiting, c.spare = c.spare.readings, c.spare.waiting, group{}
	c.pace.begin(time.Now(), len(g.readings))
	if c.space != nil {
		close(c.space)
		c.space = nil
	}
	return g
}

// reuse keeps the memory of g for the group after the next, unless that is far
// more than g needed.
func (c *committer) reuse(g group) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cap(g.readings) <= max(commitSize, 8*len(g.readings)) {
		c.spare.readings = g.readings[:0]
	}
	clear(g.waiting) // they hold on to messages
	if cap(g.waiting) <= max(commitSize, 8*len(g.waiting)) {
		c.spare.waiting = g.waiting[:0]
	}
}

// commit stores a group and answers those who wait. Readings of a device that
// is gone are dropped; when the disk fails, readings that nobody waits for go
// back into the queue.
func (c *committer) commit(ctx context.Context, g group) error {
	err := c.append(ctx, g.readings)
	if gateway.CodeOf(err) == gateway.CodeNotFound && err != nil {
		err = c.commitEach(ctx, g.readings)
	}
	c.mu.Lock()
	was := c.broken
	c.broken = err
	var dropped []waiter
	if err != nil {
		dropped = c.requeue(g)
	} else {
		c.pace.acknowledged(time.Now(), g.waiting)
	}
	c.mu.Unlock()
	if err != nil && was == nil || err == nil && was != nil {
		c.failing(err)
	}
	for _, w := range g.waiting {
		if w.acked || err == nil {
			answer(w.done, err)
		}
	}
	for _, w := range dropped {
		answer(w.done, err)
	}
	return err
}

// commitEach stores device by device and leaves out those that are gone.
func (c *committer) commitEach(ctx context.Context, rs []gateway.Reading) error {
	groups := map[gateway.DeviceID][]gateway.Reading{}
	for _, r := range rs {
		groups[r.Device] = append(groups[r.Device], r)
	}
	for _, g := range groups {
		if err := c.append(ctx, g); err != nil && gateway.CodeOf(err) != gateway.CodeNotFound {
			return err
		}
	}
	return nil
}

// requeue puts back what nobody waits for, the newest first to be kept, and
// returns whose readings found no room. The lock is held.
func (c *committer) requeue(g group) (dropped []waiter) {
	var keep []gateway.Reading
	var who []waiter
	for i, at := 0, 0; i < len(g.waiting); i++ {
		w := g.waiting[i]
		if !w.acked {
			keep = append(keep, g.readings[at:at+w.count]...)
			who = append(who, w)
		}
		at += w.count
	}
	for len(keep)+len(c.readings) > queueSize && len(who) > 0 {
		n := who[0].count
		if who[0].nobody() {
			n = min(n, len(keep)+len(c.readings)-queueSize)
		}
		keep = keep[n:]
		if who[0].count -= n; who[0].count == 0 {
			dropped, who = append(dropped, who[0]), who[1:]
		}
	}
	c.readings = append(keep, c.readings...)
	c.waiting = append(who, c.waiting...)
	return dropped
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
