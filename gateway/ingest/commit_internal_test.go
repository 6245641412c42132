package ingest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// disk is where readings go in these tests.
type disk struct {
	mu      sync.Mutex
	err     error
	groups  [][]gateway.Reading
	at      []time.Time
	failing []error
}

func (d *disk) append(_ context.Context, rs []gateway.Reading) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	d.groups, d.at = append(d.groups, slices.Clone(rs)), append(d.at, time.Now())
	return nil
}

// seen returns the groups that were stored, and when.
func (d *disk) seen() ([][]gateway.Reading, []time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.groups), slices.Clone(d.at)
}

// start runs a committer in a bubble and returns how to stop it.
func (d *disk) start(t *testing.T, every CommitIntervals) (*committer, func()) {
	t.Helper()
	c := newCommitter(Config{
		Append: d.append, Failing: func(err error) { d.failing = append(d.failing, err) }, Commit: every,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return &c, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func reading(n int) []gateway.Reading {
	return []gateway.Reading{{Device: 1, At: gateway.Instant(n), Has: gateway.HasPower}}
}

func TestCommitter_idleCommitsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		time.Sleep(time.Minute)
		begin := time.Now()
		var acked time.Time
		c.add(reading(1), true, func(err error) {
			if err != nil {
				t.Error(err)
			}
			acked = time.Now()
		})
		synctest.Wait()
		groups, _ := d.seen()
		if len(groups) != 1 || acked != begin {
			t.Errorf("%d commits, acknowledged after %v", len(groups), acked.Sub(begin))
		}
	})
}

func TestCommitter_gathersWithinTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		for n := range 30 { // three a second for ten seconds
			c.add(reading(n), true, func(error) {})
			time.Sleep(time.Second / 3)
		}
		time.Sleep(time.Second)
		groups, at := d.seen()
		if n := len(groups); n < 9 || n > 12 {
			t.Errorf("%d commits in ten seconds, want one a second", n)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < time.Second {
				t.Errorf("commits %d and %d are %v apart", i-1, i, gap)
			}
		}
	})
}

func TestCommitter_unacknowledgedWaitsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		for n := range 60 {
			c.add(reading(n), false, func(error) {})
			time.Sleep(time.Second / 3)
		}
		groups, _ := d.seen()
		if n := len(groups); n < 4 || n > 6 {
			t.Errorf("%d commits in twenty seconds, want one each five", n)
		}
		// One that somebody waits for takes the others along.
		time.Sleep(20 * time.Second)
		c.add(reading(100), false, func(error) {})
		synctest.Wait()
		c.add(reading(101), false, func(error) {})
		c.add(reading(102), true, func(error) {})
		time.Sleep(time.Second)
		synctest.Wait()
		groups, _ = d.seen()
		if last := groups[len(groups)-1]; len(last) != 2 {
			t.Errorf("the last commit holds %d readings, want both", len(last))
		}
	})
}

func TestCommitter_manyDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		begin := time.Now()
		for n := range 10 * commitSize {
			c.add(reading(n), true, func(error) {})
			synctest.Wait()
		}
		stored := 0
		groups, _ := d.seen()
		for _, g := range groups {
			stored += len(g)
		}
		if since := time.Since(begin); since != 0 || stored < 9*commitSize {
			t.Errorf("%d stored after %v", stored, since)
		}
	})
}

func TestCommitter_failureThenRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{err: gateway.Unavailablef("the disk is full")}
		c, stop := d.start(t, CommitIntervals{})
		defer stop()
		var acked, quiet []error
		c.add(reading(1), true, func(err error) { acked = append(acked, err) })
		c.add(reading(2), false, func(err error) { quiet = append(quiet, err) })
		synctest.Wait()
		if len(acked) != 1 || gateway.CodeOf(acked[0]) != gateway.CodeUnavailable {
			t.Fatalf("the acknowledged reading ended with %v", acked)
		}
		if len(quiet) != 0 {
			t.Fatalf("the other one ended with %v, want it kept", quiet)
		}
		d.mu.Lock()
		d.err = nil
		d.mu.Unlock()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		groups, _ := d.seen()
		if len(groups) != 1 || groups[0][0].At != 2 {
			t.Errorf("after the recovery %v are stored", groups)
		}
		if len(d.failing) != 2 || d.failing[0] == nil || d.failing[1] != nil {
			t.Errorf("told %v, want a failure and a recovery", d.failing)
		}
	})
}

