package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/wattle-home/wattle/gateway"
)

// Compact does what Maintain does, joins chunks that are smaller than they need
// to be, and empties the write-ahead log. It returns how many bytes the file and
// its log took before and take now. Writers go on meanwhile.
func (s *Store) Compact(ctx context.Context) (before, after int64, err error) {
	const doing = "compacting the database"
	before = s.fileBytes()
	errs := []error{s.Maintain(ctx)}
	ids, err := s.deviceIDs(ctx)
	if err != nil {
		return before, before, s.wrap(doing, err)
	}
	for _, id := range ids {
		errs = append(errs, s.joinChunks(ctx, id))
	}
	errs = append(errs, s.tidy(ctx), s.emptyLog(ctx))
	return before, s.fileBytes(), errors.Join(errs...)
}

// fileBytes returns how large the file and its log are; what cannot be read
// counts as nothing.
func (s *Store) fileBytes() (n int64) {
	for _, suffix := range []string{"", "-wal"} {
		n += sizeOf(s.cfg.Path + suffix)
	}
	return n
}

// emptyLog moves the write-ahead log into the file and cuts it off. If a reader
// is in the way it stays for later.
func (s *Store) emptyLog(ctx context.Context) error {
	return s.inTurn(ctx, "emptying the write-ahead log", func() error {
		_, err := s.w.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
		return err
	})
}

// joinChunks joins neighbouring chunks of a device that fit into one, a
// transaction for each.
func (s *Store) joinChunks(ctx context.Context, device gateway.DeviceID) error {
	doing := fmt.Sprintf("joining chunks of device %d", device)
	type sized struct {
		span
		bytes int
	}
	chunks, err := collect(ctx, s.r, func(row scanner) (c sized, err error) {
		err = row.Scan(&c.id, &c.first, &c.last, &c.count, &c.bytes)
		return c, err
	}, `SELECT `+spanColumns+`, length(data) FROM chunk WHERE device_id = ? ORDER BY first_ms`, device)
	if err != nil {
		return s.wrap(doing, err)
	}
	for len(chunks) > 1 {
		some, sum, bytes := []span{chunks[0].span}, chunks[0].count, chunks[0].bytes
		for _, c := range chunks[1:] {
			sum, bytes = sum+c.count, bytes+c.bytes
			if sum > s.chunkMost && (bytes >= smallChunk || sum > smallTimes*s.chunkMost) {
				break
			}
			some = append(some, c.span)
		}
		if len(some) > 1 {
			if err := s.joinSome(ctx, doing, device, some); err != nil {
				return err
			}
		}
		chunks = chunks[len(some):]
	}
	return nil
}

// joinSome joins chunks that follow each other, if they are still what they
// were.
func (s *Store) joinSome(
	ctx context.Context, doing string, device gateway.DeviceID, chunks []span,
) error {
	unlock, err := s.lockSealing(ctx)
	if err != nil {
		return s.wrap(doing, err)
	}
	defer unlock()
	p := s.takePacker()
	defer s.putPacker(p)
	return s.write(ctx, doing, func(tx *sql.Tx) error {
		p.merged = p.merged[:0]
		for _, c := range chunks {
			now, err := maybe(scanChunk(tx.QueryRow(
				`SELECT `+chunkColumns+` FROM chunk WHERE id = ?`, c.id)))
			if err != nil || now == nil || now.first != c.first || now.last != c.last {
				return err // somebody else wrote it anew; another time
			}
			if p.merged, err = s.unpack(p, p.merged, device, *now); err != nil {
				return err
			}
			chunks[0].data = append(chunks[0].data, now.data...)
		}
		for _, c := range chunks[1:] {
			if _, err := tx.Exec(`DELETE FROM chunk WHERE id = ?`, c.id); err != nil {
				return err
			}
		}
		return s.insertChunks(tx, p, device, p.merged, &chunks[0])
	})
}
