package systemd

import (
	"context"
	"time"
)

// Watchdog gives a sign of life twice in the interval that the service
// manager named, as long as progress says that what matters moved on. Without
// one the service manager ends the process and starts it anew.
//
// progress is called in this goroutine, must not be nil and must not block: a
// call that hangs is a process that hangs. Watchdog returns when ctx ends, or
// at once where no sign of life is awaited. A sign that could not be sent is
// logged and tried again at the next tick.
func (n *Notifier) Watchdog(ctx context.Context, progress func() bool) {
	if n.interval <= 0 {
		return
	}
	ticker := time.NewTicker(max(n.interval/2, time.Millisecond))
	defer ticker.Stop()
	stalled := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		moved := progress()
		if moved == stalled { // it changed
			stalled = !moved
			if stalled {
				n.logger.ErrorContext(ctx, "no progress, withholding the sign of life",
					"restart_within", n.interval)
			} else {
				n.logger.InfoContext(ctx, "progress again")
			}
		}
		if !moved {
			continue
		}
		n.tell("WATCHDOG=1")
	}
}
