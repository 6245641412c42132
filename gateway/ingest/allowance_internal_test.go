package ingest

import (
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// taken counts how many of n requests at one instant are allowed.
func (a *allowances) taken(id gateway.CredentialID, now time.Time, n int) (count int) {
	for range n {
		if a.take(id, now) {
			count++
		}
	}
	return count
}

func TestAllowances_take(t *testing.T) {
	var a allowances
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		client gateway.CredentialID
		after  time.Duration
		want   int
	}{
		{1, 0, 50}, // the burst
		{1, 0, 0},
		{2, 0, 50},                       // each has its own
		{1, 50 * time.Millisecond, 0},    // half a request
		{1, 50 * time.Millisecond, 1},    // the other half
		{1, time.Second, 10},             // the rate
		{1, -time.Hour, 0},               // the clock is put back
		{1, 2 * time.Second, 20},         // and runs on
		{1, 24 * time.Hour, 50},          // never more than the burst
		{2, 100 * time.Millisecond, 50},  // also of who was silent
		{1, 1900 * time.Millisecond, 20}, // in between nothing is lost
	} {
		now = now.Add(step.after)
		if got := a.taken(step.client, now, 100); got != step.want {
			t.Errorf("client %d, %v later: %d were taken, want %d",
				step.client, step.after, got, step.want)
		}
	}
}

func TestAllowances_boundedClients(t *testing.T) {
	var a allowances
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for id := range gateway.CredentialID(3 * requestClients) {
		now = now.Add(time.Millisecond)
		a.taken(id, now, requestBurst)
		a.take(1, now) // it keeps asking, so it is not forgotten
	}
	if n := len(a.clients); n != requestClients {
		t.Errorf("%d clients are known, want %d", n, requestClients)
	}
	if got := a.taken(1, now, requestBurst); got > 1 {
		t.Errorf("a client that kept asking was forgotten: %d more were taken", got)
	}
}