func TestCommitter_deviceThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		kept := 0
		c := newCommitter(Config{
			Append: func(_ context.Context, rs []gateway.Reading) error {
				for _, r := range rs {
					if r.Device == 9 {
						return gateway.NotFoundf("there is no device 9")
					}
				}
				kept += len(rs)
				return nil
			},
			Failing: func(err error) { d.failing = append(d.failing, err) },
		})
		rs := append(reading(1), gateway.Reading{Device: 9, At: 1})
		rs = append(rs, reading(2)...)
		if err := c.commit(t.Context(), group{readings: rs}); err != nil || kept != 2 || d.failing != nil {
			t.Errorf("kept %d, %v, told %v", kept, err, d.failing)
		}
	})
}

func TestCommitter_fullQueueHoldsThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCommitter(Config{Commit: DefaultCommit()})
		full := make([]gateway.Reading, queueSize)
		c.add(full, true, func(error) {}) // nobody commits
		begin := time.Now()
		var got error
		c.add(reading(1), true, func(err error) { got = err })
		if gateway.CodeOf(got) != gateway.CodeUnavailable || time.Since(begin) < holdTime {
			t.Errorf("got %v after %v", got, time.Since(begin))
		}
	})
}

// While a commit fails, others fill the queue: what finds no room any more is
// given up, and whoever brought it hears of that.
func TestCommitter_failureWithAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c committer
		broken := gateway.Unavailablef("the disk is full")
		c = newCommitter(Config{
			Append: func(context.Context, []gateway.Reading) error {
				c.add(make([]gateway.Reading, queueSize-1), true, func(error) {})
				return broken
			},
			Failing: func(error) {},
			Commit:  DefaultCommit(),
		})
		told := map[int][]error{}
		rs := slices.Concat(reading(0), reading(1), reading(2))
		var ws []waiter
		for n := range rs {
			ws = append(ws, waiter{count: 1, done: func(err error) { told[n] = append(told[n], err) }})
		}
		if err := c.commit(t.Context(), group{rs, ws}); !errors.Is(err, broken) {
			t.Fatalf("the commit ended with %v", err)
		}
		for n, want := range []int{1, 1, 0} { // the newest is kept
			if len(told[n]) != want || want == 1 && !errors.Is(told[n][0], broken) {
				t.Errorf("reading %d ended with %v, want %d errors", n, told[n], want)
			}
		}
		if len(c.readings) != queueSize || c.readings[0].At != 2 {
			t.Errorf("%d readings wait, the first is %+v", len(c.readings), c.readings[0])
		}
	})
}

func TestCommitter_endsWithAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{err: gateway.Unavailablef("the disk is full")}
		c, stop := d.start(t, DefaultCommit())
		told := map[bool][]error{}
		for _, acked := range []bool{false, true} {
			c.add(reading(1), acked, func(err error) { told[acked] = append(told[acked], err) })
		}
		stop()
		for acked, errs := range map[bool][]error{false: told[false], true: told[true]} {
			if len(errs) != 1 || errs[0] == nil {
				t.Errorf("acknowledged %v: told %v, want the failure once", acked, errs)
			}
		}
	})
}

func TestCommitter_endsWithALastCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		c.add(reading(1), false, func(error) {})
		synctest.Wait()
		c.add(reading(2), false, func(error) {})
		stop()
		if groups, _ := d.seen(); len(groups) != 2 {
			t.Errorf("%d commits, want the waiting reading stored at the end", len(groups))
		}
	})
}

// What nobody waits for goes in one piece, of which the newest is kept.
func TestCommitter_failureOfWhatNobodyWaitsFor(t *testing.T) {
	c := newCommitter(Config{Commit: DefaultCommit()})
	for n := range 5 {
		c.add(reading(n), false, nil)
	}
	g := c.takeAll()
	if len(g.waiting) != 1 || g.waiting[0].count != 5 {
		t.Errorf("%+v wait, want nobody with five", g.waiting)
	}
	c.add(make([]gateway.Reading, queueSize-2), true, func(error) {})
	c.mu.Lock()
	defer c.mu.Unlock()
	if dropped := c.requeue(g); len(dropped) != 0 {
		t.Errorf("told %+v", dropped)
	}
	if len(c.readings) != queueSize || c.readings[0].At != 3 || c.waiting[0].count != 2 {
		t.Errorf("%d wait, from %+v, %d of nobody", len(c.readings), c.readings[0], c.waiting[0].count)
	}
}
