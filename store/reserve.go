package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// reserveBytes is the size of the reserve. The disk has to have as much beyond
// it when the reserve is filled.
const reserveBytes = 8 << 20

// reserveSuffix makes the name of the reserve from that of the database.
const reserveSuffix = ".reserve"

// errNoRoom says that the disk has no room for the reserve.
var errNoRoom = errors.New("there is no room for the reserve")

// reserve is a file beside the database that keeps room on the disk for the
// day on which it is full: when a write finds no room the file is emptied, so
// that readings can be packed and thinned, changes be made and the log be
// moved into the file. Readings are not taken until the reserve is full again:
// they would use it up. An empty file says that it was given away; a disk
// without room for it at first has none. It is safe for concurrent use.
type reserve struct {
	path  string
	mu    sync.Mutex  // held while the file changes
	given atomic.Bool // it is empty
}

// fill makes the reserve whole, or returns errNoRoom if the disk has not twice
// as much room.
func (r *reserve) fill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err == nil && info.Size() == reserveBytes {
		r.given.Store(false)
		return nil
	}
	if err != nil && !missing {
		return err
	}
	r.given.Store(!missing)
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(r.path), &disk); err != nil {
		return err
	}
	if disk.Bavail*uint64(disk.Bsize) < 2*reserveBytes {
		return errNoRoom
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(allocate(f), f.Close()); err == nil {
		r.given.Store(false)
		return nil
	}
	if missing { // it stays so
		return errors.Join(err, os.Remove(r.path))
	}
	return errors.Join(err, os.Truncate(r.path, 0))
}

// allocate gives a file reserveBytes on the disk, by writing where the file
// system cannot do it otherwise.
func allocate(f *os.File) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, reserveBytes)
	if !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.ENOSYS) {
		return err
	}
	zeros := make([]byte, 64<<10)
	for at := int64(0); at < reserveBytes; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// give empties the reserve, and reports whether there was anything in it.
func (r *reserve) give() (given bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return false, nil
	}
	if err == nil {
		err = os.Truncate(r.path, 0)
	}
	if err == nil {
		r.given.Store(true)
	}
	return err == nil, err
}

// room returns why readings are not taken: the reserve was given away, and
// there is no room to fill it again.
func (r *reserve) room() error {
	if !r.given.Load() {
		return nil
	}
	if err := r.fill(); err != nil {
		return unavailablef(err, "the disk is full; make %d MiB of room on it", 2*reserveBytes>>20)
	}
	return nil
}

// isFull reports whether err says that the disk is full.
func isFull(err error) bool {
	code := resultCode(err)
	return code&0xff == sqlite3.SQLITE_FULL || code == sqlite3.SQLITE_IOERR_SHMSIZE ||
		errors.Is(err, syscall.ENOSPC)
}

// fillReserve fills the reserve if there is room.
func (s *Store) fillReserve(ctx context.Context) error {
	given := s.reserve.given.Load()
	err := s.reserve.fill()
	if errors.Is(err, errNoRoom) || isFull(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keeping a reserve on the disk: %w", err)
	}
	if given {
		s.log.InfoContext(ctx, "the disk has room again")
	}
	return nil
}

// giveReserve gives the reserve away if err says that the disk is full.
func (s *Store) giveReserve(ctx context.Context, err error) {
	if !isFull(err) {
		return
	}
	given, failed := s.reserve.give()
	if failed != nil {
		s.log.ErrorContext(ctx, "giving the reserve away", "error", failed)
	}
	if given {
		s.log.ErrorContext(ctx, "the disk is full: no readings are taken until there is room",
			"error", err, "reserve", s.reserve.path)
	}
}
