package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sort"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
)

// Where readings are: each commit writes one tail row, and what tail rows hold
// is in memory, too. From there readings are sealed, device by device, into
// chunks, after which the tail forgets them. Who reads asks the tail first and
// the file afterwards, and joins what both say: what was sealed in between is
// in both, never in neither, and joining it twice changes nothing.

// prepareStatements prepares what runs so often that preparing it each time
// would be felt. Closing the pools closes them.
func (s *Store) prepareStatements(ctx context.Context) (err error) {
	if s.appendRow, err = s.w.PrepareContext(ctx,
		`INSERT INTO tail (id, data) VALUES (?, ?)`); err != nil {
		return err
	}
	s.hot = map[string]*sql.Stmt{}
	for _, query := range []string{
		selectThere, selectSpans, selectNext, selectBefore, selectAfter, selectRollups,
		selectRolled, selectFrom,
	} {
		if s.hot[query], err = s.r.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

// reader asks the readers' pool or, if tx is not nil, within a transaction of
// it, and uses what is prepared.
type reader struct {
	s  *Store
	tx *sql.Tx
}

// statement returns what is prepared for a query, or nil.
func (r reader) statement(ctx context.Context, query string) *sql.Stmt {
	stmt := r.s.hot[query]
	if stmt != nil && r.tx != nil {
		stmt = r.tx.StmtContext(ctx, stmt)
	}
	return stmt
}

// QueryContext implements querier.
func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if stmt := r.statement(ctx, query); stmt != nil {
		return stmt.QueryContext(ctx, args...)
	}
	if r.tx != nil {
		return r.tx.QueryContext(ctx, query, args...)
	}
	return r.s.r.QueryContext(ctx, query, args...)
}

// QueryRowContext implements querier.
func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if stmt := r.statement(ctx, query); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	if r.tx != nil {
		return r.tx.QueryRowContext(ctx, query, args...)
	}
	return r.s.r.QueryRowContext(ctx, query, args...)
}

// Append stores readings in one transaction; when it returns nil they are on
// the disk. A reading of a device and instant that is there already is merged
// with it as gateway.Reading.Merge says, so that repeats and any order give
// the same readings. If a device is unknown (CodeNotFound) or a reading holds
// nothing (CodeInvalid) none is stored. Whether the values are to be believed
// is the caller's matter.
func (s *Store) Append(ctx context.Context, rs []gateway.Reading) error {
	if len(rs) == 0 {
		return nil
	}
	for _, r := range rs {
		if r.Has == 0 || r.Has > gateway.HasPower|gateway.HasEnergy {
			return gateway.Invalidf("appending readings: the one of device %d at %s has neither "+
				"power nor energy", r.Device, r.At)
		}
	}
	const doing = "appending readings"
	if err := s.reserve.room(); err != nil {
		return s.wrap(doing, err)
	}
	if s.tail.size() > tailLimit*s.tailMost {
		if err := s.shrinkTail(ctx); err != nil {
			return s.wrap(doing, unavailablef(err, "%d readings wait to be sealed, and no more "+
				"are taken before they are", s.tail.size()))
		}
	}
	p := s.takePacker()
	defer s.putPacker(p)
	p.batch = normal(p.batch[:0], rs)
	rs = p.batch
	var row int64
	err := s.writeThen(ctx, doing, func(tx *sql.Tx) error {
		if err := s.knownDevices(tx, rs); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.cutUntrue(ctx, tx, rs); err != nil {
			return err
		}
		row = s.tail.next()
		p.data = chunk.AppendBatch(p.data[:0], rs)
		_, err := tx.Stmt(s.appendRow).Exec(row, p.data)
		return err
	}, func() {
		s.tail.add(row, rs)
		s.rolled.added(rs)
	})
	if err != nil || s.tail.size() <= s.tailMost {
		return err
	}
	// The readings are safe already; whatever sealing meets, the next Append
	// tries again.
	if err := s.shrinkTail(context.WithoutCancel(ctx)); err == nil {
		s.stuck.Store(false)
	} else if !s.stuck.Swap(true) {
		s.log.ErrorContext(ctx, "readings are kept, but cannot be sealed", "error", err)
	}
	return nil
}

// knownDevices returns an error naming the first device of rs, in the order
// of the key, that is not there. As there is one writer, what it finds holds
// until the commit, and is remembered until the device is deleted.
func (s *Store) knownDevices(tx *sql.Tx, rs []gateway.Reading) error {
	for len(rs) > 0 {
		id := rs[0].Device
		if !s.there[id] {
			if err := isThere(tx.QueryRow(selectThere, id), id); err != nil {
				return err
			}
			s.there[id] = true
		}
		rs = rs[sameDevice(rs):]
	}
	return nil
}

// within returns those of rs, which are in order of time, from from to to.
func within(rs []gateway.Reading, from, to gateway.Instant) []gateway.Reading {
	i := sort.Search(len(rs), func(i int) bool { return rs[i].At >= from })
	rs = rs[i:]
	return rs[:sort.Search(len(rs), func(i int) bool { return rs[i].At >= to })]
}

