package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store/chunk"
)

// Sizes of what readings are kept in. A field of Store of the same name lets
// tests have smaller ones.
const (
	// tailMost is how many readings the tail holds before some are sealed; in
	// memory each takes 40 bytes or a little more.
	tailMost = 1 << 16
	// chunkMost is how many readings a new chunk holds at most. Chunks with less
	// than half of that take what comes after them. Larger ones are shorter by a
	// few hundredths, but who asks for a minute unpacks a whole one. What is packed
	// into fewer than smallChunk bytes may have smallTimes as many.
	chunkMost  = 1 << 13
	smallChunk = 1024
	smallTimes = 4
)

// tailLimit times tailMost is what the tail may grow to if sealing fails;
// beyond it no further readings are taken.
const tailLimit = 4

// tailRows is how many tail rows go in one transaction.
const tailRows = 4096

// sealAfter is how long after the end of a day, in UTC, Maintain seals it.
const sealAfter = 2 * gateway.Hour

// day is a day of UTC.
const day = 24 * gateway.Hour

// Columns of a chunk without and with its data.
const (
	spanColumns  = `id, first_ms, last_ms, count`
	chunkColumns = spanColumns + `, data`
)

// Queries for chunks of a device. They are to use the index chunk_span.
const (
	// fromChunk finds chunks that end at ?2 or later, in order.
	fromChunk = ` FROM chunk WHERE device_id = ?1 AND first_ms >= coalesce(
		(SELECT max(first_ms) FROM chunk WHERE device_id = ?1 AND first_ms <= ?2), ?2)
		AND last_ms >= ?2 AND first_ms < ?3 ORDER BY first_ms`
	selectSpans = `SELECT ` + spanColumns + fromChunk
	selectNext  = `SELECT ` + chunkColumns + fromChunk + ` LIMIT 1`
	selectPrev  = `SELECT ` + chunkColumns + ` FROM chunk
		WHERE device_id = ?1 AND first_ms <= ?2 ORDER BY first_ms DESC LIMIT 1`
	selectLater = `SELECT ` + chunkColumns + ` FROM chunk
		WHERE device_id = ?1 AND first_ms > ?2 ORDER BY first_ms LIMIT 1`
)

// span is a row of the table chunk. Data is nil where it was not asked for.
type span struct {
	id          int64
	first, last gateway.Instant
	count       int
	data        []byte
}

// scanChunk reads the columns chunkColumns.
func scanChunk(row scanner) (c span, err error) {
	err = row.Scan(&c.id, &c.first, &c.last, &c.count, &c.data)
	return c, err
}

// scanSpan reads the columns spanColumns.
func scanSpan(row scanner) (c span, err error) {
	err = row.Scan(&c.id, &c.first, &c.last, &c.count)
	return c, err
}

// packer is the memory that packing and unpacking need.
type packer struct {
	enc    chunk.Encoder
	dec    chunk.Decoder
	old    []gateway.Reading
	merged []gateway.Reading
	batch  []gateway.Reading
	data   []byte
	table  chunk.Table
	row    []energy.Sum // of a rollup
	answer []energy.Sum // of several
}

// packerMost is how many readings a packer keeps memory for.
const packerMost = 3 * chunkMost / 2

// putPacker takes the memory back.
func (s *Store) putPacker(p *packer) {
	for _, rs := range []*[]gateway.Reading{&p.old, &p.merged, &p.batch} {
		if cap(*rs) > packerMost {
			*rs = nil
		}
	}
	s.packers.Put(p)
}

// takePacker returns memory that the caller gives back with putPacker.
func (s *Store) takePacker() *packer {
	if p, ok := s.packers.Get().(*packer); ok {
		return p
	}
	return new(packer)
}

// unpack appends the readings of the chunk c of a device to dst, if it is what
// its row says.
func (p *packer) unpack(
	dst []gateway.Reading, device gateway.DeviceID, c span,
) ([]gateway.Reading, error) {
	h, err := chunk.ReadHeader(c.data)
	want := chunk.Header{Device: device, Count: c.count, First: c.first, Last: c.last}
	if err == nil && h != want {
		err = fmt.Errorf("%w: it holds %+v, its row says %+v", chunk.ErrDamaged, h, want)
	}
	if err == nil {
		dst, err = p.dec.Append(dst, c.data)
	}
	if err != nil {
		return dst, fmt.Errorf("chunk %d of device %d from %s to %s: %w",
			c.id, device, c.first, c.last, err)
	}
	return dst, nil
}

