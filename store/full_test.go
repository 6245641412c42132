package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// smallDisk mounts a file system of so many MiB, which may be the rest of the
// test's alone; ok is false where that is not allowed.
func smallDisk(t *testing.T, size string) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Logf("mounting a small disk: %v; TestStore_full has to do", err)
		return dir, false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, true
}

// fillDisk writes a file until there is no more room than left bytes.
func fillDisk(t *testing.T, dir string, left int64) (path string) {
	t.Helper()
	path = filepath.Join(dir, "filler")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		room := int64(fs.Bavail)*fs.Bsize - left
		if room <= 0 {
			return path
		}
		if _, err := f.Write(make([]byte, min(room, 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
}

// room reports whether room is kept beside the database at path.
func room(path string) bool {
	info, err := os.Stat(path + ".reserve")
	return err == nil && info.Size() == 8<<20
}

// When the disk is full the room that was kept lets what is there be sealed and
// moved; nothing that was acknowledged is lost, nothing that was not stored is
// acknowledged, and with room again all goes on by itself.
func TestStore_reserve(t *testing.T) {
	dir, ok := smallDisk(t, "40m")
	if !ok {
		return
	}
	ctx := context.Background()
	path := filepath.Join(dir, "a.db")
	now := (base + 40*24*gateway.Hour).Time()
	s, err := store.Open(ctx, store.Config{Path: path, Reserve: 8 << 20, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	id := addDevices(t, s, 1)[0]
	if !room(path) {
		t.Fatal("no room is kept")
	}
	acked := 0
	store := func(n int) error {
		err := s.Append(ctx, readingsOf(id, acked, n))
		if err == nil {
			acked += n
		}
		return err
	}
	if err := store(30_000); err != nil {
		t.Fatal(err)
	}
	filler := fillDisk(t, dir, 64<<10)
	for err = nil; err == nil && acked < 10_000_000; {
		err = store(100)
	}
	wantCode(t, err, gateway.CodeUnavailable, "full")
	select {
	case <-s.NoRoom():
	default:
		t.Error("nobody hears that there is no room")
	}
	if room(path) {
		t.Error("the room is still kept")
	}
	// Sealing, summing up and moving the log into the file have room now.
	if err := s.Maintain(ctx); err != nil {
		t.Errorf("maintaining in the room that was kept: %v", err)
	}
	if room(path) {
		t.Error("room is kept on a full disk")
	}
	// That is used up, too; sealing then fails, and harms nothing.
	fillDisk(t, dir, 64<<10)
	for err = nil; err == nil && acked < 10_000_000; {
		err = store(1000)
	}
	wantCode(t, err, gateway.CodeUnavailable, "full")
	fillDisk(t, dir, 0)
	if err := s.Maintain(ctx); err != nil && gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("maintaining without room: %v", err)
	}
	if _, _, err := s.Compact(ctx); err != nil && gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("compacting without room: %v", err)
	}
	if got := len(scanAll(t, s, id)); got != acked {
		t.Errorf("%d readings, want the %d acknowledged", got, acked)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store(5000), s.Maintain(ctx)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if !room(path) {
		t.Error("no room is kept again")
	}
	if got := len(scanAll(t, s, id)); got != acked {
		t.Errorf("%d readings, want the %d acknowledged", got, acked)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}
