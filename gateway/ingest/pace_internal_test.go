package ingest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// send queues a reading that is waited for, and returns how long that took.
func send(c *committer, device gateway.DeviceID) time.Duration {
	begin, stored := time.Now(), make(chan error, 1)
	c.add([]gateway.Reading{{Device: device, Has: gateway.HasPower}}, true,
		func(err error) { stored <- err })
	<-stored
	return time.Since(begin)
}

// A device that was away sends what it kept, one after the other.
func TestPace_deviceThatCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		begin := time.Now()
		for range hurryMost + 1 {
			send(c, 1)
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begin); took > (hurryMost+1)*time.Millisecond {
			t.Errorf("took %v, want no waiting", took)
		}
		// What goes on for ever has one a second beside the interval's.
		for c.pace.spent < hurryMost {
			send(c, 1)
		}
		begin = time.Now()
		for range 100 {
			send(c, 1)
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(begin); took < 45*time.Second {
			t.Errorf("the last hundred took %v, want two a second", took)
		}
	})
}

// A device that measures each second and is acknowledged late is no reason for
// further commits, nor is another that catches up.
func TestPace_devicesThatMeasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		for range 60 {
			for device := range gateway.DeviceID(30) {
				c.add([]gateway.Reading{{Device: device + 1, Has: gateway.HasPower}}, true, func(error) {})
				time.Sleep(time.Second / 30)
			}
		}
		if groups, _ := d.seen(); len(groups) > 61 {
			t.Errorf("%d commits in a minute, want one a second", len(groups))
		}
		if c.pace.spent > 0 {
			t.Errorf("%d hurried commits, want none", c.pace.spent)
		}
	})
}

// What a flood leaves behind does not wait for the whole interval.
func TestPace_endOfAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		c, stop := d.start(t, DefaultCommit())
		defer stop()
		for n := range 2*commitSize + 10 {
			c.add(reading(n), false, func(error) {})
		}
		time.Sleep(restTime)
		synctest.Wait()
		stored := 0
		groups, _ := d.seen()
		for _, g := range groups {
			stored += len(g)
		}
		if stored != 2*commitSize+10 {
			t.Errorf("%d stored, want %d", stored, 2*commitSize+10)
		}
	})
}
