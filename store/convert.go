package store

import (
	"context"
	"database/sql"

	"github.com/wattle-home/wattle/gateway"
)

// hasTable reports whether the file has the table.
func (s *Store) hasTable(ctx context.Context, name string) (bool, error) {
	var n int
	err := s.w.QueryRowContext(ctx,
		`SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?`, name).Scan(&n)
	return n > 0, err
}

// openReadings makes the readings of the file ready: those of the table that
// held one row for each, until version 2 of the schema, become chunks, and the
// tail comes into memory. A file of an older version is left as it is.
func (s *Store) openReadings(ctx context.Context) error {
	if found, err := s.hasTable(ctx, "rollup"); err != nil || !found {
		return err
	}
	if found, err := s.hasTable(ctx, "reading"); err != nil {
		return err
	} else if found {
		if err := s.convert(ctx); err != nil {
			return err
		}
		if err := s.shrinkFile(ctx); err != nil { // nobody else has the file yet
			return err
		}
	}
	if err := s.prepareStatements(ctx); err != nil {
		return err
	}
	if err := s.loadTail(ctx); err != nil {
		return err
	}
	return s.loadRolled(ctx)
}

// convert empties the table reading into chunks, a chunk a transaction, and
// drops it. Cut anywhere it goes on from there the next time.
func (s *Store) convert(ctx context.Context) error {
	p := s.takePacker()
	defer s.putPacker(p)
	moved, told := 0, 0
	for {
		n := 0
		err := s.write(ctx, "packing readings", func(tx *sql.Tx) (err error) {
			n, err = s.convertSome(ctx, tx, p)
			if err == nil && n == 0 {
				_, err = tx.Exec(`DROP TABLE reading`)
			}
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		if moved += n; moved-told >= 1_000_000 {
			told = moved
			s.log.InfoContext(ctx, "packing readings", "so_far", moved)
		}
	}
}

// convertSome moves some rows of the first device that has any into a chunk,
// and returns how many; 0 if there are none.
func (s *Store) convertSome(ctx context.Context, tx *sql.Tx, p *packer) (n int, err error) {
	rs, err := collect(ctx, tx, func(row scanner) (r gateway.Reading, err error) {
		var power, energy sql.NullInt64
		err = row.Scan(&r.Device, &r.At, &power, &energy)
		if power.Valid {
			r.Power, r.Has = gateway.Power(power.Int64), gateway.HasPower
		}
		if energy.Valid {
			r.Energy, r.Has = gateway.Energy(energy.Int64), r.Has|gateway.HasEnergy
		}
		return r, err
	}, `SELECT device_id, at_ms, power_mw, energy_mwh FROM reading
		WHERE device_id = (SELECT min(device_id) FROM reading) ORDER BY at_ms LIMIT ?`, s.chunkMost)
	if err != nil || len(rs) == 0 {
		return 0, err
	}
	last := rs[len(rs)-1]
	kept := rs[:0] // a row may hold nothing, which no chunk does
	for _, r := range rs {
		if r.Has != 0 {
			kept = append(kept, r)
		}
	}
	for rest := kept; len(rest) > 0; {
		n, err := s.sealSome(ctx, tx, p, last.Device, rest)
		if err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	_, err = tx.Exec(`DELETE FROM reading WHERE device_id = ? AND at_ms <= ?`, last.Device, last.At)
	return len(rs), err
}
