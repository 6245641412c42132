package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store/chunk"
)

// Rollups are made where they are worth their bytes: of those spans in which a
// bucket has so many readings on average that these are slow to sum up. A row
// holds so many buckets at most.
var levels = [...]struct {
	level energy.Level
	least int // readings a bucket
	most  int // buckets a row
}{
	{energy.LevelFive, 25, 1152},
	{energy.LevelHour, 100, 768},
	{energy.LevelDay, 20, 366},
}

// rollupSpan is for how long rollups are made in one go.
const rollupSpan = 32 * day

// selectRollups finds the rows of a device and level that meet a span. Without
// the zero SQLite plans the query anew for each level.
const selectRollups = `SELECT id, from_ms, to_ms, data FROM rollup
	WHERE device_id = ?1 AND level = ?2 + 0 AND from_ms >= coalesce((SELECT max(from_ms)
		FROM rollup WHERE device_id = ?1 AND level = ?2 + 0 AND from_ms <= ?3), ?3)
	AND to_ms > ?3 AND from_ms < ?4 ORDER BY from_ms`

// rollupRow is a row of the table rollup.
type rollupRow struct {
	id       int64
	from, to gateway.Instant
	data     []byte
}

// scanRollup reads a row.
func scanRollup(row scanner) (r rollupRow, err error) {
	err = row.Scan(&r.id, &r.from, &r.to, &r.data)
	return r, err
}

// Columns of a row's table: how long each bucket is; its energy; how much of
// the time is not known, and how much of it a counter bridges; the range and
// whether a reading was seen; the range's ends; the usual interval.
const (
	columnLength = iota
	columnEnergy
	columnUnknown
	columnEstimated
	columnFlags
	columnMin
	columnMax
	columnUsual
	rollupColumns
)

// seenFlag is beside the range in the flags.
const seenFlag = 4

// packSums returns a row's data for sums that follow each other.
func (p *packer) packSums(
	device gateway.DeviceID, level energy.Level, sums []energy.Sum,
) ([]byte, error) {
	t := &p.table
	t.Device, t.Kind, t.First = device, uint8(level), sums[0].From
	for len(t.Columns) < rollupColumns {
		t.Columns = append(t.Columns, nil)
	}
	t.Columns = t.Columns[:rollupColumns]
	for i := range t.Columns {
		t.Columns[i] = t.Columns[i][:0]
	}
	add := func(column int, v int64) { t.Columns[column] = append(t.Columns[column], v) }
	for _, s := range sums {
		flags := int64(s.Range)
		if s.Seen {
			flags |= seenFlag
		}
		add(columnLength, int64(s.To-s.From))
		add(columnEnergy, int64(s.Energy))
		add(columnUnknown, int64(s.To-s.From-s.Covered))
		add(columnEstimated, int64(s.Estimated))
		add(columnFlags, flags)
		add(columnMin, int64(s.Min))
		add(columnMax, int64(s.Max))
		add(columnUsual, int64(s.Usual))
	}
	return p.enc.AppendTable(nil, *t)
}

// sums appends the sums of a row to dst, if they are what the row says.
func (p *packer) sums(
	dst []energy.Sum, device gateway.DeviceID, level energy.Level, row rollupRow,
) ([]energy.Sum, error) {
	t := &p.table
	err := p.dec.ReadTable(t, row.data)
	if err == nil && (t.Device != device || t.Kind != uint8(level) || t.First != row.from ||
		len(t.Columns) != rollupColumns) {
		err = fmt.Errorf("%w: it is of device %d, kind %d and from %s on",
			chunk.ErrDamaged, t.Device, t.Kind, t.First)
	}
	start := len(dst)
	if err == nil {
		c := t.Columns
		at := row.from
		for i := range c[columnLength] {
			s := energy.Sum{
				From: at, To: at + gateway.Instant(c[columnLength][i]),
				Energy:    gateway.Energy(c[columnEnergy][i]),
				Covered:   gateway.Instant(c[columnLength][i] - c[columnUnknown][i]),
				Estimated: gateway.Instant(c[columnEstimated][i]),
				Range:     energy.Range(c[columnFlags][i] & (seenFlag - 1)),
				Seen:      c[columnFlags][i]&seenFlag != 0,
				Min:       gateway.Power(c[columnMin][i]),
				Max:       gateway.Power(c[columnMax][i]),
				Usual:     gateway.Instant(c[columnUsual][i]),
			}
			if s.To <= s.From {
				err = fmt.Errorf("%w: bucket %d ends before it begins", chunk.ErrDamaged, i)
				break
			}
			dst = append(dst, s)
			at = s.To
		}
		if err == nil && at != row.to {
			err = fmt.Errorf("%w: it ends at %s instead of %s", chunk.ErrDamaged, at, row.to)
		}
	}
	if err != nil {
		return dst[:start], fmt.Errorf("rollup %d of device %d from %s to %s: %w",
			row.id, device, row.from, row.to, err)
	}
	return dst, nil
}

