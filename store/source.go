package store

import (
	"context"
	"errors"
	"math"
	"sort"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store/chunk"
)

// selectBefore finds the last chunk of a device that begins at ?2 or earlier,
// ends at ?3 or later and may have one of the fields ?4.
const selectBefore = `SELECT ` + chunkColumns + ` FROM chunk
	WHERE device_id = ?1 AND first_ms <= ?2 AND last_ms >= ?3 AND fields & ?4
	ORDER BY first_ms DESC LIMIT 1`

// selectAfter finds the first chunk of a device that ends at ?2 or later,
// begins before ?3 and may have one of the fields ?4.
const selectAfter = `SELECT ` + chunkColumns + ` FROM chunk WHERE device_id = ?1
	AND first_ms >= coalesce(
		(SELECT max(first_ms) FROM chunk WHERE device_id = ?1 AND first_ms <= ?2), ?2)
	AND last_ms >= ?2 AND first_ms < ?3 AND fields & ?4
	ORDER BY first_ms LIMIT 1`

// source is one device's readings and rollups, as they were when it was made:
// it implements energy.Source. It serves one goroutine.
type source struct {
	ctx    context.Context
	s      *Store
	q      querier // a transaction
	device gateway.DeviceID
	late   []gateway.Reading // what the tail held before q began
	p      *packer           // p.old holds the readings of cur
	cur    span              // the chunk that was unpacked last; id 0 for none
	// What is summed up of the running days, where it may be used; nil elsewhere.
	running *runningDevice
	state   rolledDevice // what was known before late was
	caught  bool         // running was brought up to date

	row int64 // the rollup row of which p.row are the sums; 0 for none
}

// open returns the readings of the chunk c.
func (x *source) open(c span) ([]gateway.Reading, error) {
	if x.cur.id == c.id && c.id != 0 {
		return x.p.old, nil
	}
	x.cur.id = 0
	var err error
	if x.p.old, err = x.s.unpack(x.p, x.p.old[:0], x.device, c); err != nil {
		return nil, err
	}
	x.cur = c
	return x.p.old, nil
}

// chunkAt returns the chunk that was unpacked last if at lies in it, without
// asking the file.
func (x *source) chunkAt(at gateway.Instant) *span {
	if x.cur.id != 0 && x.cur.first <= at && at <= x.cur.last {
		return &x.cur
	}
	return nil
}

// find asks the file for a chunk; nil if there is none.
func (x *source) find(query string, args ...any) (*span, error) {
	return maybe(scanChunk(x.q.QueryRowContext(x.ctx, query, args...)))
}

// Before implements energy.Source.
func (x *source) Before(
	at, since gateway.Instant, has gateway.ReadingFields,
) (gateway.Reading, bool, error) {
	found, ok := lastOf(x.late, at, since, has)
	for at > since && at > math.MinInt64 {
		c := x.chunkAt(at - 1)
		if c == nil {
			var err error
			if c, err = x.find(selectBefore, x.device, at-1, since, has); err != nil {
				return found, false, err
			}
		}
		if c == nil || ok && found.At > c.last {
			break
		}
		rs, err := x.open(*c)
		if err != nil {
			return found, false, err
		}
		if r, is := lastOf(rs, at, since, has); is {
			switch {
			case ok && r.At == found.At:
				return found.Merge(r), true, nil
			case !ok || r.At > found.At:
				found, ok = r, true
			}
			break
		}
		at = c.first
	}
	return found, ok, nil
}

// lastOf returns the last of rs from since to before at that has one of the
// fields.
func lastOf(
	rs []gateway.Reading, at, since gateway.Instant, has gateway.ReadingFields,
) (gateway.Reading, bool) {
	rs = within(rs, since, at)
	for i := len(rs) - 1; i >= 0; i-- {
		if rs[i].Has&has != 0 {
			return rs[i], true
		}
	}
	return gateway.Reading{}, false
}

// After implements energy.Source.
func (x *source) After(
	at, until gateway.Instant, has gateway.ReadingFields,
) (gateway.Reading, bool, error) {
	found, ok := firstOf(x.late, at, until, has)
	for at < until {
		c := x.chunkAt(at)
		if c == nil {
			var err error
			if c, err = x.find(selectAfter, x.device, at, until, has); err != nil {
				return found, false, err
			}
		}
		if c == nil || ok && found.At < c.first {
			break
		}
		rs, err := x.open(*c)
		if err != nil {
			return found, false, err
		}
		if r, is := firstOf(rs, at, until, has); is {
			switch {
			case ok && r.At == found.At:
				return found.Merge(r), true, nil
			case !ok || r.At < found.At:
				found, ok = r, true
			}
			break
		}
		at = c.last + 1
	}
	return found, ok, nil
}

