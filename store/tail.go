package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
)

// tail holds the readings of the tail rows in memory, by device, because rows
// are by commit. It is safe for concurrent use, and no call waits for the
// disk. What a device's slice holds never changes, except that room behind it
// is filled; so readers keep what of gave them.
type tail struct {
	mu      sync.RWMutex
	devices map[gateway.DeviceID]*pending
	total   int   // readings
	first   int64 // the lowest row that may be in the file
	last    int64 // the highest row that add was told of; numbers only rise
}

// pending are the readings of one device that are in no chunk yet.
type pending struct {
	rs     []gateway.Reading // in order of time, one for an instant
	oldest int64             // no row before this holds any of them

	// What is being sealed: the rest of what rs was when row mark was the last.
	todo []gateway.Reading
	mark int64
}

// add takes the readings of a row, in order of devices and time, one for a
// device and instant.
func (t *tail) add(row int64, rs []gateway.Reading) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.devices == nil {
		t.devices = map[gateway.DeviceID]*pending{}
	}
	t.last = row
	for len(rs) > 0 {
		n := sameDevice(rs)
		p := t.devices[rs[0].Device]
		if p == nil {
			p = &pending{oldest: row}
			t.devices[rs[0].Device] = p
		}
		t.total -= len(p.rs)
		p.rs = mergeInto(p.rs, rs[:n])
		t.total += len(p.rs)
		rs = rs[n:]
	}
}

// sameDevice returns how many of rs, from the first on, are of one device.
func sameDevice(rs []gateway.Reading) int {
	n := 1
	for n < len(rs) && rs[n].Device == rs[0].Device {
		n++
	}
	return n
}

// mergeInto returns old and more merged; both are in order of time. What is in
// old stays as it is, only room behind it is used.
func mergeInto(old, more []gateway.Reading) []gateway.Reading {
	if len(old) == 0 || old[len(old)-1].At < more[0].At {
		return append(old, more...)
	}
	return merge(make([]gateway.Reading, 0, len(old)+len(more)+len(old)/4), old, more)
}

// merge appends to dst the readings of a and b, each in order of time, as
// gateway.Reading.Merge joins them.
func merge(dst, a, b []gateway.Reading) []gateway.Reading {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].At < b[0].At:
			dst, a = append(dst, a[0]), a[1:]
		case a[0].At > b[0].At:
			dst, b = append(dst, b[0]), b[1:]
		default:
			dst, a, b = append(dst, a[0].Merge(b[0])), a[1:], b[1:]
		}
	}
	return append(append(dst, a...), b...)
}

// next returns the number that the next row is to have. It stands as long as
// the caller is the writer.
func (t *tail) next() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last + 1
}

// of returns the readings of a device in order of time; they are not to be
// changed.
func (t *tail) of(device gateway.DeviceID) []gateway.Reading {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if p := t.devices[device]; p != nil {
		return p.rs
	}
	return nil
}

// size returns how many readings there are.
func (t *tail) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.total
}

// job is readings of a device that are to be sealed.
type job struct {
	device gateway.DeviceID
	rs     []gateway.Reading
	mark   int64 // no row after it holds any of them
}

// job returns what is to be sealed of the device that holds the oldest row, of
// those that want takes; false for none. Until sealed was told of all of it,
// what comes in meanwhile waits.
func (t *tail) job(want wanted) (job, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *pending
	var device gateway.DeviceID
	for id, p := range t.devices {
		older := found == nil || cmp.Or(cmp.Compare(p.oldest, found.oldest),
			cmp.Compare(id, device)) < 0
		if older && want(p.rs, p.oldest) {
			found, device = p, id
		}
	}
	if found == nil {
		return job{}, false
	}
	if len(found.todo) == 0 {
		found.todo, found.mark = found.rs, t.last
	}
	return job{device: device, rs: found.todo, mark: found.mark}, true
}

// sealed forgets the first n readings of j, as far as they are still as they
// were. With the last of them nothing of the device is left in the rows up to
// j.mark.
func (t *tail) sealed(j job, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.devices[j.device]
	if p == nil {
		return
	}
	t.total -= len(p.rs)
	var rest []gateway.Reading
	done := j.rs[:n]
	for _, r := range p.rs {
		for len(done) > 0 && done[0].At < r.At {
			done = done[1:]
		}
		if len(done) == 0 || done[0] != r {
			rest = append(rest, r)
		}
	}
	if len(rest) == 0 {
		delete(t.devices, j.device)
		return
	}
	p.rs, p.todo = rest, j.rs[n:]
	t.total += len(rest)
	if len(p.todo) == 0 {
		p.oldest = j.mark + 1
	}
}

// drop forgets a device.
func (t *tail) drop(device gateway.DeviceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.devices[device]; p != nil {
		t.total -= len(p.rs)
		delete(t.devices, device)
	}
}