// rolled is what is known of the rollups of each device, so that commits in
// order of time need not look for them. It is safe for concurrent use.
type rolled struct {
	mu      sync.Mutex
	devices map[gateway.DeviceID]*rolledDevice
}

// rolledDevice is what is known of one device.
type rolledDevice struct {
	some   bool            // there are rollups
	newest gateway.Instant // of the readings
	safe   gateway.Instant // readings from it on change no rollup
	late   int             // how often a reading came that was not the newest
	done   gateway.Instant // the end of what was looked through last
	to     gateway.Instant // the end of the rollups
}

// of returns the entry of a device. The lock is held.
func (r *rolled) of(device gateway.DeviceID) *rolledDevice {
	d := r.devices[device]
	if d == nil {
		d = &rolledDevice{newest: math.MinInt64, safe: math.MinInt64}
		if r.devices == nil {
			r.devices = map[gateway.DeviceID]*rolledDevice{}
		}
		r.devices[device] = d
	}
	return d
}

// isLate reports whether readings of a device, of which the first is of at,
// may change a rollup.
func (r *rolled) isLate(device gateway.DeviceID, at gateway.Instant) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.of(device)
	return d.some && at < d.safe
}

// added notes a commit; readings are in order of devices and time.
func (r *rolled) added(rs []gateway.Reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(rs) > 0 {
		n := sameDevice(rs)
		d := r.of(rs[0].Device)
		if rs[0].At <= d.newest {
			d.late++
			d.done = math.MinInt64
		}
		d.newest = max(d.newest, rs[n-1].At)
		rs = rs[n:]
	}
}

// get returns what is known of a device.
func (r *rolled) get(device gateway.DeviceID) rolledDevice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.of(device)
}

// change changes what is known of a device.
func (r *rolled) change(device gateway.DeviceID, fn func(d *rolledDevice)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(r.of(device))
}

// loadRolled finds out which devices have rollups.
func (s *Store) loadRolled(ctx context.Context) error {
	ids, err := s.deviceIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		last := gateway.Instant(math.MinInt64)
		err := s.w.QueryRowContext(ctx, `SELECT last_ms FROM chunk WHERE device_id = ?
			ORDER BY first_ms DESC LIMIT 1`, id).Scan(&last)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if late := s.tail.of(id); len(late) > 0 {
			last = max(last, late[len(late)-1].At)
		}
		if last != math.MinInt64 {
			s.rolled.change(id, func(d *rolledDevice) { d.newest, d.safe = last, last+1 })
		}
	}
	_, err = collect(ctx, s.w, func(row scanner) (id gateway.DeviceID, err error) {
		var to gateway.Instant
		if err = row.Scan(&id, &to); err == nil {
			s.rolled.change(id, func(d *rolledDevice) { d.some, d.to = true, to })
		}
		return id, err
	}, `SELECT device_id, max(to_ms) FROM rollup GROUP BY device_id`)
	return err
}

// with calls fn with a source of the readings and rollups of a device.
func (s *Store) with(
	ctx context.Context, doing string, device gateway.DeviceID, fn func(x *source) error,
) error {
	p := s.takePacker()
	defer s.putPacker(p)
	late := s.tail.of(device)
	return s.read(ctx, doing, func(tx *sql.Tx) error {
		return fn(&source{ctx: ctx, s: s, q: reader{s, tx}, device: device, late: late, p: p})
	})
}

