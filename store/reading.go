package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/wattle-home/wattle/gateway"
)

// upsertRow is one row of the values of upsertHead.
const upsertRow = "(?,?,?,?)"

// upsertHead and upsertTail put rows in or merge them with those that stand,
// as gateway.Reading.Merge does. A row that would change nothing is not
// written. The scalar max is NULL if one of its arguments is.
const (
	upsertHead = `INSERT INTO reading (device_id, at_ms, power_mw, energy_mwh) VALUES `
	upsertTail = ` ON CONFLICT (device_id, at_ms) DO UPDATE SET
		power_mw   = max(coalesce(power_mw, excluded.power_mw),
		                 coalesce(excluded.power_mw, power_mw)),
		energy_mwh = max(coalesce(energy_mwh, excluded.energy_mwh),
		                 coalesce(excluded.energy_mwh, energy_mwh))
		WHERE excluded.power_mw   > coalesce(power_mw,   -9223372036854775808)
		   OR excluded.energy_mwh > coalesce(energy_mwh, -9223372036854775808)`
)

// manyRows is how many rows appendMany takes. More gain nothing, and fewer
// readings than that go in one by one.
const manyRows = 32

// Queries over readings that run often; they are to use the primary key.
const (
	selectReading = `SELECT at_ms, power_mw, energy_mwh FROM reading WHERE device_id = ? `
	selectScan    = selectReading + `AND at_ms >= ? AND at_ms < ? ORDER BY at_ms LIMIT ?`
	selectPage    = selectReading + `AND at_ms >= ? AND at_ms < ? ORDER BY at_ms LIMIT ? OFFSET ?`
	selectBefore  = selectReading + `AND at_ms < ? ORDER BY at_ms DESC LIMIT 1`
	selectAfter   = selectReading + `AND at_ms >= ? ORDER BY at_ms LIMIT 1`
	selectCount   = `SELECT count(*) FROM reading WHERE device_id = ? AND at_ms >= ? AND at_ms < ?`
	selectLast    = `SELECT r.device_id, r.at_ms, r.power_mw, r.energy_mwh
		FROM device d JOIN reading r ON r.device_id = d.id
			AND r.at_ms = (SELECT max(at_ms) FROM reading WHERE device_id = d.id)
		WHERE d.deleted_ms IS NULL ORDER BY d.id`
	deleteSome = `DELETE FROM reading WHERE device_id = ?1 AND at_ms <= (
		SELECT max(at_ms) FROM (
			SELECT at_ms FROM reading WHERE device_id = ?1 ORDER BY at_ms LIMIT ?2))`
)

// scanRows is how many readings Scan takes from the file at once.
const scanRows = 2048

// prepareStatements prepares what runs so often that preparing it each time
// would be felt. Closing the pools closes them.
func (s *Store) prepareStatements(ctx context.Context) (err error) {
	many := upsertHead + upsertRow
	for range manyRows - 1 {
		many += "," + upsertRow
	}
	if s.appendOne, err = s.w.PrepareContext(ctx, upsertHead+upsertRow+upsertTail); err != nil {
		return err
	}
	if s.appendMany, err = s.w.PrepareContext(ctx, many+upsertTail); err != nil {
		return err
	}
	if s.known, err = s.w.PrepareContext(ctx, selectThere); err != nil {
		return err
	}
	s.scanPage, err = s.r.PrepareContext(ctx, selectScan)
	return err
}

