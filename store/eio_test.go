package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// childPersist appends 200 batches of readings of the first device, each until
// it is taken, and prints what became of each try.
func childPersist(path string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n := 0
	for try := 0; n < 200*50 && try < 1000; try++ {
		if err := s.Append(ctx, readingsOf(1, n, 50)); err != nil {
			fmt.Println("failed", gateway.CodeOf(err))
			if try%7 == 0 {
				_ = s.Maintain(ctx) // it may fail just so
			}
			continue
		}
		n += 50
		fmt.Println("stored", n)
	}
	return 0
}

// When the disk fails to write or sync for a while nothing is acknowledged
// meanwhile; afterwards all goes on by itself, and nothing acknowledged is lost.
func TestStore_Append_disksFail(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, inject := range []string{
		"fsync:error=EIO:when=25..40", "fsync,fdatasync:error=EIO:when=3+9",
		"pwrite64:error=ENOSPC:when=120..180", "pwrite64:error=EIO:when=90+31",
	} {
		t.Run(inject, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.db")
			s := openAt(t, path)
			addDevices(t, s, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(inject, ":")
			cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+name, "-e", "inject="+inject, self)
			cmd.Env = append(os.Environ(), childTask+"=persist", childPath+"="+path)
			out, err := cmd.Output()
			if err != nil && len(out) == 0 {
				t.Fatal(err)
			}
			stored, failed := 0, 0
			for line := range strings.Lines(string(out)) {
				if _, err := fmt.Sscanf(line, "stored %d", &stored); err == nil {
					continue
				}
				if strings.TrimSpace(line) != "failed unavailable" {
					t.Fatalf("the child says %q", line)
				}
				failed++
			}
			if failed == 0 || stored != 200*50 {
				t.Errorf("%d readings were stored in the end, %d tries failed", stored, failed)
			}
			s = openAt(t, path)
			got := scanAll(t, s, 1)
			if len(got) < stored {
				t.Fatalf("%d readings, %d were acknowledged", len(got), stored)
			}
			for i, want := range readingsOf(1, 0, stored) {
				if got[i] != want {
					t.Fatalf("reading %d is %v, want %v", i, got[i], want)
				}
			}
			if err := s.Check(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A disk that becomes read-only refuses readings; writable again it takes them.
func TestStore_Append_readOnly(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=40m"); err != nil {
		t.Logf("mounting a disk: %v; TestStore_Append_disksFail has to do", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	// A file that is open for writing keeps a disk from becoming read-only; a
	// second mount of the same files does not.
	view := t.TempDir()
	if err := syscall.Mount(dir, view, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(view, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ctx := context.Background()
	path := filepath.Join(view, "a.db")
	s := openAt(t, path)
	addDevices(t, s, 1)
	if err := s.Append(ctx, readingsOf(1, 0, 100)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", view, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(ctx, store.Config{Path: path})
	wantCode(t, err, gateway.CodeUnavailable, "")
	if err := syscall.Mount("", view, "", syscall.MS_REMOUNT|syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if err := s.Append(ctx, readingsOf(1, 100, 100)); err != nil {
		t.Fatal(err)
	}
	if got := len(scanAll(t, s, 1)); got != 200 {
		t.Errorf("%d readings", got)
	}
}

// Of 200 flipped bits of the file each that changes what is read is told, when
// the file is opened, read or checked; none does harm beyond that.
func TestStore_flipsInFile(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	ctx := context.Background()
	now := (base + 3*24*gateway.Hour).Time()
	open := func(path string) (*store.Store, error) {
		return store.Open(ctx, store.Config{Path: path, Now: func() time.Time { return now }})
	}
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	ids := addDevices(t, s, 2)
	for n := 0; n < 90_000; n += 5000 {
		for _, id := range ids {
			if err := s.Append(ctx, readingsOf(id, n, 5000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, readingsOf(ids[0], 90_000, 300)); err != nil { // stays in the tail
		t.Fatal(err)
	}
	answer := func(s *store.Store) (text string, err error) {
		for _, id := range ids {
			n, sum := 0, gateway.Power(0)
			err := s.Scan(ctx, id, 0, 1<<60, func(rs []gateway.Reading) error {
				for _, r := range rs {
					n++
					sum += r.Power*gateway.Power(n) + gateway.Power(r.Energy) + gateway.Power(r.At)
				}
				return nil
			})
			if err != nil {
				return "", err
			}
			_, days, err := s.Series(ctx, id, base, base+3*24*gateway.Hour, "1h", time.UTC)
			if err != nil {
				return "", err
			}
			text += fmt.Sprintln(id, n, sum, days)
		}
		return text, nil
	}
	want, err := answer(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused, told, same := 0, 0, 0
	for flip := range 200 {
		bit := rnd.IntN(8 * len(sound))
		bad := append([]byte(nil), sound...)
		bad[bit/8] ^= 1 << (bit % 8)
		path := filepath.Join(t.TempDir(), "b.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := open(path)
		if err != nil {
			refused++
			continue
		}
		got, err := answer(s)
		switch {
		case err == nil && got == want:
			same++
		case err != nil, s.Check(ctx) != nil:
			told++
		default:
			t.Errorf("flip %d of bit %d of byte %d changes the answer, and nothing tells", flip, bit%8, bit/8)
		}
		_ = s.Close() // it may fail on such a file
	}
	t.Logf("of 200 flips %d keep the file from opening, %d are told, %d change nothing", refused, told, same)
	if told == 0 || same == 200 {
		t.Error("no flip was told")
	}
}

// A clock that goes back a year, and forward two, loses nothing.
func TestStore_clockSteps(t *testing.T) {
	ctx := context.Background()
	now := (base + 24*gateway.Hour).Time()
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := store.Open(ctx, store.Config{Path: path, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := addDevices(t, s, 1)[0]
	const year = 365 * 24 * time.Hour
	total := 0
	for i, step := range []time.Duration{0, -year, 0, 2 * year, -year, time.Hour, -time.Hour} {
		now = now.Add(step)
		rs := readingsOf(id, 0, 3000)
		for k := range rs { // as a device without a clock: the time of arrival
			rs[k].At = gateway.InstantOf(now) + gateway.Instant(i*3000+k)*10
		}
		total += len(rs)
		if err := s.Append(ctx, rs); err != nil {
			t.Fatal(err)
		}
		if err := s.Maintain(ctx); err != nil {
			t.Fatal(err)
		}
		if got := len(scanAll(t, s, id)); got != total {
			t.Fatalf("%d readings after step %d of the clock, want %d", got, i, total)
		}
		if err := s.Check(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
