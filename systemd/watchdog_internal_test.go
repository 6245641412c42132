package systemd

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestNotifier_Watchdog_twiceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var signs []time.Duration
		start := time.Now()
		n := &Notifier{
			interval: 30 * time.Second,
			logger:   slog.New(slog.DiscardHandler),
			send: func(message string) error {
				if message != "WATCHDOG=1" {
					t.Errorf("sent %q", message)
				}
				signs = append(signs, time.Since(start))
				return errors.New("full") // must not end it
			},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 61*time.Second)
		defer cancel()
		n.Watchdog(ctx, func() bool { return true })
		if len(signs) != 4 || signs[0] != 15*time.Second || signs[3] != time.Minute {
			t.Errorf("signs at %v, want one each 15 s", signs)
		}
	})
}

func TestIntervalOf(t *testing.T) {
	const pid = 42
	tests := []struct {
		usec, forPID string
		want         time.Duration
		fault        bool
	}{
		{"", "", 0, false},
		{"30000000", "42", 30 * time.Second, false},
		{"1500", "", 1500 * time.Microsecond, false},
		{"1500", "41", 0, false}, // of another process
		{"30s", "", 0, true},
		{"0", "42", 0, true},
		{"-5", "", 0, true},
		{"9223372036854775807", "", 0, true},
	}
	for _, tt := range tests {
		got, err := intervalOf(tt.usec, tt.forPID, pid)
		if got != tt.want || (err != nil) != tt.fault {
			t.Errorf("%q for %q: got %v, %v, want %v, fault %v",
				tt.usec, tt.forPID, got, err, tt.want, tt.fault)
		}
	}
}
