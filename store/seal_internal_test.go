package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
)

// model is what the store is to hold, without any cleverness.
type model map[gateway.DeviceID]map[gateway.Instant]gateway.Reading

// add does what Append does.
func (m model) add(rs []gateway.Reading) {
	for _, r := range rs {
		if m[r.Device] == nil {
			m[r.Device] = map[gateway.Instant]gateway.Reading{}
		}
		if old, ok := m[r.Device][r.At]; ok {
			r = old.Merge(r)
		}
		m[r.Device][r.At] = r
	}
}

// of returns the readings of a device and range in order.
func (m model) of(id gateway.DeviceID, from, to gateway.Instant) []gateway.Reading {
	var rs []gateway.Reading
	for _, r := range m[id] {
		if r.At >= from && r.At < to {
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b gateway.Reading) int { return cmp.Compare(a.At, b.At) })
	return rs
}

// sameAs fails unless all that s answers about a device and range is what m
// says.
func (m model) sameAs(rt *rapid.T, s *Store, id gateway.DeviceID, from, to gateway.Instant) {
	rt.Helper()
	ctx := context.Background()
	want := m.of(id, from, to)
	var got []gateway.Reading
	err := s.Scan(ctx, id, from, to, each(func(r gateway.Reading) error {
		got = append(got, r)
		return nil
	}))
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		rt.Fatalf("scanning device %d: error %v (-want +got):\n%s", id, err, diff)
	}
	offset := rapid.IntRange(0, len(want)+2).Draw(rt, "offset")
	limit := rapid.IntRange(0, 40).Draw(rt, "limit")
	page, total, err := s.Page(ctx, id, from, to, offset, limit)
	var wantPage []gateway.Reading
	if offset < len(want) && limit > 0 {
		wantPage = want[offset:min(len(want), offset+limit)]
	}
	if diff := gocmp.Diff(wantPage, page); diff != "" || total != len(want) || err != nil {
		rt.Fatalf("page of device %d from %d: %d of %d in all, error %v (-want +got):\n%s",
			id, offset, total, len(want), err, diff)
	}
	if n, err := s.Count(ctx, id); n != int64(len(m[id])) || err != nil {
		rt.Fatalf("count of device %d: %d, error %v; want %d", id, n, err, len(m[id]))
	}
	for name, c := range map[string]struct {
		in   []gateway.Reading
		last bool
	}{
		"before": {m.of(id, math.MinInt64, from), true},
		"after":  {m.of(id, from, math.MaxInt64), false},
	} {
		got, ok, err := find(s, id, from, c.last)
		var want gateway.Reading
		if n := len(c.in); n > 0 && c.last {
			want = c.in[n-1]
		} else if n > 0 {
			want = c.in[0]
		}
		if got != want || ok != (len(c.in) > 0) || err != nil {
			rt.Fatalf("%s of device %d: %v, %t, %v; want %v", name, id, got, ok, err, want)
		}
	}
}

// newest is what Last is to return.
func (m model) newest() []gateway.Reading {
	var rs []gateway.Reading
	for _, id := range slices.Sorted(maps.Keys(m)) {
		all := m.of(id, math.MinInt64, math.MaxInt64)
		rs = append(rs, all[len(all)-1])
	}
	return rs
}

// drawBatch draws readings of devices over some days, some of them in a row
// and some of them repeats.
func drawBatch(rt *rapid.T, ids []gateway.DeviceID) []gateway.Reading {
	var rs []gateway.Reading
	for range rapid.IntRange(1, 4).Draw(rt, "runs") {
		id := rapid.SampledFrom(ids).Draw(rt, "device")
		at := start + gateway.Instant(rapid.IntRange(-200, 200).Draw(rt, "at"))*10*gateway.Minute
		step := gateway.Instant(rapid.SampledFrom([]int{1, 10, 600, 601}).Draw(rt, "step"))
		for i := range rapid.IntRange(1, 50).Draw(rt, "length") {
			r := gateway.Reading{
				Device: id, At: at + gateway.Instant(i)*step*gateway.Second,
				Has: gateway.ReadingFields(rapid.IntRange(1, 3).Draw(rt, "has")),
			}
			if r.Has&gateway.HasPower != 0 {
				r.Power = gateway.Power(rapid.IntRange(-5, 5).Draw(rt, "power"))
			}
			if r.Has&gateway.HasEnergy != 0 {
				r.Energy = gateway.Energy(rapid.IntRange(0, 9).Draw(rt, "energy"))
			}
			rs = append(rs, r)
		}
	}
	return rapid.Permutation(rs).Draw(rt, "sent")
}

