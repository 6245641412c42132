package main

import (
	"context"
	"log/slog"
)

// recorderQueue is how many records may wait for the disk; more are dropped
// and logged, since control must not wait for a card.
const recorderQueue = 1024

// recorder writes what happened to the store in the background, in order.
type recorder struct {
	log   *slog.Logger
	queue chan func(ctx context.Context) error
}

// newRecorder returns a recorder that is not running yet.
func newRecorder(log *slog.Logger) *recorder {
	return &recorder{log: log, queue: make(chan func(ctx context.Context) error, recorderQueue)}
}

// add queues a write. It never blocks.
func (r *recorder) add(write func(ctx context.Context) error) {
	select {
	case r.queue <- write:
	default:
		r.log.Error("dropping a record: the store is behind", "queue", recorderQueue)
	}
}

// run writes until ctx ends, then what is still queued.
func (r *recorder) run(ctx context.Context) error {
	for {
		select {
		case write := <-r.queue:
			r.do(ctx, write)
		case <-ctx.Done():
			for {
				select {
				case write := <-r.queue:
					r.do(context.WithoutCancel(ctx), write)
				default:
					return nil
				}
			}
		}
	}
}

func (r *recorder) do(ctx context.Context, write func(ctx context.Context) error) {
	if err := write(ctx); err != nil {
		r.log.Error("recording what happened", "err", err)
	}
}