// firstOf returns the first of rs from at to before until that has one of the
// fields.
func firstOf(
	rs []gateway.Reading, at, until gateway.Instant, has gateway.ReadingFields,
) (gateway.Reading, bool) {
	for _, r := range within(rs, at, until) {
		if r.Has&has != 0 {
			return r, true
		}
	}
	return gateway.Reading{}, false
}

// Scan implements energy.Source.
func (x *source) Scan(
	from, to gateway.Instant, fn func(rs []gateway.Reading) error,
) error {
	for from < to {
		rs, end, err := x.next(from, to)
		if err != nil {
			return err
		}
		if len(rs) > 0 {
			if err := fn(rs); err != nil {
				return err
			}
		}
		from = end
	}
	return nil
}

// next returns the first readings of a span, and where what it did not look at
// begins. They stand until the next call.
func (x *source) next(
	from, to gateway.Instant,
) (rs []gateway.Reading, end gateway.Instant, err error) {
	c := x.chunkAt(from)
	if c == nil {
		if c, err = x.find(selectNext, x.device, from, to); err != nil {
			return nil, 0, err
		}
	}
	end = to
	if c != nil {
		if c.last < to-1 {
			end = c.last + 1
		}
		if rs, err = x.open(*c); err != nil {
			return nil, 0, err
		}
		rs = within(rs, from, end)
	}
	if late := within(x.late, from, end); len(late) > 0 {
		x.p.merged = merge(x.p.merged[:0], rs, late)
		rs = x.p.merged
	}
	return rs, end, nil
}

// Sums implements energy.Source. What it returns stands until the next call.
func (x *source) Sums(level energy.Level, from, to gateway.Instant) ([]energy.Sum, error) {
	if level == energy.LevelFive {
		if err := x.catchUp(); err != nil {
			return nil, err
		}
	}
	sums, err := x.appendSums(x.p.answer[:0], level, from, to)
	x.p.answer = sums[:0]
	return sums, err
}

// appendSums is Sums that appends to sums.
func (x *source) appendSums(
	sums []energy.Sum, level energy.Level, from, to gateway.Instant,
) (_ []energy.Sum, err error) {
	var rows []rollupRow
	// With running sums it is known where rollups end.
	if x.running == nil || from < x.state.to {
		rows, err = collect(x.ctx, x.q, scanRollup, selectRollups, x.device, level, from, to)
		if err != nil {
			return sums, err
		}
	}
	for _, row := range rows {
		part, err := x.openRow(level, row)
		if errors.Is(err, chunk.ErrDamaged) {
			x.s.badRollups.Store(row.id, x.device)
			continue // readings tell the same
		}
		if err != nil {
			return sums, err
		}
		i := sort.Search(len(part), func(i int) bool { return part[i].To > from })
		n := sort.Search(len(part), func(i int) bool { return part[i].From >= to })
		sums = append(sums, part[i:max(i, n)]...)
	}
	if level != energy.LevelFive {
		return sums, nil
	}
	return x.runningSums(sums, from, to), nil
}

// openRow returns the sums of a row.
func (x *source) openRow(level energy.Level, row rollupRow) ([]energy.Sum, error) {
	if x.row == row.id && row.id != 0 {
		return x.p.row, nil
	}
	x.row = 0
	var err error
	if x.p.row, err = x.p.sums(x.p.row[:0], x.device, level, row); err == nil {
		x.row = row.id
	}
	return x.p.row, err
}

// Usual implements energy.Source.
func (x *source) Usual(at gateway.Instant) (gateway.Instant, bool, error) {
	if usual, ok := x.runningUsual(at); ok {
		return usual, true, nil
	}
	first := at - (at%day+day)%day
	for _, level := range []energy.Level{energy.LevelHour, energy.LevelDay} {
		sums, err := x.Sums(level, first, first+day)
		if err != nil {
			return 0, false, err
		}
		for _, s := range sums {
			if s.From >= first && s.Usual > 0 {
				return s.Usual, true, nil
			}
		}
	}
	return 0, false, nil
}
