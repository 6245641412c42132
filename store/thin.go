package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// Retention says how long readings are kept. Rollups are kept for ever, so that
// energy, means and ranges of the time before stay known.
type Retention struct {
	Readings time.Duration // 0 for ever
	MaxBytes int64         // of the file; the oldest readings go first; 0 for no bound
}

// Why readings are gone.
const (
	becauseAge    = "age"
	becauseSize   = "size"
	becauseDamage = "damage"
)

// Thinning by size begins beyond the bound, ends at sizeGoal of it, and takes
// sizeSpan away at once. It is told of at sizeWarning.
const (
	sizeWarning = 0.9
	sizeGoal    = 0.95
	sizeSpan    = 30 * day
)

// ageWarning is how long before they go by age the first readings are told of.
const ageWarning = 7 * day

// leastKept is how long readings are kept at least: sums of the last days may
// still change.
const leastKept = 3 * day

// thinChunks is how many chunks go in one transaction.
const thinChunks = 50

// toldKey is the setting that says when thinning was first told of, in Unix ms.
const toldKey = "thinning_told"

// Thinning is what Maintain is to do about readings that are too many. The
// newest chunk of a device always stays.
type Thinning struct {
	Before   gateway.Instant // chunks that end before it go
	Reason   string          // age or size; "" if there is nothing to do
	Readings int64           // about how many go
	Oldest   gateway.Instant // of the readings that may go; 0 if there are none
	Bytes    int64           // of the file, without free pages
	MaxBytes int64           // the bound; 0 for none
}

// Thinning returns what is to be done about readings that are too many at the
// instant now, so that it can be shown before. By age nothing is done before
// ageWarning after it was told of.
func (s *Store) Thinning(ctx context.Context, now gateway.Instant) (Thinning, error) {
	return s.thinning(ctx, now, float64(s.cfg.Retention.MaxBytes))
}

// thinning is Thinning for a file that is to have most bytes.
func (s *Store) thinning(
	ctx context.Context, now gateway.Instant, most float64,
) (t Thinning, err error) {
	t.MaxBytes = s.cfg.Retention.MaxBytes
	err = s.read(ctx, "looking for readings to thin", func(tx *sql.Tx) error {
		if t.Bytes, err = usedBytes(ctx, tx); err != nil {
			return err
		}
		var oldest sql.NullInt64
		err := tx.QueryRowContext(ctx, `SELECT min(oldest) FROM (SELECT min(first_ms) AS oldest,
			max(first_ms) AS newest FROM chunk GROUP BY device_id) WHERE oldest < newest`).
			Scan(&oldest)
		if err != nil || !oldest.Valid {
			return err
		}
		t.Oldest = gateway.Instant(oldest.Int64)
		if keep := s.cfg.Retention.Readings; keep > 0 {
			t.Before, t.Reason = now-gateway.Instant(keep.Milliseconds()), becauseAge
		}
		if most > 0 && float64(t.Bytes) > most && t.Before < t.Oldest+sizeSpan {
			t.Before, t.Reason = t.Oldest+sizeSpan, becauseSize
		}
		t.Before = min(t.Before, now-leastKept)
		err = tx.QueryRowContext(ctx, `SELECT coalesce(sum(count), 0) FROM chunk
			WHERE first_ms >= ? AND last_ms < ?`, t.Oldest, t.Before).Scan(&t.Readings)
		if t.Readings == 0 {
			t.Reason = ""
		}
		return err
	})
	return t, err
}

// thinAll deletes readings as the retention says, after it made the rollups
// that take their place.
func (s *Store) thinAll(ctx context.Context, now gateway.Instant) error {
	told, err := s.tellThinning(ctx, now)
	if err != nil {
		return err
	}
	most := float64(s.cfg.Retention.MaxBytes)
	for {
		t, err := s.thinning(ctx, now, most)
		if err != nil || t.Reason == "" || t.Reason == becauseAge && !told {
			return err
		}
		s.log.InfoContext(ctx, "thinning readings; their sums stay", "before", t.Before,
			"reason", t.Reason, "readings", t.Readings, "bytes", t.Bytes, "max_bytes", t.MaxBytes)
		zone, err := s.moveZone(ctx)
		if err != nil {
			return err
		}
		ids, err := s.deviceIDs(ctx)
		if err != nil {
			return s.wrap("finding devices", err)
		}
		for _, id := range ids {
			if err := s.thin(ctx, id, t.Before, t.Reason, zone); err != nil {
				return err
			}
		}
		if t.Reason == becauseAge {
			told = false // once is enough
			continue
		}
		most = sizeGoal * float64(s.cfg.Retention.MaxBytes)
	}
}

// tellThinning writes an event before the first readings are thinned, and
// reports whether that was long enough ago.
func (s *Store) tellThinning(ctx context.Context, now gateway.Instant) (told bool, err error) {
	text, ok, err := s.Setting(ctx, toldKey)
	if err != nil {
		return false, err
	}
	if ok {
		at, err := strconv.ParseInt(text, 10, 64)
		// A clock that was put back does not put thinning off.
		return now >= gateway.Instant(at)+ageWarning || now < gateway.Instant(at), err
	}
	t, err := s.thinning(ctx, now+ageWarning, sizeWarning*float64(s.cfg.Retention.MaxBytes))
	if err != nil || t.Reason == "" {
		return false, err
	}
	why := "they are older than is to be kept"
	if t.Reason == becauseSize {
		why = fmt.Sprintf("the file has %d MB of at most %d MB", t.Bytes/1e6, t.MaxBytes/1e6)
	}
	_, err = s.AddEvent(ctx, gateway.Event{
		Kind: gateway.EventThinning, Source: gateway.Source{Kind: "store"},
		Text: fmt.Sprintf("Single readings from before %s will be deleted soon, because %s. "+
			"Energy, mean, least and greatest power of each hour and day stay.",
			t.Before.Time().Format(time.DateOnly), why),
	})
	if err != nil {
		return false, err
	}
	return false, s.SetSetting(ctx, toldKey, strconv.FormatInt(int64(now), 10))
}

