package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"
)

// part is something that lives until its context ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// runParts runs all parts until ctx ends or one of them fails, and then stops
// them one after the other in their order. A panic of a part counts as its
// failure, so that the others still stop as they should.
func runParts(ctx context.Context, parts []part) error {
	ended := make(chan error, len(parts))
	stops := make([]func() error, len(parts))
	for i, p := range parts {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var g errgroup.Group
		g.Go(func() error {
			err := guarded(own, p)
			if own.Err() == nil {
				ended <- err
			}
			return err
		})
		stops[i] = func() error {
			cancel()
			return g.Wait()
		}
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	var errs error
	for _, stop := range stops {
		errs = errors.Join(errs, stop())
	}
	return errs
}

// guarded runs a part and makes an error of its panic.
func guarded(ctx context.Context, p part) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", p.name, r, debug.Stack())
		}
	}()
	err = p.run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was stopped while it still began
	}
	return err
}
