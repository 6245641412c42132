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
	due      time.Time // when the oldest reading must be committed
	pace     pace
	broken   error // why the last commit failed; nil while all is well
	space    chan struct{}
	wake     chan struct{}
}

// waiter is a group of readings and who waits for them.
type waiter struct {
	count  int // of the readings, in order
	acked  bool
	done   func(error)
	device gateway.DeviceID
	at     time.Time // when they came in
}

// newCommitter returns a committer that is not running yet.
func newCommitter(cfg Config) committer {
	return committer{
		append:  cfg.Append,
		failing: cfg.Failing,
		pace:    newPace(cfg.Commit),
		space:   make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
	}
}

// add queues readings, at least one, of one source. done is called once, when they are
// durable or are known not to be. If the queue is full the caller is held for
// a second at most; then the readings are refused.
func (c *committer) add(rs []gateway.Reading, acked bool, done func(error)) {
	deadline := time.Now().Add(holdTime)
	for {
		c.mu.Lock()
		if len(c.readings)+len(rs) <= queueSize || len(c.readings) == 0 {
			break
		}
		c.mu.Unlock()
		if !c.hold(deadline) {
			done(gateway.Unavailablef("%d readings wait for the disk", queueSize))
			return
		}
	}
	defer c.mu.Unlock()
	now := time.Now()
	w := waiter{count: len(rs), acked: acked, done: done, device: rs[0].Device, at: now}
	due := c.pace.due(w)
	sooner := len(c.readings) == 0 || due.Before(c.due)
	if sooner && due.After(now) && c.pace.hurry(w) {
		due = now
	}
	if sooner {
		c.due = due
	}
	c.readings = append(c.readings, rs...)
	c.waiting = append(c.waiting, w)
	if sooner || len(c.readings) >= commitSize {
		signal(c.wake)
	}
}

// hold waits for room in the queue until the deadline.
func (c *committer) hold(deadline time.Time) bool {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-c.space:
		signal(c.space) // others may be waiting, too
		return time.Now().Before(deadline)
	case <-t.C:
		return false
	}
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
		readings, waiting := c.takeAll()
		if len(readings) > 0 {
			// What was accepted is stored even when the program is about to end.
			err := c.commit(context.WithoutCancel(ctx), readings, waiting)
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
	_, waiting := c.takeAll()
	for _, w := range waiting {
		w.done(err)
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

func (c *committer) takeAll() ([]gateway.Reading, []waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rs, ws := c.readings, c.waiting
	c.readings, c.waiting = nil, nil
	c.pace.begin(time.Now(), len(rs))
	signal(c.space)
	return rs, ws
}

// commit stores a group and answers those who wait. Readings of a device that
// is gone are dropped; when the disk fails, readings that nobody waits for go
// back into the queue.
func (c *committer) commit(ctx context.Context, rs []gateway.Reading, ws []waiter) error {
	err := c.append(ctx, rs)
	if gateway.CodeOf(err) == gateway.CodeNotFound && err != nil {
		err = c.commitEach(ctx, rs)
	}
	c.mu.Lock()
	was := c.broken
	c.broken = err
	var dropped []waiter
	if err != nil {
		dropped = c.requeue(rs, ws)
	} else {
		c.pace.acknowledged(time.Now(), ws)
	}
	c.mu.Unlock()
	if err != nil && was == nil || err == nil && was != nil {
		c.failing(err)
	}
	for _, w := range ws {
		if w.acked || err == nil {
			w.done(err)
		}
	}
	for _, w := range dropped {
		w.done(err)
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
func (c *committer) requeue(rs []gateway.Reading, ws []waiter) (dropped []waiter) {
	var keep []gateway.Reading
	var who []waiter
	for i, at := 0, 0; i < len(ws); i++ {
		w := ws[i]
		if !w.acked {
			keep = append(keep, rs[at:at+w.count]...)
			who = append(who, w)
		}
		at += w.count
	}
	for len(keep)+len(c.readings) > queueSize && len(who) > 0 {
		keep = keep[who[0].count:]
		dropped, who = append(dropped, who[0]), who[1:]
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
