package store

import (
	"context"
	"strings"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// scrubAll scrubs until there is nothing to do, and returns in how many steps.
func scrubAll(t *testing.T, s *rolling, some int) (steps int) {
	t.Helper()
	for {
		done, err := s.Scrub(context.Background(), some)
		if err != nil {
			t.Fatal(err)
		}
		if done {
			return steps
		}
		steps++
	}
}

// Damage that nobody came across is found within a month, set aside and told.
func TestStore_Scrub(t *testing.T) {
	s := fullStore(t)
	ctx := context.Background()
	want := s.all(t, 1, energy.StepDay)
	if steps := scrubAll(t, s, 5); steps < 6 {
		t.Fatalf("all was read in %d steps", steps)
	}
	if steps := scrubAll(t, s, 5); steps != 0 {
		t.Errorf("%d steps at once again", steps)
	}
	for _, statement := range []string{
		`UPDATE chunk SET data = zeroblob(100) WHERE id = 5`,
		`UPDATE rollup SET data = zeroblob(100) WHERE id = 1`,
	} {
		if _, err := s.w.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	s.now += 29 * day
	if steps := scrubAll(t, s, 5); steps != 0 {
		t.Errorf("%d steps within the month", steps)
	}
	s.now += 2 * day
	if done, err := s.Scrub(ctx, 3); done || err != nil {
		t.Fatal(done, err)
	}
	s.open(t) // it goes on, or begins anew
	s.chunkMost = 8640
	if steps := scrubAll(t, s, 5); steps < 5 {
		t.Errorf("%d steps after a month", steps)
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	told := s.events(t, gateway.EventDamaged)
	if len(told) != 1 || !strings.Contains(told[0], "are lost") || !strings.Contains(told[0], "still known") {
		t.Errorf("events %q", told)
	}
	if err := s.Check(ctx); err == nil || strings.Contains(err.Error(), "rollup") {
		t.Errorf("check says %v", err)
	}
	s.now -= 31 * day
	got := s.all(t, 1, energy.StepDay)
	for i := range want {
		if d := got[i].Energy - want[i].Energy; d < -checkSlack || d > checkSlack {
			t.Errorf("day %d: %v, want %v", i, got[i], want[i])
		}
	}
}

// A clock that goes back a year, and forward, does not put scrubbing off for
// more than a month.
func TestStore_Scrub_clockSteps(t *testing.T) {
	s := fullStore(t)
	s.now += 365 * day
	scrubAll(t, s, 50)
	s.now -= 365 * day
	if steps := scrubAll(t, s, 5); steps != 0 {
		t.Errorf("%d steps just after the clock was put back", steps)
	}
	s.now += 31 * day
	if steps := scrubAll(t, s, 5); steps == 0 {
		t.Error("a month later nothing is read")
	}
	s.now += 365 * day
	if steps := scrubAll(t, s, 5); steps == 0 {
		t.Error("a year later nothing is read")
	}
}
