package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of the recorder.
const (
	// recorderQueue is how many records may wait for the disk; more are dropped,
	// since control must not wait for a card.
	recorderQueue = 1024
	// recorderTells is how often dropped records are told in the log.
	recorderTells = time.Minute
)

// recorder writes what happened to the store in the background, in order.
type recorder struct {
	log   *slog.Logger
	queue chan func(ctx context.Context) error

	mu       sync.Mutex
	commands map[string]gateway.Command // that wait, as they are now
	dropped  int
	told     time.Time
}

// newRecorder returns a recorder that is not running yet.
func newRecorder(log *slog.Logger) *recorder {
	return &recorder{
		log: log, commands: map[string]gateway.Command{},
		queue: make(chan func(ctx context.Context) error, recorderQueue),
	}
}

// add queues a write. It never blocks.
func (r *recorder) add(write func(ctx context.Context) error) bool {
	select {
	case r.queue <- write:
		return true
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped++
	if time.Since(r.told) >= recorderTells {
		r.log.Error("dropping records: the store is behind", "dropped", r.dropped)
		r.told, r.dropped = time.Now(), 0
	}
	return false
}

// command queues how a command stands. Of a command that waits already only
// the newest is written.
func (r *recorder) command(c gateway.Command, save func(context.Context, gateway.Command) error) {
	r.mu.Lock()
	_, waits := r.commands[c.ID]
	r.commands[c.ID] = c
	r.mu.Unlock()
	if waits {
		return
	}
	take := func() gateway.Command {
		r.mu.Lock()
		defer r.mu.Unlock()
		defer delete(r.commands, c.ID)
		return r.commands[c.ID]
	}
	if !r.add(func(ctx context.Context) error { return save(ctx, take()) }) {
		take()
	}
}

// run writes until ctx ends, then what is still queued.
func (r *recorder) run(ctx context.Context) error {
	for {
		select {
		case write := <-r.queue:
			r.do(context.WithoutCancel(ctx), write) // what is begun is finished
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

// do writes one record. What was done stays done though it cannot be written.
func (r *recorder) do(ctx context.Context, write func(ctx context.Context) error) {
	if err := write(ctx); err != nil && gateway.CodeOf(err) != gateway.CodeNotFound {
		r.log.Error("recording what happened", "err", err)
	}
}
