package api

import (
	"maps"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// throttle bounds guesses at passwords by address, and how often a session's
// end is moved. The zero value is ready.
type throttle struct {
	mu      sync.Mutex
	guesses map[string]*guesses // by what sender returns
	touched map[[32]byte]time.Time
}

// guesses is a bucket of tries that refills over an hour.
type guesses struct {
	left float64 // at the time at
	at   time.Time
}

// Bounds of the throttle.
const (
	guessesAnHour = 20
	throttleSize  = 4096 // senders and sessions remembered
	touchEvery    = 5 * time.Minute
)

// leftAt returns how many tries there are at an instant. A clock that was put
// back gives none.
func (g *guesses) leftAt(now time.Time) float64 {
	if !now.After(g.at) {
		return g.left
	}
	return min(guessesAnHour, g.left+now.Sub(g.at).Hours()*guessesAnHour)
}

// sender returns as what an address counts: itself, or for IPv6 its /64,
// within which one host has as many addresses as it likes.
func sender(remote string) string {
	a, err := netip.ParseAddr(remote)
	if err != nil {
		return remote
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return remote
	}
	return p.String()
}

// guess takes one try of an address and returns how long to wait if there is
// none left.
func (t *throttle) guess(remote string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := sender(remote)
	g := t.guesses[key]
	if g == nil {
		t.makeRoom(now)
		g = &guesses{left: guessesAnHour}
		t.guesses[key] = g
	}
	g.left, g.at = g.leftAt(now), now
	if g.left < 1 {
		return time.Duration((1 - g.left) / guessesAnHour * float64(time.Hour))
	}
	g.left--
	return 0
}

// makeRoom lets another sender in. If there is no room it forgets the one
// that has the most tries left, and of several the one that was quiet for
// longest: it gains least from being forgotten. The caller holds the lock.
func (t *throttle) makeRoom(now time.Time) {
	if t.guesses == nil {
		t.guesses = map[string]*guesses{}
	}
	if len(t.guesses) < throttleSize {
		return
	}
	var worst string
	var most float64
	var since time.Time
	for key, g := range t.guesses {
		left := g.leftAt(now)
		if worst == "" || left > most || left == most && g.at.Before(since) {
			worst, most, since = key, left, g.at
		}
	}
	delete(t.guesses, worst)
}

// right gives the try back: the password was right. The tries that went wrong
// before stay taken, lest a login of one's own pays for guesses at others.
func (t *throttle) right(remote string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := t.guesses[sender(remote)]; g != nil {
		g.left, g.at = min(guessesAnHour, g.leftAt(now)+1), now
	}
}

// retryAfter writes a wait in whole seconds, rounded up.
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}

// due reports whether the end of a session is to be moved again. While more
// sessions are in use than are remembered, it is moved more often.
func (t *throttle) due(session [32]byte, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.touched[session]; ok && now.Sub(at) < touchEvery {
		return false
	}
	if t.touched == nil {
		t.touched = map[[32]byte]time.Time{}
	}
	if len(t.touched) >= throttleSize {
		maps.DeleteFunc(t.touched, func(_ [32]byte, at time.Time) bool {
			return now.Sub(at) >= touchEvery
		})
	}
	if len(t.touched) < throttleSize {
		t.touched[session] = now
	}
	return true
}
