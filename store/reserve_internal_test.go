package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// openOn opens the store on a disk, with a clock that stands n days after the
// readings begin. It is closed when the test ends.
func openOn(t *testing.T, dir string, days int) *Store {
	t.Helper()
	s, err := Open(context.Background(), Config{
		Path: filepath.Join(dir, "a.db"),
		Now:  func() time.Time { return (start + gateway.Instant(days)*day).Time() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // the test itself closes it, where it matters
	return s
}

// withReadings adds a device with n readings, one a second.
func withReadings(t *testing.T, s *Store, n int) gateway.DeviceID {
	t.Helper()
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "lamp"})
	if err == nil {
		err = s.Append(context.Background(), someReadings(d.ID, 0, n))
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.ID
}

// refused fails the test if err does not say that the disk does not do its part.
func refused(t *testing.T, err error, what string) {
	t.Helper()
	if err == nil || gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Fatalf("%s on a full disk: %v, want it unavailable", what, err)
	}
}

// reserved returns how large the reserve is, -1 if there is none.
func reserved(s *Store) int64 {
	info, err := os.Stat(s.reserve.path)
	if err != nil {
		return -1
	}
	return info.Size()
}

// freeOn returns how much room a disk has.
func freeOn(t *testing.T, dir string) uint64 {
	t.Helper()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	return disk.Bavail * uint64(disk.Bsize)
}

// A full disk refuses readings and leaves the reserve to what makes room, over
// a restart, too. With room again all goes on by itself.
func TestStore_reserve(t *testing.T) {
	dir, ok := SmallDisk(t, "40m")
	if !ok {
		return
	}
	ctx := context.Background()
	s := openOn(t, dir, 3)
	if got, free := reserved(s), freeOn(t, dir); got != reserveBytes || free > 32<<20 {
		t.Fatalf("the reserve has %d bytes, %d are free", got, free)
	}
	acked := 40_000
	id := withReadings(t, s, acked)
	empty := fillDisk(t, dir, 0)
	var err error
	for err == nil && acked < 1_000_000 {
		if err = s.Append(ctx, someReadings(id, acked, 5000)); err == nil {
			acked += 5000
		}
	}
	refused(t, err, "appending")
	if got := reserved(s); got != 0 {
		t.Fatalf("the reserve still has %d bytes", got)
	}
	for range 2 {
		free := freeOn(t, dir)
		for range 100 {
			refused(t, s.Append(ctx, someReadings(id, acked, 100)), "appending again")
		}
		if now := freeOn(t, dir); now != free || free < reserveBytes/2 {
			t.Fatalf("refused readings took %d of %d bytes", free-now, free)
		}
		if err := s.SetSetting(ctx, "told", "yes"); err != nil {
			t.Errorf("what a person changes is not kept: %v", err)
		}
		if err := s.Maintain(ctx); err != nil {
			t.Fatalf("making room: %v", err)
		}
		if n := s.tail.size(); n != 0 {
			t.Errorf("%d readings are not sealed", n)
		}
		if got := count(t, s, id); got != acked {
			t.Fatalf("%d readings, want the %d acknowledged", got, acked)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openOn(t, dir, 3)
	}
	empty()
	if err := s.Append(ctx, someReadings(id, acked, 100)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if got := reserved(s); got != reserveBytes {
		t.Errorf("with room again the reserve has %d bytes", got)
	}
	if got := count(t, s, id); got != acked+100 {
		t.Errorf("%d readings, want %d", got, acked+100)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// Maintain fills the reserve of a disk that had no room for it, and one that
// was given away.
func TestStore_Maintain_fillsReserve(t *testing.T) {
	dir, ok := SmallDisk(t, "40m")
	if !ok {
		return
	}
	empty := fillDisk(t, dir, 2*reserveBytes-4096)
	s := openOn(t, dir, 3)
	if got := reserved(s); got != -1 {
		t.Fatalf("without room the reserve has %d bytes", got)
	}
	withReadings(t, s, 10) // it is not missed
	for _, prepare := range []func(){empty, func() {
		if given, err := s.reserve.give(); err != nil || !given || reserved(s) != 0 {
			t.Fatal(given, err, reserved(s))
		}
	}} {
		prepare()
		if err := s.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := reserved(s); got != reserveBytes || s.reserve.room() != nil {
			t.Errorf("the reserve has %d bytes", got)
		}
	}
}

// On a full disk the gateway starts nevertheless: the reserve makes room.
func TestOpen_diskFull(t *testing.T) {
	dir, ok := SmallDisk(t, "40m")
	if !ok {
		return
	}
	s := openOn(t, dir, 3)
	id := withReadings(t, s, 10_000)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		spoil func() error
		want  int64
	}{
		{"with a reserve", func() error { return nil }, 0},
		{"without one", func() error { return os.Remove(s.reserve.path) }, -1},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		empty := fillDisk(t, dir, 0)
		opened, err := Open(context.Background(), Config{Path: s.cfg.Path})
		if c.want < 0 {
			refused(t, err, "opening")
		} else {
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if got := count(t, opened, id); got != 10_000 || reserved(s) != c.want {
				t.Errorf("%s: %d readings, %d bytes in the reserve", c.name, got, reserved(s))
			}
			if err := opened.Close(); err != nil {
				t.Fatal(err)
			}
		}
		empty()
	}
	s = openOn(t, dir, 3)
	if got := count(t, s, id); got != 10_000 || reserved(s) != reserveBytes {
		t.Errorf("with room again %d readings, %d bytes in the reserve", got, reserved(s))
	}
}

// The disk becomes full at any point of a commit, a sealing and a checkpoint:
// nothing acknowledged is lost, nothing else is there, and with room the same
// succeeds.
func TestStore_diskFull_anywhere(t *testing.T) {
	dir, ok := SmallDisk(t, "6m") // too small for a reserve
	if !ok {
		return
	}
	ctx := context.Background()
	const before, more = 20_000, 20_000
	for name, do := range map[string]func(s *Store, id gateway.DeviceID) (added int, err error){
		"commit": func(s *Store, id gateway.DeviceID) (int, error) {
			return more, s.Append(ctx, someReadings(id, before, more))
		},
		"sealing":    func(s *Store, _ gateway.DeviceID) (int, error) { return 0, s.Maintain(ctx) },
		"checkpoint": func(s *Store, _ gateway.DeviceID) (int, error) { return 0, s.emptyLog(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			failed, points := 0, 0
			for room := int64(0); failed == points; room += 8192 {
				points++
				if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				own := filepath.Join(dir, name, fmt.Sprint(room))
				if err := os.MkdirAll(own, 0o700); err != nil {
					t.Fatal(err)
				}
				s := openOn(t, own, 3)
				id := withReadings(t, s, before)
				empty := fillDisk(t, own, room)
				_, err := do(s, id)
				want := before
				if err != nil {
					failed++
					refused(t, err, name)
				} else if name == "commit" {
					want += more
				}
				if got := count(t, s, id); got != want {
					t.Fatalf("%d bytes of room: %d readings, want %d", room, got, want)
				}
				empty()
				if n, err := do(s, id); err != nil {
					t.Fatalf("%d bytes of room, then enough: %v", room, err)
				} else if got := count(t, s, id); got != before+n {
					t.Fatalf("%d bytes of room, then enough: %d readings", room, got)
				}
				if err := s.Check(ctx); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if failed < 3 {
				t.Errorf("it failed at %d points alone", failed)
			}
		})
	}
}
