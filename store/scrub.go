package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store/chunk"
)

// scrubEvery is how often all that is stored is read to see whether it is still
// sound.
const scrubEvery = 30 * day

// scrubKey is the setting that says how far scrubbing is.
const scrubKey = "scrub"

// scrubState is how far scrubbing is.
type scrubState struct {
	Done   gateway.Instant `json:"done_ms"` // when all was read last; 0 for never
	Chunk  int64           `json:"chunk"`   // the last one that was read since
	Rollup int64           `json:"rollup"`
}

// scrubSaved is after how many chunks and rollups the state is saved: each time
// wears the disk.
const scrubSaved = 2000

// Scrub reads up to some chunks and rollups, if it is time to look whether they
// are still what was written; what is not, the next Maintain sets aside. It
// goes on about where it stopped, over restarts, too. It reports done if there
// is nothing to do before the next month. One at a time may call it.
func (s *Store) Scrub(ctx context.Context, some int) (done bool, err error) {
	const doing = "looking for damage"
	now := gateway.InstantOf(s.cfg.Now())
	text, _, err := s.Setting(ctx, scrubKey)
	if err != nil {
		return false, err
	}
	var state scrubState
	_ = json.Unmarshal([]byte(text), &state) // what is no state begins anew
	if state.Done > now {                    // the clock was put back
		state.Done = now
		return true, s.saveScrub(ctx, state)
	}
	saved := state
	if s.scrubbing.Done == state.Done {
		state = s.scrubbing
	}
	if state.Done != 0 && now-state.Done < scrubEvery {
		return true, nil
	}
	n, err := s.scrubChunks(ctx, &state, some)
	if err == nil && n < some {
		var more int
		more, err = s.scrubRollups(ctx, &state, some-n)
		n += more
	}
	if err != nil {
		return false, s.wrap(doing, err)
	}
	if n < some {
		state = scrubState{Done: now}
	}
	s.scrubbing = state
	if n == some && state.Chunk+state.Rollup < saved.Chunk+saved.Rollup+scrubSaved {
		return false, nil
	}
	return n < some, s.saveScrub(ctx, state)
}

// saveScrub keeps how far scrubbing is.
func (s *Store) saveScrub(ctx context.Context, state scrubState) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return s.SetSetting(ctx, scrubKey, string(text))
}

// scrubChunks reads chunks and returns how many.
func (s *Store) scrubChunks(ctx context.Context, state *scrubState, some int) (n int, err error) {
	p := s.takePacker()
	defer s.putPacker(p)
	for ; n < some; n++ {
		var device gateway.DeviceID
		var c span
		err := s.r.QueryRowContext(ctx, `SELECT device_id, `+chunkColumns+` FROM chunk
			WHERE id > ? ORDER BY id LIMIT 1`, state.Chunk).
			Scan(&device, &c.id, &c.first, &c.last, &c.count, &c.data)
		if errors.Is(err, sql.ErrNoRows) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if p.old, err = s.unpack(p, p.old[:0], device, c); err != nil && !errors.Is(err, chunk.ErrDamaged) {
			return n, err
		}
		state.Chunk = c.id
	}
	return n, nil
}

// scrubRollups reads rollups and returns how many.
func (s *Store) scrubRollups(ctx context.Context, state *scrubState, some int) (n int, err error) {
	p := s.takePacker()
	defer s.putPacker(p)
	for ; n < some; n++ {
		var device gateway.DeviceID
		var level energy.Level
		var row rollupRow
		err := s.r.QueryRowContext(ctx, `SELECT device_id, level, id, from_ms, to_ms, data FROM rollup
			WHERE id > ? ORDER BY id LIMIT 1`, state.Rollup).
			Scan(&device, &level, &row.id, &row.from, &row.to, &row.data)
		if errors.Is(err, sql.ErrNoRows) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if p.row, err = p.sums(p.row[:0], device, level, row); errors.Is(err, chunk.ErrDamaged) {
			s.badRollups.Store(row.id, device)
		} else if err != nil {
			return n, err
		}
		state.Rollup = row.id
	}
	return n, nil
}