// Series returns the buckets of a device's span, as energy.Query does, and the
// step taken. Errors are CodeNotFound for an unknown device, CodeInvalid for a
// span or step that cannot be, and those of the file.
func (s *Store) Series(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant, step energy.Step,
	zone *time.Location,
) (taken energy.Step, buckets []energy.Bucket, err error) {
	state := s.rolled.get(device)
	err = s.with(ctx, fmt.Sprintf("summing up device %d", device), device, func(x *source) error {
		x.running, x.state = s.running.of(device), state
		taken, buckets, err = energy.Query(x, from, to, step, zone)
		if err == nil && len(buckets) == 0 {
			err = deviceThere(ctx, x.q, device)
		}
		return err
	})
	return taken, buckets, err
}

// cutUntrue deletes the rollups that readings, which have not been stored yet
// and are in order of devices and time, make untrue.
func (s *Store) cutUntrue(ctx context.Context, tx *sql.Tx, rs []gateway.Reading) error {
	for len(rs) > 0 {
		n := sameDevice(rs)
		if s.rolled.isLate(rs[0].Device, rs[0].At) {
			if err := s.untrue(ctx, tx, rs[0].Device, rs[0].At, rs[n-1].At); err != nil {
				return err
			}
		}
		rs = rs[n:]
	}
	return nil
}

// untrue deletes the rollups that readings of a device, from first to last,
// make untrue; those before have not been stored yet.
func (s *Store) untrue(
	ctx context.Context, tx *sql.Tx, device gateway.DeviceID, first, last gateway.Instant,
) error {
	p := s.takePacker()
	defer s.putPacker(p)
	x := &source{ctx: ctx, s: s, q: tx, device: device, late: s.tail.of(device), p: p}
	from, to, err := energy.Reach(x, first, last)
	if err != nil {
		return err
	}
	return s.cutRollups(ctx, tx, p, device, from, to)
}

// cutRollups deletes the buckets of a device that meet a span, but where
// readings are gone.
func (s *Store) cutRollups(
	ctx context.Context, tx *sql.Tx, p *packer, device gateway.DeviceID, from, to gateway.Instant,
) error {
	kept, err := thinnedIn(ctx, tx, device, from, to)
	if err != nil {
		return err
	}
	for _, l := range levels {
		rows, err := collect(ctx, tx, scanRollup, selectRollups, device, l.level, from, to)
		if err != nil {
			return err
		}
		for _, row := range rows {
			sums, err := p.sums(nil, device, l.level, row)
			if err != nil && !errors.Is(err, chunk.ErrDamaged) {
				return err
			}
			if _, err := tx.Exec(`DELETE FROM rollup WHERE id = ?`, row.id); err != nil {
				return err
			}
			stays := func(s energy.Sum) bool {
				return s.To <= from || s.From >= to || kept.meets(s.From, s.To)
			}
			if err := insertStaying(tx, p, device, l.level, sums, stays); err != nil {
				return err
			}
		}
	}
	return nil
}

// insertStaying inserts those of a row's sums that stay, as one row for each
// stretch of them.
func insertStaying(
	tx *sql.Tx, p *packer, device gateway.DeviceID, level energy.Level, sums []energy.Sum,
	stays func(energy.Sum) bool,
) error {
	for i := 0; i < len(sums); {
		n := i
		for n < len(sums) && stays(sums[n]) {
			n++
		}
		if n > i {
			if err := insertRollup(tx, p, device, level, sums[i:n]); err != nil {
				return err
			}
		}
		i = n + 1
	}
	return nil
}