// lockSealing waits until nobody else seals, or ctx ends.
func (s *Store) lockSealing(ctx context.Context) (unlock func(), err error) {
	select {
	case <-s.sealing:
		return func() { s.sealing <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// anyDevice wants all.
func anyDevice([]gateway.Reading, int64) bool { return true }

// shrinkTail seals until the tail is no longer than it should be.
func (s *Store) shrinkTail(ctx context.Context) error {
	for s.tail.size() > s.tailMost {
		if done, err := s.sealOne(ctx, anyDevice); done || err != nil {
			return err
		}
	}
	return nil
}

// sealAll seals what want takes.
func (s *Store) sealAll(ctx context.Context, want wanted) error {
	for {
		if done, err := s.sealOne(ctx, want); done || err != nil {
			return err
		}
	}
}

// clearTail seals what is in the tail now, and deletes the rows.
func (s *Store) clearTail(ctx context.Context) error {
	mark := s.tail.next()
	err := s.sealAll(ctx, func(_ []gateway.Reading, oldest int64) bool { return oldest < mark })
	for err == nil {
		from, to := s.tail.needless(0)
		if to = min(to, from+tailRows, mark); from >= to {
			return nil
		}
		err = s.write(ctx, "deleting sealed rows", func(tx *sql.Tx) error {
			_, err := tx.Exec(`DELETE FROM tail WHERE id >= ? AND id < ?`, from, to)
			return err
		})
		if err == nil {
			s.tail.deleted(to)
		}
	}
	return err
}

// wanted says whether a device's readings, of which none is in a row before
// oldest, are to be sealed.
type wanted func(rs []gateway.Reading, oldest int64) bool

// past returns what takes devices whose oldest reading is of a day that was
// over for sealAfter at now.
func past(now gateway.Instant) wanted {
	return func(rs []gateway.Reading, _ int64) bool {
		at := rs[0].At
		end := at - (at%day+day)%day + day
		return end+sealAfter <= now
	}
}

// sealOne moves some readings of one device that want takes from the tail into
// chunks, in one transaction; done says that there are none. Wherever it is
// cut, no reading is lost: what is both in the tail and in a chunk counts once.
func (s *Store) sealOne(ctx context.Context, want wanted) (done bool, err error) {
	unlock, err := s.lockSealing(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	j, ok := s.tail.job(want)
	if !ok {
		return true, nil
	}
	p := s.takePacker()
	defer s.putPacker(p)
	var n int
	var to int64
	err = s.write(ctx, fmt.Sprintf("sealing readings of device %d", j.device),
		func(tx *sql.Tx) (err error) {
			if n, err = s.sealSome(ctx, tx, p, j.device, j.rs); err != nil || n < len(j.rs) {
				return err
			}
			to, err = s.deleteTail(tx, j)
			return err
		})
	if err != nil {
		return false, err
	}
	s.tail.sealed(j, n)
	s.tail.deleted(to)
	return false, nil
}

// deleteTail deletes tail rows of which nothing is pending once j is sealed,
// and returns the row before which all are gone. Those that come in meanwhile
// stay.
func (s *Store) deleteTail(tx *sql.Tx, j job) (to int64, err error) {
	from, to := s.tail.needless(j.device)
	to = min(to, j.mark+1, from+tailRows)
	if from >= to {
		return from, nil
	}
	_, err = tx.Exec(`DELETE FROM tail WHERE id >= ? AND id < ?`, from, to)
	return to, err
}

// sealSome puts the first of rs, at least one of them, into chunks and returns
// how many it took: those for which one chunk is to be rewritten, or as many
// as make a new one.
func (s *Store) sealSome(
	ctx context.Context, tx *sql.Tx, p *packer, device gateway.DeviceID, rs []gateway.Reading,
) (n int, err error) {
	into, err := maybe(scanChunk(tx.QueryRow(selectPrev, device, rs[0].At)))
	if err != nil {
		return 0, err
	}
	next, err := maybe(scanChunk(tx.QueryRow(selectLater, device, rs[0].At)))
	if err != nil {
		return 0, err
	}
	limit := gateway.Instant(math.MaxInt64)
	if next != nil {
		limit = next.first
	}
	for n = 1; n < len(rs) && n < s.chunkMost && rs[n].At < limit; n++ {
	}
	switch {
	case into != nil && (rs[0].At <= into.last || into.count < s.mostFor(*into)/2):
	case into == nil && next != nil && next.count < s.mostFor(*next)/2:
		into = next
	default:
		return n, s.insertChunks(tx, p, device, rs[:n], nil)
	}
	p.old, err = p.unpack(p.old[:0], device, *into)
	if errors.Is(err, chunk.ErrDamaged) {
		p.old, err = s.setAside(ctx, tx, p, device, *into, err)
		into = nil
	}
	if err != nil {
		return 0, err
	}
	p.merged = merge(p.merged[:0], p.old, rs[:n])
	return n, s.insertChunks(tx, p, device, p.merged, into)
}

// mostFor returns how many readings may be where c is.
func (s *Store) mostFor(c span) int {
	if len(c.data) < smallChunk {
		return smallTimes * s.chunkMost
	}
	return s.chunkMost
}

// maybe makes nil of a row that is not there.
func maybe[T any](c T, err error) (*T, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &c, err
}

// insertChunks writes rs as chunks of about the same size, the first of them
// in the place of old, if that is not nil.
func (s *Store) insertChunks(
	tx *sql.Tx, p *packer, device gateway.DeviceID, rs []gateway.Reading, old *span,
) (err error) {
	most := s.chunkMost
	if old != nil {
		most = s.mostFor(*old)
	}
	parts := (len(rs) + most - 1) / most
	for i := range parts {
		part := rs[i*len(rs)/parts : (i+1)*len(rs)/parts]
		if p.data, err = p.enc.Append(p.data[:0], part); err != nil {
			return err
		}
		first, last := part[0].At, part[len(part)-1].At
		if i == 0 && old != nil {
			_, err = tx.Exec(`UPDATE chunk SET first_ms = ?, last_ms = ?, count = ?, fields = ?,
				data = ? WHERE id = ?`, first, last, len(part), fieldsOf(part), p.data, old.id)
		} else {
			_, err = tx.Exec(`INSERT INTO chunk (device_id, first_ms, last_ms, count, fields, data)
				VALUES (?,?,?,?,?,?)`, device, first, last, len(part), fieldsOf(part), p.data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fieldsOf returns which fields some of rs have.
func fieldsOf(rs []gateway.Reading) (has gateway.ReadingFields) {
	for _, r := range rs {
		has |= r.Has
	}
	return has
}

// setAside moves a damaged chunk out of the way, and returns the readings that
// rollups make in its place; the rollups stand from now on. The caller puts the
// readings into a chunk.
func (s *Store) setAside(
	ctx context.Context, tx *sql.Tx, p *packer, device gateway.DeviceID, c span, why error,
) ([]gateway.Reading, error) {
	x := &source{ctx: ctx, s: s, q: tx, device: device, p: p}
	rs, err := x.rebuild(c.first, c.last+1)
	if err != nil {
		return nil, err
	}
	s.log.ErrorContext(ctx, "readings lost: a damaged chunk is set aside",
		"device", device, "chunk", c.id, "readings", c.count, "rebuilt", len(rs), "error", why)
	_, err = tx.Exec(`INSERT INTO damaged
		(device_id, first_ms, last_ms, count, data, found_ms, reason)
		SELECT device_id, first_ms, last_ms, count, data, ?2, ?3 FROM chunk WHERE id = ?1`,
		c.id, gateway.InstantOf(s.cfg.Now()), why.Error())
	if err != nil {
		return nil, err
	}
	fate := "were damaged on the disk and are set aside; no sums can make up for them"
	if len(rs) > 0 {
		fate = fmt.Sprintf("were damaged on the disk and are set aside; %d means made of their sums "+
			"are in their place", len(rs))
		if err := markThinned(ctx, tx, device, c.first, c.last+1, becauseDamage); err != nil {
			return nil, err
		}
	}
	if err := s.tellDamage(tx, "Readings", device, c.first, c.last, fate); err != nil {
		return nil, err
	}
	_, err = tx.Exec(`DELETE FROM chunk WHERE id = ?`, c.id)
	return rs, err
}

// judgeSuspects sets aside the chunks that readers found damaged, if they are.
func (s *Store) judgeSuspects(ctx context.Context) error {
	unlock, err := s.lockSealing(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	p := s.takePacker()
	defer s.putPacker(p)
	errs := []error{s.judgeRollups(ctx, p)}
	s.suspects.Range(func(key, value any) bool {
		id, _ := key.(int64)
		device, _ := value.(gateway.DeviceID)
		err := s.write(ctx, "setting a damaged chunk aside", func(tx *sql.Tx) error {
			c, err := maybe(scanChunk(tx.QueryRow(
				`SELECT `+chunkColumns+` FROM chunk WHERE id = ? AND device_id = ?`, id, device)))
			if err != nil || c == nil {
				return err
			}
			p.old, err = p.unpack(p.old[:0], device, *c)
			if errors.Is(err, chunk.ErrDamaged) {
				p.old, err = s.setAside(ctx, tx, p, device, *c, err)
				if err == nil && len(p.old) > 0 {
					err = s.insertChunks(tx, p, device, p.old, nil)
				}
			}
			return err
		})
		if err == nil {
			s.suspects.Delete(id)
		}
		errs = append(errs, err)
		return true
	})
	return errors.Join(errs...)
}

// deleteChunks deletes some chunks of a device, limit of them at most, and
// those that were set aside, and reports whether none is left.
func deleteChunks(tx *sql.Tx, device gateway.DeviceID, limit int) (done bool, err error) {
	res, err := tx.Exec(`DELETE FROM chunk WHERE id IN (
		SELECT id FROM chunk WHERE device_id = ? ORDER BY first_ms LIMIT ?)`, device, limit)
	if err != nil {
		return false, err
	}
	if n, err := res.RowsAffected(); err != nil || n == int64(limit) {
		return false, err
	}
	_, err = tx.Exec(`DELETE FROM damaged WHERE device_id = ?`, device)
	return true, err
}
