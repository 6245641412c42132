package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// Scrubbing is reading everything before somebody needs it, so that damage is
// found while the sums, or a backup, can still make up for it.
const (
	// scrubEvery is how long after everything was read it is read again.
	scrubEvery = 30 * day
	// scrubRest is how many times as long as reading took is rested after it, and
	// scrubLongest how long at most.
	scrubRest    = 20
	scrubLongest = 10 * time.Second
	// scrubSteps is after how many chunks and rollups damage is set aside and
	// the position is noted: seldom, to spare the disk.
	scrubSteps = 512
)

// Settings of scrubbing.
const (
	scrubDoneKey = "scrub_done" // when everything was read, Unix ms
	scrubAtKey   = "scrub_at"   // where reading goes on; "" between two rounds
)

// scrubAt is a position: of a device chunks come first, then rollups by level.
type scrubAt struct {
	device gateway.DeviceID
	level  energy.Level    // 0 for chunks
	at     gateway.Instant // chunks that begin later are next, or rollups from it on
}

// Scrub reads every chunk and rollup if that was not done for a month, and
// sets aside what is damaged. It takes its time, rests between its steps, and
// goes on where it was when it was cut; it returns when nothing is due. One
// Scrub at a time is enough. Of a new file the first month begins now.
func (s *Store) Scrub(ctx context.Context) error {
	p, due, err := s.scrubDue(ctx)
	if err != nil || !due {
		return err
	}
	for n := 1; ; n++ {
		began := s.cfg.Now()
		done, err := s.scrubStep(ctx, &p)
		if done || err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err(), s.noteScrub(ctx, p, done))
		}
		if n%scrubSteps == 0 {
			if err := s.noteScrub(ctx, p, false); err != nil {
				return err
			}
		}
		// Whatever the clock did meanwhile.
		rest := min(max(0, scrubRest*s.cfg.Now().Sub(began)), scrubLongest)
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
	}
}