// TestStore_likeModel appends in any order, seals, maintains and opens again
// at any time, and compares all that can be read with a plain model.
func TestStore_likeModel(t *testing.T) {
	ctx := context.Background()
	files, path := ours(t, -1), filepath.Join(t.TempDir(), "a.db")
	now := start
	open := func() *Store {
		s, err := open(ctx, Config{Path: path, Now: func() time.Time { return now.Time() }}, files)
		if err != nil {
			t.Fatal(err)
		}
		s.tailMost, s.chunkMost = 300, 40
		return s
	}
	s := open()
	defer func() {
		if err := errors.Join(s.Check(ctx), s.Close()); err != nil {
			t.Error(err)
		}
	}()
	made := 0
	rapid.Check(t, func(rt *rapid.T) {
		var ids []gateway.DeviceID
		for range 3 {
			made++
			d, err := s.AddDevice(ctx, gateway.Device{Alias: fmt.Sprint("device ", made)})
			if err != nil {
				rt.Fatal(err)
			}
			ids = append(ids, d.ID)
		}
		m := model{}
		check := func(err error) {
			rt.Helper()
			if err != nil {
				rt.Fatal(err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				rs := drawBatch(rt, ids)
				if err := s.Append(ctx, rs); err != nil {
					rt.Fatal(err)
				}
				m.add(rs)
				if n := s.tail.size(); n > 300 {
					rt.Fatalf("the tail holds %d readings, 300 at most were asked for", n)
				}
			},
			"seal one": func(*rapid.T) { _, err := s.sealOne(ctx, anyDevice); check(err) },
			"seal all": func(*rapid.T) { check(s.clearTail(ctx)) },
			"maintain": func(rt *rapid.T) {
				now += gateway.Instant(rapid.IntRange(0, 48).Draw(rt, "hours")) * gateway.Hour
				check(s.Maintain(ctx))
			},
			"open again": func(*rapid.T) { check(s.Close()); s = open() },
			"read": func(rt *rapid.T) {
				from := start + gateway.Instant(rapid.IntRange(-2000, 2000).Draw(rt, "from"))*gateway.Minute
				to := from + gateway.Instant(rapid.IntRange(-1, 2000).Draw(rt, "for"))*gateway.Minute
				m.sameAs(rt, s, rapid.SampledFrom(ids).Draw(rt, "asked"), from, to)
			},
		})
		for _, id := range ids {
			m.sameAs(rt, s, id, math.MinInt64, math.MaxInt64)
		}
		last, err := s.Last(ctx)
		last = slices.DeleteFunc(last, func(r gateway.Reading) bool { return r.Device < ids[0] })
		if diff := gocmp.Diff(m.newest(), last, cmpopts.EquateEmpty()); diff != "" || err != nil {
			rt.Fatalf("last: error %v (-want +got):\n%s", err, diff)
		}
		for _, id := range ids { // or each round maintains those of all before
			check(s.DeleteDevice(ctx, id))
		}
	})
}

