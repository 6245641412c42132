package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/wattle-home/wattle/gateway"
)

// freePages is how many free pages Maintain gives back at once.
const freePages = 4096

// Maintain does what can wait for a quiet hour, and may be called at any time:
// it deletes what is left of deleted devices, drops ended sessions, gives free
// pages back to the disk and moves the write-ahead log into the file. It goes
// on after a failure and returns all of them joined.
func (s *Store) Maintain(ctx context.Context) error {
	ids, err := collect(ctx, s.r, func(row scanner) (id gateway.DeviceID, err error) {
		err = row.Scan(&id)
		return id, err
	}, `SELECT id FROM device WHERE deleted_ms IS NOT NULL ORDER BY id`)
	errs := []error{s.wrap("finding deleted devices", err)}
	for _, id := range ids {
		errs = append(errs, s.purgeDevice(ctx, id))
	}
	errs = append(errs, s.ExpireSessions(ctx, gateway.InstantOf(s.cfg.Now())), s.tidy(ctx))
	return errors.Join(errs...)
}

// tidy looks after the file itself.
func (s *Store) tidy(ctx context.Context) error {
	const doing = "tidying the database"
	select {
	case <-s.turn:
	case <-ctx.Done():
		return s.wrap(doing, ctx.Err())
	}
	defer func() { s.turn <- struct{}{} }()
	var free int
	err := s.w.QueryRow("PRAGMA freelist_count").Scan(&free)
	for ; err == nil && ctx.Err() == nil && free > 0; free -= freePages {
		_, err = s.w.Exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", freePages))
	}
	if err == nil {
		_, err = s.w.Exec("PRAGMA optimize")
	}
	if err == nil {
		_, err = s.w.Exec("PRAGMA wal_checkpoint(PASSIVE)")
	}
	return s.wrap(doing, errors.Join(err, ctx.Err()))
}