// scrubDue returns where reading is to begin or go on, if it is due.
func (s *Store) scrubDue(ctx context.Context) (p scrubAt, due bool, err error) {
	at, _, err := s.Setting(ctx, scrubAtKey)
	if err != nil {
		return p, false, err
	}
	if n, _ := fmt.Sscan(at, &p.device, &p.level, &p.at); n == 3 {
		return p, true, nil
	}
	p = scrubAt{at: math.MinInt64}
	text, ok, err := s.Setting(ctx, scrubDoneKey)
	if err != nil {
		return p, false, err
	}
	now := gateway.InstantOf(s.cfg.Now())
	if !ok {
		return p, false, s.SetSetting(ctx, scrubDoneKey, strconv.FormatInt(int64(now), 10))
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	last := gateway.Instant(ms)
	// Once more does no harm: a clock that was put back, or a setting that
	// nobody can read, must not put it off.
	return p, err != nil || now < last || now >= last+scrubEvery, nil
}

// noteScrub sets aside what was found damaged so far and notes the position,
// or that all was read. What is behind the position needs no second look.
func (s *Store) noteScrub(ctx context.Context, p scrubAt, done bool) error {
	ctx = context.WithoutCancel(ctx) // it is short, and would be missed
	if err := s.judgeSuspects(ctx); err != nil {
		return err
	}
	if !done {
		return s.SetSetting(ctx, scrubAtKey, fmt.Sprintf("%d %d %d", p.device, p.level, p.at))
	}
	now := gateway.InstantOf(s.cfg.Now())
	if err := s.SetSetting(ctx, scrubDoneKey, strconv.FormatInt(int64(now), 10)); err != nil {
		return err
	}
	return s.SetSetting(ctx, scrubAtKey, "")
}

// scrubStep reads the chunk or rollup that p tells and moves p behind it; done
// says that there is none any more.
func (s *Store) scrubStep(ctx context.Context, p *scrubAt) (done bool, err error) {
	const doing = "reading through the database"
	var device sql.NullInt64
	err = s.r.QueryRowContext(ctx, `SELECT min(id) FROM device
		WHERE deleted_ms IS NULL AND id >= ?`, p.device).Scan(&device)
	if err != nil || !device.Valid {
		return err == nil, s.wrap(doing, err)
	}
	if id := gateway.DeviceID(device.Int64); id != p.device {
		*p = scrubAt{device: id, at: math.MinInt64}
	}
	var last bool
	if p.level == 0 {
		last, err = s.scrubChunk(ctx, p)
	} else {
		last, err = s.scrubRollup(ctx, p)
	}
	if last {
		*p = scrubAt{device: p.device, level: p.level + 1, at: math.MinInt64}
		if int(p.level) > len(levels) {
			*p = scrubAt{device: p.device + 1, at: math.MinInt64}
		}
	}
	return false, s.wrap(doing, err)
}

// scrubChunk reads a chunk; last says that there was none.
func (s *Store) scrubChunk(ctx context.Context, p *scrubAt) (last bool, err error) {
	c, err := maybe(scanChunk(s.r.QueryRowContext(ctx, selectLater, p.device, p.at)))
	if err != nil || c == nil {
		return err == nil, err
	}
	mem := s.takePacker()
	defer s.putPacker(mem)
	// What is damaged is a suspect from now on.
	if _, err := s.unpack(mem, mem.old[:0], p.device, *c); err != nil {
		s.log.WarnContext(ctx, "reading through the database", "found", err)
	}
	p.at = c.first
	return false, nil
}

// scrubRollup reads a row of rollups and compares it with the readings; last
// says that there was none.
func (s *Store) scrubRollup(ctx context.Context, p *scrubAt) (last bool, err error) {
	var wrong []error
	var next gateway.Instant
	err = s.with(ctx, "checking rollups", p.device, func(x *source) (err error) {
		wrong, next, last, err = x.checkRow(p.level, p.at)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, w := range wrong {
		s.log.WarnContext(ctx, "reading through the database", "found", w)
		var bad badSum
		if errors.As(w, &bad) { // after it there may be more in this row
			return false, s.dropSum(ctx, p.device, bad)
		}
	}
	p.at = next
	return last, nil
}

// dropSum deletes what is summed up of a bucket that is not what the readings
// make. Maintain makes it again.
func (s *Store) dropSum(ctx context.Context, device gateway.DeviceID, bad badSum) error {
	p := s.takePacker()
	defer s.putPacker(p)
	return s.writeThen(ctx, "deleting a wrong sum", func(tx *sql.Tx) error {
		if err := s.cutRollups(ctx, tx, p, device, bad.from, bad.to); err != nil {
			return err
		}
		return s.tellDamage(tx, "Sums", device, bad.from, bad.to,
			"were not what its readings make; they are made again")
	}, func() { s.rolled.change(device, func(d *rolledDevice) { d.done = math.MinInt64 }) })
}

// tellDamage writes an event about damage, in the transaction that takes it
// out of the way. Fate ends the sentence.
func (s *Store) tellDamage(
	tx *sql.Tx, what string, device gateway.DeviceID, from, to gateway.Instant, fate string,
) error {
	var alias string
	err := tx.QueryRow(`SELECT alias FROM device WHERE id = ?`, device).Scan(&alias)
	if err != nil {
		return err
	}
	const layout = "2006-01-02 15:04 MST"
	zone := s.cfg.Zone
	if zone == nil {
		zone = time.UTC
	}
	return s.insertEvent(tx, &gateway.Event{
		At: gateway.InstantOf(s.cfg.Now()), Kind: gateway.EventDamaged, Device: device,
		Source: gateway.Source{Kind: "store"},
		Text: fmt.Sprintf("%s of %s from %s to %s %s", what, alias,
			from.Time().In(zone).Format(layout), to.Time().In(zone).Format(layout), fate),
	})
}