// Scan calls fn with the readings of a device from from (inclusive) to to
// (exclusive), some at a time, in order of time; they are the caller's until
// fn returns. An error of fn ends it and is returned as it is. No transaction
// is open while fn runs, so that fn may take its time and may use s; readings
// that come in meanwhile may or may not be seen.
func (s *Store) Scan(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant,
	fn func(rs []gateway.Reading) error,
) error {
	doing := fmt.Sprintf("scanning readings of device %d", device)
	if err := deviceThere(ctx, reader{s: s}, device); err != nil {
		return s.wrap(doing, err)
	}
	p := s.takePacker()
	defer s.putPacker(p)
	for from < to {
		x := source{ctx: ctx, s: s, q: reader{s: s}, device: device, late: s.tail.of(device), p: p}
		rs, end, err := x.next(from, to)
		if err != nil {
			return s.wrap(doing, err)
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

// unpack is packer.unpack for a reader, which cannot set aside what is
// damaged; Maintain does it.
func (s *Store) unpack(
	p *packer, dst []gateway.Reading, device gateway.DeviceID, c span,
) ([]gateway.Reading, error) {
	dst, err := p.unpack(dst, device, c)
	if errors.Is(err, chunk.ErrDamaged) {
		s.suspects.Store(c.id, device)
	}
	return dst, err
}

// segment is a part of a range: count readings in order of time. Those of a
// chunk that is wholly in the range, with no other between, are not unpacked.
type segment struct {
	count int
	rs    []gateway.Reading // nil if c is to be unpacked; stands until the next segment
	c     span
}

// segments calls fn for each segment of a range in order. Late is what the
// tail held before tx began.
func (s *Store) segments(
	ctx context.Context, tx *sql.Tx, p *packer, device gateway.DeviceID,
	late []gateway.Reading, from, to gateway.Instant, fn func(g segment) error,
) error {
	late = within(late, from, to)
	chunks, err := collect(ctx, tx, scanSpan, selectSpans, device, from, to)
	if err != nil {
		return err
	}
	for _, c := range chunks {
		if before := within(late, from, c.first); len(before) > 0 {
			if err := fn(segment{count: len(before), rs: before}); err != nil {
				return err
			}
			late = late[len(before):]
		}
		n := sort.Search(len(late), func(i int) bool { return late[i].At > c.last })
		g := segment{count: c.count, c: c}
		if n > 0 || c.first < from || c.last >= to {
			if err := s.load(ctx, tx, p, device, &c); err != nil {
				return err
			}
			p.merged = merge(p.merged[:0], within(p.old, from, to), late[:n])
			g = segment{count: len(p.merged), rs: p.merged}
			late = late[n:]
		}
		if err := fn(g); err != nil {
			return err
		}
	}
	if len(late) == 0 {
		return nil
	}
	return fn(segment{count: len(late), rs: late})
}

// load unpacks the chunk c, of which the data is not there yet, into p.old.
func (s *Store) load(
	ctx context.Context, q querier, p *packer, device gateway.DeviceID, c *span,
) error {
	err := q.QueryRowContext(ctx, `SELECT data FROM chunk WHERE id = ?`, c.id).Scan(&c.data)
	if err == nil {
		p.old, err = s.unpack(p, p.old[:0], device, *c)
	}
	return err
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
	p := s.takePacker()
	defer s.putPacker(p)
	late := s.tail.of(device)
	err = s.read(ctx, doing, func(tx *sql.Tx) error {
		if err := deviceThere(ctx, tx, device); err != nil {
			return err
		}
		return s.segments(ctx, tx, p, device, late, from, to, func(g segment) error {
			skip := max(0, offset-total)
			total += g.count
			if skip >= g.count || len(page) >= limit {
				return nil
			}
			if g.rs == nil {
				if err := s.load(ctx, tx, p, device, &g.c); err != nil {
					return err
				}
				g.rs = p.old
			}
			page = append(page, g.rs[skip:min(g.count, skip+limit-len(page))]...)
			return nil
		})
	})
	if err != nil {
		return nil, 0, err
	}
	return page, total, nil
}

// Count returns how many readings of a device there are.
func (s *Store) Count(ctx context.Context, device gateway.DeviceID) (n int64, err error) {
	p := s.takePacker()
	defer s.putPacker(p)
	late := s.tail.of(device)
	doing := fmt.Sprintf("counting readings of device %d", device)
	err = s.read(ctx, doing, func(tx *sql.Tx) error {
		if err := deviceThere(ctx, tx, device); err != nil {
			return err
		}
		return s.segments(ctx, tx, p, device, late, math.MinInt64, math.MaxInt64,
			func(g segment) error { n += int64(g.count); return nil })
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Last returns the newest reading of each device that has one, in order of
// their ids; one that is damaged is left out.
func (s *Store) Last(ctx context.Context) ([]gateway.Reading, error) {
	const doing = "finding the newest readings"
	ids, err := s.deviceIDs(ctx)
	if err != nil {
		return nil, s.wrap(doing, err)
	}
	var rs []gateway.Reading
	for _, id := range ids {
		err := s.with(ctx, doing, id, func(x *source) error {
			r, ok, err := x.Before(math.MaxInt64, math.MinInt64, gateway.HasPower|gateway.HasEnergy)
			if ok {
				rs = append(rs, r)
			}
			return err
		})
		if errors.Is(err, chunk.ErrDamaged) { // the others are there nevertheless
			s.log.ErrorContext(ctx, "the newest reading cannot be read", "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return rs, nil
}
