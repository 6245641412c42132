package store

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store/chunk"
)

// checkSlack is by how many milliwatt-hours a rollup may differ from what the
// next finer level makes up: each stretch that was made in one go is rounded.
const checkSlack = 4

// checkRollups compares each rollup with the readings, or with the next finer
// rollups, which were compared with the readings, and returns what is wrong.
// Where readings are gone there is nothing to compare with.
func (s *Store) checkRollups(ctx context.Context) (errs []error, err error) {
	ids, err := s.deviceIDs(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		for _, l := range levels {
			for at := gateway.Instant(math.MinInt64); len(errs) < maxProblems; {
				var wrong []error
				var done bool
				err := s.with(ctx, "checking rollups", id, func(x *source) (err error) {
					wrong, at, done, err = x.checkRow(l.level, at)
					return err
				})
				if err != nil {
					return errs, err
				}
				errs = append(errs, wrong...)
				if done {
					break
				}
			}
		}
	}
	return errs, nil
}

// checkRow checks the first row of a level that begins at at or later, and
// returns where the next one may begin; done says that there is none.
func (x *source) checkRow(
	level energy.Level, at gateway.Instant,
) (wrong []error, next gateway.Instant, done bool, err error) {
	row, err := scanRollup(x.q.QueryRowContext(x.ctx, `SELECT id, from_ms, to_ms, data FROM rollup
		WHERE device_id = ? AND level = ? AND from_ms >= ? ORDER BY from_ms LIMIT 1`,
		x.device, level, at))
	if err != nil {
		r, err := maybe(row, err)
		return nil, at, r == nil, err
	}
	next = max(row.from+1, row.to)
	var overlaps int
	err = x.q.QueryRowContext(x.ctx, `SELECT count(*) FROM rollup WHERE device_id = ? AND level = ?
		AND id <> ? AND from_ms < ? AND to_ms > ?`, x.device, level, row.id, row.to, row.from).
		Scan(&overlaps)
	if err != nil {
		return nil, next, false, err
	}
	if overlaps > 0 {
		wrong = append(wrong, fmt.Errorf("rollup %d of device %d from %s to %s overlaps another",
			row.id, x.device, row.from, row.to))
	}
	sums, err := x.openRow(level, row)
	if err != nil {
		x.s.badRollups.Store(row.id, x.device)
		return append(wrong, err), next, false, nil
	}
	err = x.compare(level, append([]energy.Sum(nil), sums...))
	var off badSum
	switch {
	case errors.As(err, &off):
		return append(wrong, err), next, false, nil
	case errors.Is(err, chunk.ErrDamaged): // who reads that chunk tells of it
		return wrong, next, false, nil
	}
	return wrong, next, false, err
}

// badSum is what is wrong with a bucket of a rollup.
type badSum struct {
	reason   string
	from, to gateway.Instant
}

// Error implements error.
func (b badSum) Error() string { return b.reason }

// compare returns a badSum for the first of sums, which follow each other, that
// is not what the readings say.
func (x *source) compare(level energy.Level, sums []energy.Sum) error {
	// What is near to where readings are gone was summed up when they were there.
	gone, err := thinnedIn(x.ctx, x.q, x.device, sums[0].From-day, sums[len(sums)-1].To+day)
	if err != nil {
		return err
	}
	for i := range gone {
		gone[i].from, gone[i].to = gone[i].from-day, gone[i].to+day
	}
	for i := 0; i < len(sums); {
		if gone.meets(sums[i].From, sums[i].To) {
			i++
			continue
		}
		edges := []gateway.Instant{sums[i].From}
		n := i
		for n < len(sums) && sums[n].To-edges[0] <= rollupSpan &&
			!gone.meets(sums[n].From, sums[n].To) {
			edges = append(edges, sums[n].To)
			n++
		}
		n = max(n, i+1) // a bucket longer than rollupSpan is none of ours
		if len(edges) < 2 {
			edges = append(edges, sums[i].To)
		}
		want, err := energy.Summarize(x, edges, level)
		if err != nil {
			return err
		}
		for k, w := range want {
			if err := compareSum(sums[i+k], w); err != nil {
				return badSum{fmt.Sprintf("rollup of device %d: %v", x.device, err), w.From, w.To}
			}
		}
		i = n
	}
	return nil
}

// compareSum returns how got differs from want, if it does.
func compareSum(got, want energy.Sum) error {
	off := got.Energy - want.Energy
	got.Energy = want.Energy
	if got == want && off <= checkSlack && off >= -checkSlack {
		return nil
	}
	got.Energy += off
	return fmt.Errorf("from %s to %s it is %+v, readings make %+v", got.From, got.To, got, want)
}
