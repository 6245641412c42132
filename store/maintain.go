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
// it seals the readings of past days, sets aside what readers found damaged,
// deletes what is left of deleted devices, sums up past days, thins readings
// as the retention says, drops ended sessions, gives free pages back to the
// disk, moves the write-ahead log into the file and fills the reserve. It goes
// on after a failure and returns all of them joined.
func (s *Store) Maintain(ctx context.Context) error {
	ids, err := collect(ctx, s.r, func(row scanner) (id gateway.DeviceID, err error) {
		err = row.Scan(&id)
		return id, err
	}, `SELECT id FROM device WHERE deleted_ms IS NOT NULL ORDER BY id`)
	now := gateway.InstantOf(s.cfg.Now())
	errs := []error{
		s.wrap("finding deleted devices", err), s.wrap("sealing readings", s.sealAll(ctx, past(now))),
		s.wrap("looking into damage", s.judgeSuspects(ctx)),
	}
	for _, id := range ids {
		errs = append(errs, s.purgeDevice(ctx, id))
	}
	errs = append(errs, s.rollUpAll(ctx, now), s.thinAll(ctx, now),
		s.ExpireSessions(ctx, now), s.tidy(ctx), s.fillReserve(ctx))
	return errors.Join(errs...)
}

// tidy looks after the file itself.
func (s *Store) tidy(ctx context.Context) error {
	return s.inTurn(ctx, "tidying the database", func() error {
		// No PRAGMA optimize: the queries have the plans that tests hold them to, and
		// with samples of the tables they are planned anew for each value.
		err := s.shrinkFile(ctx)
		if err == nil {
			_, err = s.w.Exec("PRAGMA wal_checkpoint(PASSIVE)")
		}
		return errors.Join(err, ctx.Err())
	})
}

// shrinkFile gives free pages back to the disk. It is the caller's turn.
func (s *Store) shrinkFile(ctx context.Context) error {
	var free int
	err := s.w.QueryRow("PRAGMA freelist_count").Scan(&free)
	for ; err == nil && ctx.Err() == nil && free > 0; free -= freePages {
		_, err = s.w.Exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", freePages))
	}
	return err
}