// Append stores readings in one transaction; when it returns nil they are on
// the disk. A reading of a device and instant that is there already is merged
// with it as gateway.Reading.Merge says, so that repeats and any order give
// the same rows. If a device is unknown (CodeNotFound) or a reading holds
// nothing (CodeInvalid) none is stored. Whether the values are to be believed
// is the caller's matter.
func (s *Store) Append(ctx context.Context, rs []gateway.Reading) error {
	if len(rs) == 0 {
		return nil
	}
	for _, r := range rs {
		if r.Has&(gateway.HasPower|gateway.HasEnergy) == 0 {
			return gateway.Invalidf("appending readings: the one of device %d at %s has neither "+
				"power nor energy", r.Device, r.At)
		}
	}
	// In the order of the key one page after the other is filled; as merging
	// knows no order, the rows are the same.
	if !slices.IsSortedFunc(rs, byKey) {
		rs = slices.Clone(rs)
		slices.SortFunc(rs, byKey)
	}
	return s.write(ctx, "appending readings", func(tx *sql.Tx) error {
		if err := s.knownDevices(tx, rs); err != nil {
			return err
		}
		many, one := tx.Stmt(s.appendMany), tx.Stmt(s.appendOne)
		args := make([]any, 0, 4*manyRows)
		for ; len(rs) >= manyRows; rs = rs[manyRows:] {
			args = args[:0]
			for _, r := range rs[:manyRows] {
				args = appendArgs(args, r)
			}
			if _, err := many.Exec(args...); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		for _, r := range rs {
			if _, err := one.Exec(appendArgs(args[:0], r)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// byKey orders readings as the table does.
func byKey(a, b gateway.Reading) int {
	return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.At, b.At))
}

// appendArgs appends the values of an upsertRow.
func appendArgs(args []any, r gateway.Reading) []any {
	var power, energy any
	if r.Has&gateway.HasPower != 0 {
		power = int64(r.Power)
	}
	if r.Has&gateway.HasEnergy != 0 {
		energy = int64(r.Energy)
	}
	return append(args, int64(r.Device), int64(r.At), power, energy)
}

// knownDevices returns an error naming the first device of rs, in the order
// of the key, that is not there. As there is one writer, what it finds holds until the commit.
func (s *Store) knownDevices(tx *sql.Tx, rs []gateway.Reading) error {
	known := tx.Stmt(s.known)
	for i, r := range rs {
		if i > 0 && r.Device == rs[i-1].Device {
			continue
		}
		if err := isThere(known.QueryRow(r.Device), r.Device); err != nil {
			return err
		}
	}
	return nil
}

// Scan calls fn for each reading of a device from from (inclusive) to to
// (exclusive), in order of time. An error of fn ends it and is returned as it
// is. No transaction is open while fn runs, so that fn may take its time and
// may use s; readings that come in meanwhile may or may not be seen.
func (s *Store) Scan(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant,
	fn func(r gateway.Reading) error,
) error {
	doing := fmt.Sprintf("scanning readings of device %d", device)
	if err := deviceThere(ctx, s.r, device); err != nil {
		return s.wrap(doing, err)
	}
	buf := make([]gateway.Reading, 0, scanRows)
	for from < to {
		var err error
		buf, err = s.scanInto(ctx, buf[:0], device, from, to)
		if err != nil {
			return s.wrap(doing, err)
		}
		for _, r := range buf {
			if err := fn(r); err != nil {
				return err
			}
		}
		if len(buf) < scanRows {
			return nil
		}
		from = buf[len(buf)-1].At + 1
	}
	return nil
}

// scanInto appends to buf the first scanRows readings of a range.
func (s *Store) scanInto(
	ctx context.Context, buf []gateway.Reading, device gateway.DeviceID, from, to gateway.Instant,
) (_ []gateway.Reading, err error) {
	rows, err := s.scanPage.QueryContext(ctx, device, from, to, scanRows)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	scan := readingOf(device)
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		buf = append(buf, r)
	}
	return buf, rows.Err()
}

// readingOf returns what scans the columns of selectReading.
func readingOf(device gateway.DeviceID) func(row scanner) (gateway.Reading, error) {
	// Scanning to an any is what database/sql does without reflection.
	var at, power, energy any
	dest := []any{&at, &power, &energy}
	return func(row scanner) (gateway.Reading, error) {
		if err := row.Scan(dest...); err != nil {
			return gateway.Reading{}, err
		}
		return toReading(device, at, power, energy), nil
	}
}

// toReading makes a reading of its columns.
func toReading(device gateway.DeviceID, at, power, energy any) gateway.Reading {
	r := gateway.Reading{Device: device}
	if v, ok := at.(int64); ok {
		r.At = gateway.Instant(v)
	}
	if v, ok := power.(int64); ok {
		r.Power, r.Has = gateway.Power(v), gateway.HasPower
	}
	if v, ok := energy.(int64); ok {
		r.Energy, r.Has = gateway.Energy(v), r.Has|gateway.HasEnergy
	}
	return r
}

// Page returns limit readings of a device and range after skipping offset, in
// order of time, and how many the range holds in all.
func (s *Store) Page(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant, offset, limit int,
) (page []gateway.Reading, total int, err error) {
	doing := fmt.Sprintf("reading a page of device %d", device)
	if offset < 0 || limit < 0 {
		return nil, 0, gateway.Invalidf("%s: offset %d and limit %d: neither may be negative",
			doing, offset, limit)
	}
	err = s.read(ctx, doing, func(tx *sql.Tx) error {
		if err := deviceThere(ctx, tx, device); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, selectCount, device, from, to).Scan(&total)
		if err != nil || offset >= total || limit == 0 {
			return err
		}
		page, err = collect(ctx, tx, readingOf(device), selectPage, device, from, to, limit, offset)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return page, total, nil
}

// Before returns the last reading of a device before at, and whether there is
// one.
func (s *Store) Before(
	ctx context.Context, device gateway.DeviceID, at gateway.Instant,
) (gateway.Reading, bool, error) {
	return s.nearest(ctx, "before", selectBefore, device, at)
}

// After returns the first reading of a device at or after at, and whether
// there is one.
func (s *Store) After(
	ctx context.Context, device gateway.DeviceID, at gateway.Instant,
) (gateway.Reading, bool, error) {
	return s.nearest(ctx, "after", selectAfter, device, at)
}

// nearest runs a query that gives one reading or none.
func (s *Store) nearest(
	ctx context.Context, side, query string, device gateway.DeviceID, at gateway.Instant,
) (gateway.Reading, bool, error) {
	doing := fmt.Sprintf("finding the reading of device %d %s %s", device, side, at)
	if err := deviceThere(ctx, s.r, device); err != nil {
		return gateway.Reading{}, false, s.wrap(doing, err)
	}
	r, err := readingOf(device)(s.r.QueryRowContext(ctx, query, device, at))
	if errors.Is(err, sql.ErrNoRows) {
		return gateway.Reading{}, false, nil
	}
	if err != nil {
		return gateway.Reading{}, false, s.wrap(doing, err)
	}
	return r, true, nil
}

// Last returns the newest reading of each device that has one, in order of
// their ids.
func (s *Store) Last(ctx context.Context) ([]gateway.Reading, error) {
	rs, err := collect(ctx, s.r, func(row scanner) (gateway.Reading, error) {
		var device gateway.DeviceID
		var at, power, energy any
		err := row.Scan(&device, &at, &power, &energy)
		return toReading(device, at, power, energy), err
	}, selectLast)
	return rs, s.wrap("finding the newest readings", err)
}

// Count returns how many readings of a device there are.
func (s *Store) Count(ctx context.Context, device gateway.DeviceID) (int64, error) {
	doing := fmt.Sprintf("counting readings of device %d", device)
	if err := deviceThere(ctx, s.r, device); err != nil {
		return 0, s.wrap(doing, err)
	}
	var n int64
	err := s.r.QueryRowContext(ctx, selectCount, device,
		int64(math.MinInt64), int64(math.MaxInt64)).Scan(&n)
	return n, s.wrap(doing, err)
}

// deleteReadings deletes the oldest readings of a device, limit of them at
// most, and reports whether none is left.
func deleteReadings(tx *sql.Tx, device gateway.DeviceID, limit int) (done bool, err error) {
	res, err := tx.Exec(deleteSome, device, limit)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n < int64(limit), err
}
