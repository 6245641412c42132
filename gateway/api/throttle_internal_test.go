package api

import (
	"fmt"
	"testing"
	"time"
)

// start is when the clocks of these tests begin.
func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// use takes all tries of an address and fails if there are not n.
func use(t *testing.T, th *throttle, remote string, now time.Time, n int) {
	t.Helper()
	for i := range n {
		if wait := th.guess(remote, now); wait != 0 {
			t.Fatalf("try %d of %d from %s has to wait %v", i+1, n, remote, wait)
		}
	}
	if th.guess(remote, now) == 0 {
		t.Fatalf("%s has more than %d tries", remote, n)
	}
}

func TestThrottle_rightGivesOneTryBack(t *testing.T) {
	var th throttle
	now := start()
	// Somebody with a login of their own guesses at another's in between.
	for i := range guessesAnHour - 1 {
		if wait := th.guess("192.0.2.1", now); wait != 0 {
			t.Fatalf("guess %d has to wait %v", i, wait)
		}
		if wait := th.guess("192.0.2.1", now); wait != 0 {
			t.Fatalf("login %d has to wait %v", i, wait)
		}
		th.right("192.0.2.1", now)
	}
	use(t, &th, "192.0.2.1", now, 1)
	use(t, &th, "192.0.2.1", now.Add(6*time.Minute), 2)
	use(t, &th, "192.0.2.1", now.Add(48*time.Hour), guessesAnHour)
}

func TestThrottle_rightNeverGivesMoreThanAll(t *testing.T) {
	var th throttle
	now := start()
	for range 5 {
		th.guess("192.0.2.1", now)
		th.right("192.0.2.1", now.Add(time.Hour))
		th.right("192.0.2.1", now.Add(time.Hour))
	}
	use(t, &th, "192.0.2.1", now.Add(time.Hour), guessesAnHour)
}

func TestThrottle_countsNetworksOfIPv6(t *testing.T) {
	var th throttle
	now := start()
	for i := range guessesAnHour {
		if wait := th.guess(fmt.Sprintf("2001:db8:1:2::%x", i+1), now); wait != 0 {
			t.Fatalf("address %d has to wait %v", i, wait)
		}
	}
	for remote, free := range map[string]bool{
		"2001:db8:1:2:ffff::1": false, "2001:db8:1:3::1": true,
		"192.0.2.1": true, "192.0.2.2": true, "not an address": true,
	} {
		if got := th.guess(remote, now) == 0; got != free {
			t.Errorf("%s may guess: %v, want %v", remote, got, free)
		}
	}
	use(t, &th, "::ffff:192.0.2.1", now, guessesAnHour-1) // the same host as 192.0.2.1
	use(t, &th, "fe80::1%eth0", now, guessesAnHour)
	if th.guess("fe80::2%wlan0", now) == 0 {
		t.Error("a zone makes another network")
	}
}

func TestThrottle_fullMapForgetsNobodyWhoGuesses(t *testing.T) {
	var th throttle
	now := start()
	use(t, &th, "192.0.2.1", now, guessesAnHour)
	for i := range 3 * throttleSize {
		th.guess(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
		if len(th.guesses) > throttleSize {
			t.Fatalf("%d senders are remembered", len(th.guesses))
		}
	}
	if th.guess("192.0.2.1", now) == 0 {
		t.Error("who had used all tries may guess again")
	}
}

func TestThrottle_dueOnceInAWhile(t *testing.T) {
	var th throttle
	now := start()
	key := func(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
	for i := range throttleSize + 10 {
		if !th.due(key(i), now) {
			t.Fatalf("session %d is not due at first", i)
		}
	}
	if th.due(key(0), now.Add(touchEvery-1)) {
		t.Error("a session is due again at once")
	}
	if !th.due(key(0), now.Add(touchEvery)) {
		t.Error("a session is not due again later")
	}
	if len(th.touched) > throttleSize {
		t.Errorf("%d sessions are remembered", len(th.touched))
	}
}
