package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// start is the instant at which the readings of inner tests begin.
const start gateway.Instant = 1_700_000_000_000

// openFresh opens a new store with one device, which has n readings.
func openFresh(t *testing.T, n int) (*Store, gateway.DeviceID) {
	t.Helper()
	s := openWith(t, filepath.Join(t.TempDir(), "a.db"), ours(t, -1))
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "lamp"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(context.Background(), someReadings(d.ID, 0, n)); err != nil {
		t.Fatal(err)
	}
	return s, d.ID
}

// someReadings returns n readings, one a second, from the first-th second on.
func someReadings(id gateway.DeviceID, first, n int) []gateway.Reading {
	rs := make([]gateway.Reading, n)
	for i := range rs {
		rs[i] = gateway.Reading{
			Device: id, At: start + gateway.Instant(first+i)*gateway.Second, Power: 7,
			Has: gateway.HasPower,
		}
	}
	return rs
}

// count returns how many readings Scan finds.
func count(t *testing.T, s *Store, id gateway.DeviceID) int {
	t.Helper()
	n := 0
	err := s.Scan(context.Background(), id, 0, math.MaxInt64, each(func(gateway.Reading) error {
		n++
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// holdWriter begins a transaction that has added a setting and does not end
// until the function that it returns is called.
func holdWriter(t *testing.T, s *Store) (release func()) {
	t.Helper()
	held, let := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.write(context.Background(), "holding", func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO setting VALUES ('held', '1')")
			close(held)
			<-let
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	return func() { close(let); wg.Wait() }
}

func TestStore_readsDuringWrite(t *testing.T) {
	s, id := openFresh(t, 5)
	release := holdWriter(t, s)
	if got := count(t, s, id); got != 5 {
		t.Errorf("%d readings, want 5", got)
	}
	if _, ok, err := s.Setting(context.Background(), "held"); ok || err != nil {
		t.Errorf("what is not committed is seen: %t, %v", ok, err)
	}
	release()
	if _, ok, err := s.Setting(context.Background(), "held"); !ok || err != nil {
		t.Errorf("what is committed is not seen: %t, %v", ok, err)
	}
}

func TestStore_writesDuringRead(t *testing.T) {
	s, id := openFresh(t, 5)
	ctx := context.Background()
	err := s.read(ctx, "holding", func(tx *sql.Tx) error {
		var before, after int
		if err := tx.QueryRow("SELECT count(*) FROM tail").Scan(&before); err != nil {
			return err
		}
		if err := s.Append(ctx, someReadings(id, 5, 5)); err != nil {
			t.Errorf("appending while a reader is at it: %v", err)
		}
		err := tx.QueryRow("SELECT count(*) FROM tail").Scan(&after)
		if before != 1 || after != 1 {
			t.Errorf("a reader saw %d, then %d commits; want 1 both times", before, after)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, id); got != 10 {
		t.Errorf("%d readings, want 10", got)
	}
}

func TestStore_readersCannotWrite(t *testing.T) {
	s, _ := openFresh(t, 0)
	if _, err := s.r.Exec("INSERT INTO setting VALUES ('a', 'b')"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestStore_Append_contextEnds(t *testing.T) {
	s, id := openFresh(t, 0)
	release := holdWriter(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Append(ctx, someReadings(id, 0, 1)) }()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got error %v, want %v", err, context.Canceled)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("waits for the writer although its context has ended")
	}
	release()
	if err := s.Append(ctx, someReadings(id, 0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v, want %v", err, context.Canceled)
	}
	if got := count(t, s, id); got != 0 {
		t.Errorf("%d readings, want none", got)
	}
	if err := s.Append(context.Background(), someReadings(id, 0, 1)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// dyingContext ends after its Err was asked so many times.
type dyingContext struct {
	context.Context
	left atomic.Int64
}

// dyingAfter returns a dyingContext that ends after n questions.
func dyingAfter(n int64) *dyingContext {
	c := &dyingContext{Context: context.Background()}
	c.left.Store(n)
	return c
}

// Err implements context.Context.
func (c *dyingContext) Err() error {
	if c.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// TestStore_Append_cutAnywhere ends the context at each point at which it is
// looked at: all of the batch is there, or nothing of it.
func TestStore_Append_cutAnywhere(t *testing.T) {
	s, id := openFresh(t, 0)
	batch := someReadings(id, 0, 163)
	cuts := 0
	for left := int64(0); ; left++ {
		err := s.Append(dyingAfter(left), batch)
		if err == nil {
			break
		}
		cuts++
		if got := count(t, s, id); !errors.Is(err, context.Canceled) || got != 0 {
			t.Fatalf("cut at %d: %d readings, error %v", left, got, err)
		}
	}
	if got := count(t, s, id); got != len(batch) || cuts < 3 {
		t.Errorf("%d readings after %d cuts, want %d after some", got, cuts, len(batch))
	}
}

// TestStore_DeleteDevice_cutAnywhere cuts deletions as above. The device is
// whole or gone, and Maintain deletes what is left.
func TestStore_DeleteDevice_cutAnywhere(t *testing.T) {
	const rows = 110
	partly := 0
	for left := int64(0); ; left++ {
		s, id := openFresh(t, 0)
		s.chunkMost, s.purge = 20, 2
		if err := s.Append(context.Background(), someReadings(id, 0, rows-10)); err != nil {
			t.Fatal(err)
		}
		if err := s.clearTail(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(context.Background(), someReadings(id, rows-10, 10)); err != nil {
			t.Fatal(err)
		}
		err := s.DeleteDevice(dyingAfter(left), id)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		_, gone := s.Device(context.Background(), id)
		if gone == nil {
			if got := count(t, s, id); got != rows {
				t.Fatalf("cut at %d: it is there with %d readings", left, got)
			}
			continue
		}
		var kept int
		if err := s.r.QueryRow("SELECT count(*) FROM chunk").Scan(&kept); err != nil {
			t.Fatal(err)
		}
		if kept > 0 {
			partly++
		}
		if err := s.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
		var rest, pages int
		if err := s.r.QueryRow(`SELECT (SELECT count(*) FROM chunk) +
			(SELECT count(*) FROM tail) + (SELECT count(*) FROM device)`).Scan(&rest); err != nil || rest != 0 {
			t.Fatalf("cut at %d: %d rows are left, error %v", left, rest, err)
		}
		if err := s.r.QueryRow("PRAGMA freelist_count").Scan(&pages); err != nil || pages != 0 {
			t.Fatalf("cut at %d: %d free pages are left, error %v", left, pages, err)
		}
		if err == nil {
			break
		}
	}
	if partly == 0 {
		t.Error("no cut fell between its transactions")
	}
}

// TestStore_full has SQLite find no room though the disk has some.
func TestStore_full(t *testing.T) {
	s, id := openFresh(t, 100)
	if _, err := s.w.Exec("PRAGMA max_page_count = 1"); err != nil { // as many as there are
		t.Fatal(err)
	}
	err := s.Append(context.Background(), someReadings(id, 100, 20_000))
	if gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Fatalf("got error %v, want it unavailable", err)
	}
	if got := count(t, s, id); got != 100 {
		t.Errorf("%d readings, want 100", got)
	}
	if _, err := s.w.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(context.Background(), someReadings(id, 100, 20_000)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if got := count(t, s, id); got != 20_100 {
		t.Errorf("%d readings, want 20100", got)
	}
}

func TestStore_Check_finds(t *testing.T) {
	s, id := openFresh(t, 3)
	if err := s.Check(context.Background()); err != nil {
		t.Fatalf("of a sound file: %v", err)
	}
	if _, err := s.w.Exec("PRAGMA foreign_keys = OFF"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.w.Exec("DELETE FROM device WHERE id = ?", id); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(context.Background()); err == nil {
		t.Error("readings without a device were not found")
	}
}

func TestStore_Close(t *testing.T) {
	s, id := openFresh(t, 1)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	ctx := context.Background()
	_, found := s.Device(ctx, id)
	for name, err := range map[string]error{
		"append": s.Append(ctx, someReadings(id, 1, 1)),
		"device": found,
		"scan":   s.Scan(ctx, id, 0, 1, nil),
		"check":  s.Check(ctx),
	} {
		if gateway.CodeOf(err) != gateway.CodeUnavailable {
			t.Errorf("%s after closing: %v, want it unavailable", name, err)
		}
	}
}

// TestStore_parallel has many write and read at once.
func TestStore_parallel(t *testing.T) {
	s, id := openFresh(t, 0)
	const writers, batches, size = 8, 10, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				first := (w*batches + b) * size
				if err := s.Append(context.Background(), someReadings(id, first, size)); err != nil {
					t.Error(err)
				}
				if n, err := s.Count(context.Background(), id); err != nil || n%size != 0 {
					t.Errorf("saw %d readings, part of a batch, error %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	if got := count(t, s, id); got != writers*batches*size {
		t.Errorf("%d readings, want %d", got, writers*batches*size)
	}
}

// each returns what calls fn with one reading after the other.
func each(fn func(r gateway.Reading) error) func(rs []gateway.Reading) error {
	return func(rs []gateway.Reading) error {
		for _, r := range rs {
			if err := fn(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// find returns the last reading of a device before at, or the first at or
// after at.
func find(
	s *Store, device gateway.DeviceID, at gateway.Instant, before bool,
) (r gateway.Reading, ok bool, err error) {
	const has = gateway.HasPower | gateway.HasEnergy
	err = s.with(context.Background(), "finding a reading", device, func(x *source) (err error) {
		if before {
			r, ok, err = x.Before(at, math.MinInt64, has)
		} else {
			r, ok, err = x.After(at, math.MaxInt64, has)
		}
		return err
	})
	return r, ok, err
}
