package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// grace is how long answers that are under way may take when the gateway stops.
const grace = 5 * time.Second

// serveHTTP answers requests on l until ctx ends. Live streams end then;
// other answers under way have some seconds more.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           endingStreams(ctx, h),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		short, done := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer done()
		if srv.Shutdown(short) != nil {
			_ = srv.Close() // who is not done by now is cut off
		}
	})
	err := srv.Serve(l)
	if stop() {
		return fmt.Errorf("serving HTTP on %s: %w", l.Addr(), err)
	}
	<-stopped
	return nil
}

// livePath is where the live stream is.
const livePath = "/api/v1/live"

// endingStreams ends requests for the live stream when ctx ends: they would
// last for ever.
func endingStreams(ctx context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == livePath {
			own, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			r = r.WithContext(own)
		}
		h.ServeHTTP(w, r)
	})
}