// usedBytes returns how much of the file is in use.
func usedBytes(ctx context.Context, q querier) (int64, error) {
	var pages, free, size int64
	for _, p := range []struct {
		pragma string
		to     *int64
	}{{"page_count", &pages}, {"freelist_count", &free}, {"page_size", &size}} {
		if err := q.QueryRowContext(ctx, "PRAGMA "+p.pragma).Scan(p.to); err != nil {
			return 0, err
		}
	}
	return (pages - free) * size, nil
}

// thin deletes the chunks of a device that end before an instant.
func (s *Store) thin(
	ctx context.Context, device gateway.DeviceID, before gateway.Instant, reason string,
	zone *time.Location,
) error {
	doing := fmt.Sprintf("thinning the readings of device %d", device)
	for {
		chunks, err := collect(ctx, s.r, scanSpan, `SELECT `+spanColumns+` FROM chunk
			WHERE device_id = ?1 AND last_ms < ?2 AND first_ms <
			(SELECT max(first_ms) FROM chunk WHERE device_id = ?1)
			ORDER BY first_ms LIMIT ?3`, device, before, thinChunks)
		if err != nil || len(chunks) == 0 {
			return s.wrap(doing, err)
		}
		from, to := chunks[0].first, chunks[len(chunks)-1].last+1
		state := s.rolled.get(device)
		if current, err := s.rollUpFor(ctx, doing, device, from, to, zone, state.late); err != nil {
			return err
		} else if !current {
			continue // a late reading came meanwhile
		}
		err = s.write(ctx, doing, func(tx *sql.Tx) error {
			if s.rolled.get(device).late != state.late {
				return nil
			}
			for _, c := range chunks {
				// Should it have been written anew, the next round takes it.
				_, err := tx.Exec(`DELETE FROM chunk WHERE id = ? AND first_ms = ? AND last_ms = ?
					AND count = ?`, c.id, c.first, c.last, c.count)
				if err != nil {
					return err
				}
			}
			return markThinned(ctx, tx, device, from, to, reason)
		})
		if err != nil {
			return err
		}
	}
}

// rollUpFor makes the rollups by the hour that a span lacks, whether they are
// worth their bytes or not, and those of five minutes that are.
func (s *Store) rollUpFor(
	ctx context.Context, doing string, device gateway.DeviceID, from, to gateway.Instant,
	zone *time.Location, late int,
) (current bool, err error) {
	for _, l := range levels[:2] {
		least := l.least
		if l.level == energy.LevelHour {
			least = 0
		}
		grid := energy.Grid(from-l.level.Length(), to+l.level.Length(), l.level, zone)
		for _, edges := range split(grid) {
			current, err := s.rollUpSome(ctx, doing, device, l.level, least, edges, late)
			if err != nil || !current {
				return false, err
			}
		}
	}
	return true, nil
}

// markThinned notes that readings of a span are gone.
func markThinned(
	ctx context.Context, tx *sql.Tx, device gateway.DeviceID, from, to gateway.Instant, reason string,
) error {
	// Spans that touch become one.
	old, err := collect(ctx, tx, func(row scanner) (s span, err error) {
		err = row.Scan(&s.id, &s.first, &s.last)
		return s, err
	}, `SELECT id, from_ms, to_ms FROM thinned
		WHERE device_id = ? AND from_ms <= ? AND to_ms >= ? AND reason = ?`, device, to, from, reason)
	if err != nil {
		return err
	}
	for _, o := range old {
		from, to = min(from, o.first), max(to, o.last)
		if _, err := tx.Exec(`DELETE FROM thinned WHERE id = ?`, o.id); err != nil {
			return err
		}
	}
	_, err = tx.Exec(`INSERT INTO thinned (device_id, from_ms, to_ms, reason) VALUES (?,?,?,?)`,
		device, from, to, reason)
	return err
}

// rebuild returns readings that make about what rollups say of a span: the mean
// power of each of the finest ones that lie in it.
func (x *source) rebuild(from, to gateway.Instant) (rs []gateway.Reading, err error) {
	open := spans{{from, to}}
	for _, l := range levels {
		var left spans
		for _, o := range open {
			sums, err := x.Sums(l.level, o.from, o.to)
			if err != nil {
				return nil, err
			}
			done := o.from
			for _, s := range sums {
				if s.From < done || s.To > o.to {
					continue
				}
				left = append(left, struct{ from, to gateway.Instant }{done, s.From})
				done = s.To
				if s.Covered > 0 {
					rs = append(rs, gateway.Reading{
						Device: x.device, At: s.From, Power: s.Bucket().Mean, Has: gateway.HasPower,
					})
				}
			}
			left = append(left, struct{ from, to gateway.Instant }{done, o.to})
		}
		open = left
	}
	slices.SortFunc(rs, byKey)
	return rs, nil
}
