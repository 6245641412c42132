package ingest

import (
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of what one client may request over MQTT. Each request becomes a
// command with a row on the disk, so that a loop in a client's rules must not
// run freely.
const (
	requestRate    = 10  // a second, in the long run
	requestBurst   = 50  // at once
	requestClients = 256 // so many are known; the longest silent makes room
)

// allowances counts the requests of each credential. The zero value is ready;
// it may be used from any goroutine.
type allowances struct {
	mu      sync.Mutex
	clients map[gateway.CredentialID]allowance
}

// allowance is a token bucket.
type allowance struct {
	left float64   // requests that may come at once
	at   time.Time // when that was so
}

// take reports whether a client may request something now, and counts it.
func (a *allowances) take(id gateway.CredentialID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, known := a.clients[id]
	if !known {
		a.makeRoom()
		c = allowance{left: requestBurst, at: now}
	}
	// A clock that was put back gives nothing.
	c.left = min(requestBurst, c.left+max(0, now.Sub(c.at).Seconds())*requestRate)
	c.at = now
	ok := c.left >= 1
	if ok {
		c.left--
	}
	a.clients[id] = c
	return ok
}

// makeRoom sees to it that one more client can be known. The lock is held.
func (a *allowances) makeRoom() {
	if a.clients == nil {
		a.clients = map[gateway.CredentialID]allowance{}
	}
	if len(a.clients) < requestClients {
		return
	}
	var oldest gateway.CredentialID
	first := true
	for id, c := range a.clients {
		if first || c.at.Before(a.clients[oldest].at) {
			oldest, first = id, false
		}
	}
	delete(a.clients, oldest)
}
