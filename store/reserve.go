package store

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
	sqlite3 "modernc.org/sqlite/lib"
)

// reserveSuffix is what the file of kept room is called beside the database.
const reserveSuffix = ".reserve"

// fillReserve takes Config.Reserve bytes of the disk for the day when there are
// no others. It leaves as much to others; if there is less it waits.
func (s *Store) fillReserve(ctx context.Context) {
	path, size := s.cfg.Path+reserveSuffix, s.cfg.Reserve
	if size == 0 || sizeOf(path) == size {
		return
	}
	var fs unix.Statfs_t
	err := unix.Statfs(s.cfg.Path, &fs)
	if err == nil && fs.Bsize > 0 && int64(fs.Bavail) < 2*size/fs.Bsize {
		return
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
		if errors.Is(err, unix.EOPNOTSUPP) {
			_, err = f.Write(make([]byte, size)) // room that is written is there, too
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.log.WarnContext(ctx, "no room is kept for a full disk", "error", err)
		_ = os.Remove(path) // what is there of it keeps no room
	}
}

// full hears how a transaction ended. If the disk is full it gives the kept
// room back, so that what is there can be sealed, thinned and moved into the
// file, and wakes who looks after that.
func (s *Store) full(err error) {
	if err == nil || resultCode(err)&0xff != sqlite3.SQLITE_FULL && !errors.Is(err, unix.ENOSPC) {
		return
	}
	if os.Remove(s.cfg.Path+reserveSuffix) == nil {
		s.log.Error("the disk is full: the room that was kept is in use now; make room")
	}
	select {
	case s.noRoom <- struct{}{}:
	default:
	}
}

// NoRoom tells when a write found the disk full: then Maintain is to be called,
// which thins what is too much, if anything is.
func (s *Store) NoRoom() <-chan struct{} { return s.noRoom }
