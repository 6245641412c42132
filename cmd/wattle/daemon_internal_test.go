package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What is due each hour is done at once, each hour, and when it is asked for,
// whether or not it fails.
func TestHourly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		now := make(chan struct{}, 1)
		var calls atomic.Int32
		done := make(chan error)
		go func() {
			done <- hourly(slog.New(slog.DiscardHandler), "calling", func(context.Context) error {
				calls.Add(1)
				return errors.New("it fails")
			}, now)(ctx)
		}()
		for i, step := range []func(){
			func() {},
			func() { time.Sleep(59 * time.Minute); now <- struct{}{} },
			func() { time.Sleep(2 * time.Minute) },
			func() { time.Sleep(time.Hour) },
		} {
			step()
			synctest.Wait()
			if got := calls.Load(); int(got) != i+1 {
				t.Fatalf("%d calls after step %d", got, i)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
