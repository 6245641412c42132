package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
)

// maxProblems is about how many problems Check tells.
const maxProblems = 20

// checkReadings unpacks all readings and returns what is wrong with them.
func (s *Store) checkReadings(ctx context.Context) (errs []error, err error) {
	p := s.takePacker()
	defer s.putPacker(p)
	ids, err := collect(ctx, s.r, func(row scanner) (id gateway.DeviceID, err error) {
		err = row.Scan(&id)
		return id, err
	}, `SELECT DISTINCT device_id FROM chunk ORDER BY device_id`)
	if err != nil {
		return nil, err
	}
	for _, device := range ids {
		last := gateway.Instant(math.MinInt64)
		for last < math.MaxInt64 && len(errs) < maxProblems {
			c, err := maybe(scanChunk(s.r.QueryRowContext(ctx, selectLater, device, last)))
			if err != nil || c == nil {
				if err != nil {
					return errs, err
				}
				break
			}
			if _, err := s.unpack(p, nil, device, *c); err != nil {
				errs = append(errs, err)
			}
			// The last instant of a chunk that lies between is after the first of this.
			if c.last < c.first {
				errs = append(errs, fmt.Errorf("chunk %d ends before it begins", c.id))
			}
			last = max(c.first, c.last)
		}
	}
	more, err := s.checkRows(ctx)
	return append(errs, more...), err
}

// checkRows returns what is wrong with chunks beside each other, with tail
// rows, and what was set aside.
func (s *Store) checkRows(ctx context.Context) (errs []error, err error) {
	for _, query := range []string{
		`SELECT 'chunk ' || a.id || ' of device ' || a.device_id || ' overlaps chunk ' || b.id
			FROM chunk a JOIN chunk b ON b.device_id = a.device_id AND b.first_ms > a.first_ms
			AND b.first_ms <= a.last_ms LIMIT 20`,
		`SELECT CASE device_id WHEN 0 THEN 'a row' ELSE 'a chunk of device ' || device_id END ||
			' was damaged and is set aside (' || id || '): ' || reason FROM damaged LIMIT 20`,
	} {
		found, err := collect(ctx, s.r, func(row scanner) (error, error) {
			var text string
			err := row.Scan(&text)
			return errors.New(text), err
		}, query)
		if err != nil {
			return errs, err
		}
		errs = append(errs, found...)
	}
	known := map[gateway.DeviceID]bool{}
	if _, err := collect(ctx, s.r, func(row scanner) (id gateway.DeviceID, err error) {
		err = row.Scan(&id)
		known[id] = true
		return id, err
	}, `SELECT id FROM device`); err != nil {
		return errs, err
	}
	var rs []gateway.Reading
	_, err = collect(ctx, s.r, func(row scanner) (struct{}, error) {
		var id int64
		var data sql.RawBytes
		if err := row.Scan(&id, &data); err != nil {
			return struct{}{}, err
		}
		var err error
		if rs, err = chunk.ReadBatch(rs[:0], data); err != nil && len(errs) < maxProblems {
			errs = append(errs, fmt.Errorf("tail row %d: %w", id, err))
		}
		for _, r := range rs {
			if !known[r.Device] && len(errs) < maxProblems {
				errs = append(errs, fmt.Errorf("tail row %d: there is no device %d", id, r.Device))
			}
		}
		return struct{}{}, nil
	}, `SELECT id, data FROM tail ORDER BY id`)
	return errs, err
}
