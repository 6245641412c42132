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
		if err := n.Watchdog(ctx, func() bool { return true }); err != nil {
			t.Error(err)
		}
		if len(signs) != 4 || signs[0] != 15*time.Second || signs[3] != time.Minute {
			t.Errorf("signs at %v, want one each 15 s", signs)
		}
	})
}