// needless returns the rows, from the first to before the second, that hold
// nothing that is still pending; as if those of without were sealed.
func (t *tail) needless(without gateway.DeviceID) (from, to int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	to = t.last + 1
	for id, p := range t.devices {
		if id != without {
			to = min(to, p.oldest)
		}
	}
	return t.first, to
}

// deleted notes that no row before to is in the file any more.
func (t *tail) deleted(to int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.first = max(t.first, to)
}

// loadTail reads the tail rows that the file has. A damaged one is set aside,
// and readings of devices that are gone are left out.
func (s *Store) loadTail(ctx context.Context) error {
	known := map[gateway.DeviceID]bool{}
	ids, err := collect(ctx, s.w, func(row scanner) (id gateway.DeviceID, err error) {
		err = row.Scan(&id)
		return id, err
	}, `SELECT id FROM device WHERE deleted_ms IS NULL`)
	if err != nil {
		return err
	}
	for _, id := range ids {
		known[id] = true
	}
	bad := map[int64]error{}
	rows, err := s.w.QueryContext(ctx, `SELECT id, data FROM tail ORDER BY id`)
	if err != nil {
		return err
	}
	err = func() (err error) {
		defer func() { err = errors.Join(err, rows.Close()) }()
		var rs []gateway.Reading
		for first := true; rows.Next(); first = false {
			var id int64
			var data sql.RawBytes
			if err := rows.Scan(&id, &data); err != nil {
				return err
			}
			if rs, err = chunk.ReadBatch(rs[:0], data); err != nil {
				bad[id] = err
			}
			rs = slices.DeleteFunc(rs, func(r gateway.Reading) bool { return !known[r.Device] })
			if first {
				s.tail.first = id
			}
			s.tail.add(id, normal(nil, rs))
		}
		return rows.Err()
	}()
	if err != nil {
		return err
	}
	for id, why := range bad {
		s.log.ErrorContext(ctx, "readings lost: a damaged row is set aside", "row", id, "error", why)
		err := s.write(ctx, "setting a damaged row aside", func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO damaged
				(device_id, first_ms, last_ms, count, data, found_ms, reason)
				SELECT 0, 0, 0, 0, data, ?2, ?3 FROM tail WHERE id = ?1`,
				id, gateway.InstantOf(s.cfg.Now()), why.Error())
			if err != nil {
				return err
			}
			if _, err = tx.Exec(`DELETE FROM tail WHERE id = ?`, id); err != nil {
				return err
			}
			return s.insertEvent(tx, &gateway.Event{
				At: gateway.InstantOf(s.cfg.Now()), Kind: gateway.EventDamaged,
				Source: gateway.Source{Kind: "store"},
				Text:   "Readings that were stored at once were damaged on the disk and are set aside",
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// normal appends rs to dst, which is empty, in order of devices and time, one
// for a device and instant, and returns it.
func normal(dst, rs []gateway.Reading) []gateway.Reading {
	strictly := true
	for i := 1; i < len(rs) && strictly; i++ {
		strictly = byKey(rs[i-1], rs[i]) < 0
	}
	if strictly {
		return append(dst, rs...)
	}
	rs = byDevice(dst, rs)
	n := 0
	for _, r := range rs {
		if n > 0 && byKey(rs[n-1], r) == 0 {
			rs[n-1] = rs[n-1].Merge(r)
			continue
		}
		rs[n] = r
		n++
	}
	return rs[:n]
}

// byDevice appends rs to dst, which is empty, in order of devices and time.
// Commits hold few devices, and each device's readings mostly in order already.
func byDevice(dst, rs []gateway.Reading) []gateway.Reading {
	counts := map[gateway.DeviceID]int{}
	for i := 0; i < len(rs); {
		n := sameDevice(rs[i:])
		counts[rs[i].Device] += n
		i += n
	}
	at := make(map[gateway.DeviceID]int, len(counts)) // where the next one goes
	end := 0
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		at[id] = end
		end += counts[id]
	}
	dst = slices.Grow(dst, len(rs))[:len(rs)]
	for len(rs) > 0 {
		n := sameDevice(rs)
		id := rs[0].Device
		at[id] += copy(dst[at[id]:], rs[:n])
		rs = rs[n:]
	}
	for id, end := range at {
		if part := dst[end-counts[id] : end]; !slices.IsSortedFunc(part, byKey) {
			slices.SortFunc(part, byKey)
		}
	}
	return dst
}

// byKey orders readings by device and time.
func byKey(a, b gateway.Reading) int {
	if a.Device != b.Device {
		return cmp.Compare(a.Device, b.Device)
	}
	return cmp.Compare(a.At, b.At)
}
