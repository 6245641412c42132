package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Database is the care of the file in which all is kept.
type Database interface {
	// Check reads all of it and returns what is wrong, a sentence each.
	Check(ctx context.Context) (problems []string, err error)
	// Compact makes it as small as it can be; it returns its bytes before and
	// after.
	Compact(ctx context.Context) (before, after int64, err error)
	// Thinning returns what is to be done about readings that are too many.
	Thinning(ctx context.Context) (Thinning, error)
}

// Thinning is what is to be done about readings that are too many.
type Thinning struct {
	Reason   string          // age or size; "" for nothing
	Before   gateway.Instant // readings before it go; their sums stay
	Readings int64           // about how many
	Bytes    int64           // of the file
	MaxBytes int64           // 0 for no bound
}

// thinningBody is a Thinning as the API shows it.
type thinningBody struct {
	Reason   *string `json:"reason"`
	Before   *string `json:"before"`
	Readings int64   `json:"readings"`
	Bytes    int64   `json:"bytes"`
	MaxBytes *int64  `json:"max_bytes"`
}

// checkDatabase reads the whole database and tells what is wrong with it.
func (s *Server) checkDatabase(w http.ResponseWriter, r *http.Request) error {
	unlimited(w)
	problems, err := s.cfg.Database.Check(r.Context())
	if err != nil {
		return err
	}
	t, err := s.cfg.Database.Thinning(r.Context())
	if err != nil {
		return err
	}
	body := thinningBody{Readings: t.Readings, Bytes: t.Bytes}
	if t.Reason != "" {
		body.Reason, body.Before = &t.Reason, s.stamp(t.Before)
	}
	if t.MaxBytes > 0 {
		body.MaxBytes = &t.MaxBytes
	}
	if problems == nil {
		problems = []string{}
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"ok": len(problems) == 0, "problems": problems, "thinning": body,
	})
}

// compactDatabase makes the database as small as it can be.
func (s *Server) compactDatabase(w http.ResponseWriter, r *http.Request) error {
	unlimited(w)
	before, after, err := s.cfg.Database.Compact(r.Context())
	if err != nil {
		return fmt.Errorf("compacting: %w", err)
	}
	return writeJSON(w, http.StatusOK, map[string]int64{
		"bytes_before": before, "bytes_after": after,
	})
}

// unlimited lets an answer take any time; the caller waits for it or leaves.
func unlimited(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // in process: none to move
}