// TestStore_Maintain_sealsPastDays holds that a day is sealed two hours after
// its end, and that nothing is left of its rows.
func TestStore_Maintain_sealsPastDays(t *testing.T) {
	ctx := context.Background()
	now := start
	s, err := open(ctx, Config{
		Path: filepath.Join(t.TempDir(), "a.db"), Now: func() time.Time { return now.Time() },
	}, ours(t, -1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := s.AddDevice(ctx, gateway.Device{Alias: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, someReadings(d.ID, 0, 500)); err != nil {
		t.Fatal(err)
	}
	midnight := start - start%day + day
	for _, c := range []struct {
		at            gateway.Instant
		tails, chunks int
	}{{start, 1, 0}, {midnight + 2*gateway.Hour - 1, 1, 0}, {midnight + 2*gateway.Hour, 0, 1}} {
		now = c.at
		if err := s.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		var tails, chunks int
		if err := s.r.QueryRow(`SELECT (SELECT count(*) FROM tail), (SELECT count(*) FROM chunk)`).
			Scan(&tails, &chunks); err != nil || tails != c.tails || chunks != c.chunks {
			t.Errorf("at %s: %d tail rows and %d chunks, error %v; want %d and %d",
				c.at, tails, chunks, err, c.tails, c.chunks)
		}
	}
	if got := count(t, s, d.ID); got != 500 {
		t.Errorf("%d readings, want 500", got)
	}
}

// TestStore_seal_cutAnywhere ends the context at each point at which sealing
// looks at it, and opens the file again: all readings are there, once.
func TestStore_seal_cutAnywhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openWith(t, path, ours(t, -1))
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	const total = 90
	for i := range 3 {
		if err := s.Append(context.Background(), someReadings(d.ID, 30*i, 30)); err != nil {
			t.Fatal(err)
		}
	}
	cuts := 0
	for left := int64(0); ; left++ {
		s.chunkMost = 20
		err := s.clearTail(dyingAfter(left))
		for range 2 {
			if got := count(t, s, d.ID); got != total {
				t.Fatalf("cut at %d: %d readings, want %d", left, got, total)
			}
			n, countErr := s.Count(context.Background(), d.ID)
			if err := errors.Join(countErr, s.Check(context.Background())); err != nil || n != int64(total) {
				t.Fatalf("cut at %d: count %d of %d, error %v", left, n, total, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openWith(t, path, ours(t, -1))
		}
		if err == nil {
			break
		}
		if cuts++; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if cuts < 5 {
		t.Errorf("it was cut %d times alone", cuts)
	}
	var rows int
	if err := s.r.QueryRow("SELECT count(*) FROM tail").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d tail rows are left, error %v", rows, err)
	}
}

// TestStore_flips flips bits of chunks and of tail rows. Reading and Check
// tell of a chunk; Maintain sets it aside and the rest goes on.
func TestStore_flips(t *testing.T) {
	ctx := context.Background()
	s, id := openFresh(t, 0)
	s.chunkMost = 60
	if err := s.Append(ctx, someReadings(id, 0, 300)); err != nil {
		t.Fatal(err)
	}
	if err := s.clearTail(ctx); err != nil {
		t.Fatal(err)
	}
	chunks, err := collect(ctx, s.r, scanChunk, `SELECT `+chunkColumns+` FROM chunk ORDER BY first_ms`)
	if err != nil || len(chunks) != 3 {
		t.Fatalf("%d chunks, error %v", len(chunks), err)
	}
	hit := chunks[1]
	set := func(column string, value any) {
		t.Helper()
		if _, err := s.w.Exec(`UPDATE chunk SET `+column+` = ? WHERE id = ?`, value, hit.id); err != nil {
			t.Fatal(err)
		}
	}
	tells := func(what string) {
		t.Helper()
		err := s.Scan(ctx, id, hit.first, hit.last, each(func(gateway.Reading) error { return nil }))
		if !errors.Is(err, chunk.ErrDamaged) {
			t.Fatalf("%s: reading tells %v", what, err)
		}
		if err := s.Check(ctx); err == nil {
			t.Fatalf("%s: checking tells nothing", what)
		}
	}
	for bit := 0; bit < 8*len(hit.data); bit += 3 {
		data := bytes.Clone(hit.data)
		data[bit/8] ^= 1 << (bit % 8)
		set("data", data)
		tells(fmt.Sprintf("bit %d", bit))
	}
	set("data", hit.data)
	set("count", hit.count+1)
	tells("count")
	set("count", hit.count)
	set("data", chunks[0].data)
	tells("another chunk")

	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := int(count(t, s, id)); got != 300-hit.count {
		t.Errorf("%d readings, want the %d of the sound chunks", got, 300-hit.count)
	}
	if err := s.Check(ctx); err == nil || !strings.Contains(err.Error(), "set aside") {
		t.Errorf("checking says %v, want that a chunk is set aside", err)
	}
	es, _, err := s.Events(ctx, EventQuery{Kind: gateway.EventDamaged})
	if err != nil || len(es) != 1 || es[0].Device != id ||
		!strings.Contains(es[0].Text, "no sums can make up") {
		t.Errorf("events %v, %v", es, err)
	}
	// The readings come once more; where the chunk was there is room for them.
	if err := s.Append(ctx, someReadings(id, 0, 300)); err != nil {
		t.Fatal(err)
	}
	if err := s.clearTail(ctx); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, id); got != 300 {
		t.Errorf("%d readings, want 300", got)
	}
}

// TestStore_seal_intoDamaged has late readings come for a damaged chunk.
func TestStore_seal_intoDamaged(t *testing.T) {
	ctx := context.Background()
	s, id := openFresh(t, 100)
	if err := s.clearTail(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.w.Exec(`UPDATE chunk SET data = zeroblob(length(data))`); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, someReadings(id, 50, 100)); err != nil {
		t.Fatal(err)
	}
	if err := s.clearTail(ctx); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, id); got != 100 {
		t.Errorf("%d readings, want the 100 that came since", got)
	}
}

// TestOpen_damagedTail opens a file of which a tail row is damaged: it is told
// and set aside, and the other rows are there.
func TestOpen_damagedTail(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	s := openWith(t, path, ours(t, -1))
	d, err := s.AddDevice(ctx, gateway.Device{Alias: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.Append(ctx, someReadings(d.ID, 10*i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.w.Exec(`UPDATE tail SET data = substr(data, 1, 12) WHERE id = 2`); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err = Open(ctx, Config{Path: path, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := count(t, s, d.ID); got != 20 {
		t.Errorf("%d readings, want 20", got)
	}
	if !strings.Contains(log.String(), "damaged row") {
		t.Errorf("the log says %q", log.String())
	}
	if es, _, err := s.Events(ctx, EventQuery{Kind: gateway.EventDamaged}); err != nil || len(es) != 1 {
		t.Errorf("events %v, %v", es, err)
	}
	if err := s.Check(ctx); err == nil || !strings.Contains(err.Error(), "set aside") {
		t.Errorf("checking says %v", err)
	}
}

// TestOpen_convertsPlainTable opens a file of version 1 with rows of each
// kind, cut at each point at first.
func TestOpen_convertsPlainTable(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "a.db")
	s := openWith(t, path, ours(t, 1))
	m := model{}
	for i := range 3 {
		d, err := s.AddDevice(ctx, gateway.Device{Alias: fmt.Sprint("device ", i)})
		if err != nil {
			t.Fatal(err)
		}
		rs := someReadings(d.ID, 0, 9000*i)
		for k := range rs {
			rs[k].Power = gateway.Power(k % 91)
			if rs[k].Has = gateway.ReadingFields(1 + k%3); rs[k].Has&gateway.HasPower == 0 {
				rs[k].Power = 0
			}
			if rs[k].Has&gateway.HasEnergy != 0 {
				rs[k].Energy = gateway.Energy(k)
			}
		}
		m.add(rs)
		err = s.write(ctx, "filling", func(tx *sql.Tx) error {
			for _, r := range rs {
				var power, energy any
				if r.Has&gateway.HasPower != 0 {
					power = int64(r.Power)
				}
				if r.Has&gateway.HasEnergy != 0 {
					energy = int64(r.Energy)
				}
				if _, err := tx.Exec(`INSERT INTO reading VALUES (?,?,?,?)`,
					r.Device, r.At, power, energy); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	cuts := 0
	for left := int64(0); ; left++ {
		s, err := open(dyingAfter(left), Config{Path: path}, ours(t, -1))
		if err == nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
		cuts++
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if cuts < 5 {
		t.Errorf("it was cut %d times alone", cuts)
	}
	s = openWith(t, path, ours(t, -1))
	for id, n := range map[gateway.DeviceID]int{1: 0, 2: 9000, 3: 18_000} {
		var got []gateway.Reading
		err := s.Scan(ctx, id, 0, math.MaxInt64, each(func(r gateway.Reading) error {
			got = append(got, r)
			return nil
		}))
		if err != nil || len(got) != n {
			t.Fatalf("device %d has %d readings, error %v; want %d", id, len(got), err, n)
		}
		if diff := gocmp.Diff(m.of(id, 0, math.MaxInt64), got); diff != "" {
			t.Errorf("device %d (-want +got):\n%s", id, diff)
		}
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// TestStore_readsWhileSealing has readers look on while readings are added and
// sealed: they see each reading that was acknowledged before, once.
func TestStore_readsWhileSealing(t *testing.T) {
	ctx := context.Background()
	s, id := openFresh(t, 0)
	s.tailMost, s.chunkMost = 60, 100
	const batches, size = 150, 20
	done := make(chan struct{})
	var acked sync.Map
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for b := range batches {
			if err := s.Append(ctx, someReadings(id, b*size, size)); err != nil {
				t.Error(err)
				return
			}
			acked.Store("n", (b+1)*size)
		}
	})
	for range 3 {
		wg.Go(func() {
			for over := false; !over; {
				select {
				case <-done:
					over = true
				default:
				}
				least := 0
				if v, ok := acked.Load("n"); ok {
					least, _ = v.(int)
				}
				n, err := s.Count(ctx, id)
				if err != nil || int(n) < least || n%size != 0 {
					t.Errorf("count %d, error %v; %d were acknowledged", n, err, least)
					return
				}
				scanned, last := 0, gateway.Instant(0)
				err = s.Scan(ctx, id, 0, math.MaxInt64, each(func(r gateway.Reading) error {
					if scanned++; r.At <= last {
						return fmt.Errorf("%s comes after %s", r.At, last)
					}
					last = r.At
					return nil
				}))
				if err != nil || scanned < least {
					t.Errorf("scanned %d, error %v; %d were acknowledged", scanned, err, least)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := s.tail.size(); n > 60 {
		t.Errorf("the tail holds %d readings, want 60 at most", n)
	}
}

// TestStore_Append_sealingFails has sealing fail: readings are kept, up to a
// bound, and it goes on by itself.
func TestStore_Append_sealingFails(t *testing.T) {
	ctx := context.Background()
	var log bytes.Buffer
	s, id := openFresh(t, 0)
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	s.tailMost, s.chunkMost = 100, 30
	if _, err := s.w.Exec(`CREATE TRIGGER no BEFORE INSERT ON chunk
		BEGIN SELECT RAISE(ABORT, 'not today'); END`); err != nil {
		t.Fatal(err)
	}
	n := 0
	var err error
	for err == nil && n < 10_000 {
		if err = s.Append(ctx, someReadings(id, n, 10)); err == nil {
			n += 10
		}
	}
	if gateway.CodeOf(err) != gateway.CodeUnavailable || !strings.Contains(err.Error(), "not today") {
		t.Errorf("got error %v, want it unavailable and the reason", err)
	}
	if n != tailLimit*100+10 || count(t, s, id) != n {
		t.Errorf("%d readings were taken and %d are there, want %d", n, count(t, s, id), tailLimit*100+10)
	}
	if got := strings.Count(log.String(), "cannot be sealed"); got != 1 {
		t.Errorf("the log says it %d times, want once:\n%s", got, log.String())
	}
	if _, err := s.w.Exec(`DROP TRIGGER no`); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, someReadings(id, n, 10)); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, id); got != n+10 || s.tail.size() > 100 {
		t.Errorf("%d readings, %d of them in the tail; want %d, 100 at most", got, s.tail.size(), n+10)
	}
}

// TestStore_Append_tailRowsGo holds that rows are deleted in step though a
// device is never quite sealed.
func TestStore_Append_tailRowsGo(t *testing.T) {
	s, id := openFresh(t, 0)
	s.tailMost, s.chunkMost = 100, 30
	for b := range 200 {
		if err := s.Append(context.Background(), someReadings(id, 10*b, 10)); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := s.r.QueryRow("SELECT count(*) FROM tail").Scan(&rows); err != nil || rows > 22 {
			t.Fatalf("%d tail rows after %d commits, error %v", rows, b+1, err)
		}
	}
}
