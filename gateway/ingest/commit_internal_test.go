package ingest

import (
	"context"
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
	d.groups, d.at = append(d.groups, rs), append(d.at, time.Now())
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
		if err := c.commit(t.Context(), rs, nil); err != nil || kept != 2 || d.failing != nil {
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