// insertRollup inserts a row.
func insertRollup(
	tx *sql.Tx, p *packer, device gateway.DeviceID, level energy.Level, sums []energy.Sum,
) error {
	data, err := p.packSums(device, level, sums)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO rollup (device_id, level, from_ms, to_ms, data)
		VALUES (?,?,?,?,?)`, device, level, sums[0].From, sums[len(sums)-1].To, data)
	return err
}

// spans are stretches of time in order.
type spans []struct{ from, to gateway.Instant }

// meets reports whether one of them meets a span.
func (ss spans) meets(from, to gateway.Instant) bool {
	for _, s := range ss {
		if s.from < to && s.to > from {
			return true
		}
	}
	return false
}

// thinnedIn returns where readings of a device are gone.
func thinnedIn(
	ctx context.Context, q querier, device gateway.DeviceID, from, to gateway.Instant,
) (spans, error) {
	type thin = struct{ from, to gateway.Instant }
	return collect(ctx, q, func(row scanner) (s thin, err error) {
		err = row.Scan(&s.from, &s.to)
		return s, err
	}, `SELECT from_ms, to_ms FROM thinned WHERE device_id = ? AND from_ms < ? AND to_ms > ?
		ORDER BY from_ms`, device, to, from)
}

// zoneKey is the setting that names the zone of the rollups' borders.
const zoneKey = "rollup_zone"

// moveZone returns the zone for rollups. It forgets those that were made for
// another one, but where readings are gone.
func (s *Store) moveZone(ctx context.Context) (*time.Location, error) {
	const doing = "making rollups for another time zone"
	name, _, err := s.Setting(ctx, zoneKey)
	if err != nil {
		return nil, err
	}
	if s.cfg.Zone == nil {
		return time.LoadLocation(name) // UTC for ""
	}
	if name == s.cfg.Zone.String() {
		return s.cfg.Zone, nil
	}
	ids, err := s.deviceIDs(ctx)
	if err != nil {
		return nil, s.wrap(doing, err)
	}
	p := s.takePacker()
	defer s.putPacker(p)
	for _, id := range ids {
		err := s.write(ctx, doing, func(tx *sql.Tx) error {
			return s.cutRollups(ctx, tx, p, id, math.MinInt64, math.MaxInt64)
		})
		if err != nil {
			return nil, err
		}
		s.rolled.change(id, func(d *rolledDevice) { d.done = math.MinInt64 })
	}
	return s.cfg.Zone, s.SetSetting(ctx, zoneKey, s.cfg.Zone.String())
}

// deviceIDs returns the devices that are there.
func (s *Store) deviceIDs(ctx context.Context) ([]gateway.DeviceID, error) {
	return collect(ctx, s.r, func(row scanner) (id gateway.DeviceID, err error) {
		err = row.Scan(&id)
		return id, err
	}, `SELECT id FROM device WHERE deleted_ms IS NULL ORDER BY id`)
}

// rollUpAll makes the rollups that are missing, of days that were over for
// sealAfter at now.
func (s *Store) rollUpAll(ctx context.Context, now gateway.Instant) error {
	zone, err := s.moveZone(ctx)
	if err != nil {
		return err
	}
	ids, err := s.deviceIDs(ctx)
	if err != nil {
		return s.wrap("finding devices", err)
	}
	before := now - sealAfter
	before -= (before%day + day) % day
	var errs []error
	for _, id := range ids {
		errs = append(errs, s.rollUp(ctx, id, before, zone))
	}
	return errors.Join(errs...)
}

// rollUp makes the rollups of a device before an instant that are missing.
// Should a late reading come meanwhile it stops; the next time goes on.
func (s *Store) rollUp(
	ctx context.Context, device gateway.DeviceID, before gateway.Instant, zone *time.Location,
) error {
	state := s.rolled.get(device)
	if state.done >= before {
		return nil
	}
	doing := fmt.Sprintf("making rollups of device %d", device)
	var from, to gateway.Instant
	err := s.with(ctx, doing, device, func(x *source) (err error) {
		var ok bool
		from, to, ok, err = energy.Settled(x)
		if !ok {
			to = from
		}
		return err
	})
	if err != nil {
		return err
	}
	to = min(to, before)
	for _, l := range levels {
		if to-from < l.level.Length() {
			continue
		}
		first, err := s.firstMissing(ctx, device, l.level, from)
		if err != nil {
			return s.wrap(doing, err)
		}
		for at := first; at < to; {
			// Where there are no readings for long there is nothing to sum up.
			if at, err = s.skipEmpty(ctx, device, at); err != nil {
				return s.wrap(doing, err)
			}
			edges := energy.Grid(at, min(to, at+rollupSpan), l.level, zone)
			if at >= to || len(edges) < 2 {
				break
			}
			current, err := s.rollUpSome(ctx, doing, device, l.level, l.least, edges, state.late)
			if err != nil || !current {
				return err
			}
			at = edges[len(edges)-1]
		}
	}
	s.rolled.change(device, func(d *rolledDevice) {
		if d.late == state.late && to == before {
			d.done = before
		}
	})
	return nil
}

// selectRolled tells where rollups of a device and level begin and end, and how
// long they are together. Without the zero SQLite plans it anew for each level.
const selectRolled = `SELECT min(from_ms), max(to_ms), sum(to_ms - from_ms)
	FROM rollup WHERE device_id = ? AND level = ? + 0`

// selectFrom tells where the first chunk that ends at ?2 or later begins.
const selectFrom = `SELECT first_ms FROM chunk WHERE device_id = ?1 AND first_ms >= coalesce(
	(SELECT max(first_ms) FROM chunk WHERE device_id = ?1 AND first_ms <= ?2), ?2)
	AND last_ms >= ?2 ORDER BY first_ms LIMIT 1`

// firstMissing returns from where on rollups of a level may be missing, if they
// are to begin at from.
func (s *Store) firstMissing(
	ctx context.Context, device gateway.DeviceID, level energy.Level, from gateway.Instant,
) (gateway.Instant, error) {
	var first, last, sum sql.NullInt64
	err := reader{s: s}.QueryRowContext(ctx, selectRolled, device, level).Scan(&first, &last, &sum)
	if err == nil && first.Valid && last.Int64-first.Int64 == sum.Int64 &&
		gateway.Instant(first.Int64) < from+2*level.Length() { // without a gap
		return gateway.Instant(last.Int64), nil
	}
	return from, err
}

// skipEmpty returns at, or the beginning of the day of the first reading after
// it if that is later.
func (s *Store) skipEmpty(
	ctx context.Context, device gateway.DeviceID, at gateway.Instant,
) (gateway.Instant, error) {
	next := gateway.Instant(math.MaxInt64)
	if late := within(s.tail.of(device), at, math.MaxInt64); len(late) > 0 {
		next = late[0].At
	}
	var first gateway.Instant
	err := reader{s: s}.QueryRowContext(ctx, selectFrom, device, at).Scan(&first)
	switch {
	case err == nil:
		next = min(next, first)
	case !errors.Is(err, sql.ErrNoRows):
		return 0, err
	}
	if next == math.MaxInt64 {
		return next, nil
	}
	return max(at, next-(next%day+day)%day), nil
}

// split cuts edges into stretches of about rollupSpan; each begins with the
// end of the one before.
func split(edges []gateway.Instant) (parts [][]gateway.Instant) {
	for first := 0; first < len(edges)-1; {
		n := first + 1
		for n < len(edges)-1 && edges[n]-edges[first] < rollupSpan {
			n++
		}
		parts = append(parts, edges[first:n+1])
		first = n
	}
	return parts
}

// rollUpSome makes the rollups of a level between edges that are missing. It
// reports false if since late late readings have come.
func (s *Store) rollUpSome(
	ctx context.Context, doing string, device gateway.DeviceID, level energy.Level, least int,
	edges []gateway.Instant, late int,
) (current bool, err error) {
	var made [][]energy.Sum
	err = s.with(ctx, doing, device, func(x *source) error {
		kept, err := x.Sums(level, edges[0], edges[len(edges)-1])
		if err != nil {
			return err
		}
		for _, gap := range missing(edges, kept) {
			n, err := x.count(gap[0], gap[len(gap)-1])
			if err != nil {
				return err
			}
			if n < least*(len(gap)-1) {
				continue
			}
			sums, err := energy.Summarize(x, gap, level)
			if err != nil {
				return err
			}
			made = append(made, sums)
		}
		return nil
	})
	if err != nil || len(made) == 0 {
		return err == nil, err
	}
	err = s.write(ctx, doing, func(tx *sql.Tx) error {
		state := s.rolled.get(device)
		if current = state.late == late; !current {
			return nil
		}
		p := s.takePacker()
		defer s.putPacker(p)
		for _, sums := range made {
			if err := s.joinRollup(tx, p, device, level, sums); err != nil {
				return err
			}
		}
		s.rolled.change(device, func(d *rolledDevice) {
			d.some, d.safe = true, d.newest+1
			d.to = max(d.to, edges[len(edges)-1])
		})
		return nil
	})
	return current, err
}

// missing returns the stretches of edges between which no sum is kept.
func missing(edges []gateway.Instant, kept []energy.Sum) (gaps [][]gateway.Instant) {
	first := 0
	close := func(n int) {
		if n > first {
			gaps = append(gaps, edges[first:n+1])
		}
	}
	for i := range edges[1:] {
		for len(kept) > 0 && kept[0].To <= edges[i] {
			kept = kept[1:]
		}
		if len(kept) > 0 && kept[0].From < edges[i+1] {
			close(i)
			first = i + 1
		}
	}
	close(len(edges) - 1)
	return gaps
}

// count returns about how many readings of a span there are: chunks that reach
// beyond it count in part.
func (x *source) count(from, to gateway.Instant) (int, error) {
	chunks, err := collect(x.ctx, x.q, scanSpan, selectSpans, x.device, from, to)
	if err != nil {
		return 0, err
	}
	n := len(within(x.late, from, to))
	for _, c := range chunks {
		in := min(to, c.last+1) - max(from, c.first)
		n += int(float64(c.count) * float64(in) / float64(c.last+1-c.first))
	}
	return n, nil
}

// joinRollup writes sums, at the end of the row that ends where they begin if
// there is room in it.
func (s *Store) joinRollup(
	tx *sql.Tx, p *packer, device gateway.DeviceID, level energy.Level, sums []energy.Sum,
) error {
	most := levels[level-energy.LevelFive].most
	row, err := scanRollup(tx.QueryRow(`SELECT id, from_ms, to_ms, data FROM rollup
		WHERE device_id = ? AND level = ? AND from_ms < ? ORDER BY from_ms DESC LIMIT 1`,
		device, level, sums[0].From))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err == nil && row.to == sums[0].From {
		old, err := p.sums(nil, device, level, row)
		if err == nil && len(old) < most {
			if _, err := tx.Exec(`DELETE FROM rollup WHERE id = ?`, row.id); err != nil {
				return err
			}
			sums = append(old, sums...)
		}
	}
	for len(sums) > 0 {
		n := min(len(sums), most)
		if err := insertRollup(tx, p, device, level, sums[:n]); err != nil {
			return err
		}
		sums = sums[n:]
	}
	return nil
}

// judgeRollups deletes the rollups that readers found damaged, if they are;
// they are made again. Where the readings are gone they are set aside.
func (s *Store) judgeRollups(ctx context.Context, p *packer) error {
	var errs []error
	s.badRollups.Range(func(key, value any) bool {
		id, _ := key.(int64)
		device, _ := value.(gateway.DeviceID)
		err := s.write(ctx, "setting a damaged rollup aside", func(tx *sql.Tx) error {
			return s.judgeRollup(ctx, tx, p, device, id)
		})
		if err == nil {
			s.badRollups.Delete(id)
			s.rolled.change(device, func(d *rolledDevice) { d.done = math.MinInt64 })
		}
		errs = append(errs, err)
		return true
	})
	return errors.Join(errs...)
}

// judgeRollup is judgeRollups for one.
func (s *Store) judgeRollup(
	ctx context.Context, tx *sql.Tx, p *packer, device gateway.DeviceID, id int64,
) error {
	var level energy.Level
	var row rollupRow
	err := tx.QueryRow(`SELECT id, level, from_ms, to_ms, data FROM rollup
		WHERE id = ? AND device_id = ?`, id, device).
		Scan(&row.id, &level, &row.from, &row.to, &row.data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	_, why := p.sums(nil, device, level, row)
	if !errors.Is(why, chunk.ErrDamaged) {
		return why // the number stands for another one since
	}
	s.log.ErrorContext(ctx, "a damaged rollup is deleted", "device", device, "rollup", id,
		"error", why)
	fate := "were damaged on the disk; they are made again from its readings"
	gone, err := thinnedIn(ctx, tx, device, row.from, row.to)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		fate = "were damaged on the disk and are set aside; " +
			"they are made again where its readings are left"
		_, err := tx.Exec(`INSERT INTO damaged
			(device_id, first_ms, last_ms, count, data, found_ms, reason)
			VALUES (?,?,?,0,?,?,'a rollup')`,
			device, row.from, row.to-1, row.data, gateway.InstantOf(s.cfg.Now()))
		if err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`DELETE FROM rollup WHERE id = ?`, id); err != nil {
		return err
	}
	return s.tellDamage(tx, "Sums", device, row.from, row.to, fate)
}
