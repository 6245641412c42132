package ingest

import (
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// When readings that came in fast do not wait for the interval.
const (
	// restTime is how long what a full group left behind waits.
	restTime = 50 * time.Millisecond
	// quickTime is how soon a device hears that a reading is stored, and goes
	// on, if it waits for that before it sends the next.
	quickTime = 100 * time.Millisecond
	// hurryMost is how many hurried commits may follow each other: those that
	// come back in a day.
	hurryMost = 86_400
	// hurryEvery is how long it takes until one more may come.
	hurryEvery = time.Second
)

// pace decides when the readings that wait are due. The interval is for
// devices that measure. One that was offline and now sends what it kept, a
// reading after each acknowledgement, would need the interval for each of
// them; so who was acknowledged quickly and sends on at once is not held. That
// is bounded, because each commit wears the card: in the long run there are no
// more of them than of the others.
//
// The committer's lock guards it.
type pace struct {
	every CommitIntervals
	last  time.Time // when the last commit began
	full  bool      // it held as much as does not wait

	quick  map[gateway.DeviceID]time.Time // last acknowledged within quickTime
	spent  int                            // hurried commits
	refill time.Time                      // when spent was reckoned
}

// newPace returns the pace of a program that begins.
func newPace(every CommitIntervals) pace {
	return pace{every: every, quick: map[gateway.DeviceID]time.Time{}, refill: time.Now()}
}

// due returns when a reading must be committed that comes now, without hurry.
func (p *pace) due(acked bool) time.Time {
	every := p.every.Unacknowledged
	if acked {
		every = p.every.Acknowledged
	}
	if p.full {
		every = min(every, restTime)
	}
	return p.last.Add(every)
}

// hurry reports whether the readings of w are to be committed at once, and
// counts that.
func (p *pace) hurry(w waiter) bool {
	if !w.acked || w.at.Sub(p.quick[w.device]) >= quickTime {
		return false
	}
	back := w.at.Sub(p.refill) / hurryEvery
	p.refill = p.refill.Add(back * hurryEvery)
	p.spent = int(max(0, time.Duration(p.spent)-back))
	if p.spent >= hurryMost {
		return false
	}
	p.spent++
	return true
}

// begin notes that a commit of n readings begins.
func (p *pace) begin(now time.Time, n int) {
	p.last, p.full = now, n >= commitSize
}

// acknowledged notes that ws are about to hear that all is stored.
func (p *pace) acknowledged(now time.Time, ws []waiter) {
	for _, w := range ws {
		if w.acked && now.Sub(w.at) < quickTime {
			p.quick[w.device] = now
		}
	}
}
