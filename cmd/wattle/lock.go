package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Names in the data directory.
const (
	databaseName = "wattle.db"
	lockName     = "wattle.lock"
)

// dirLock keeps a second program away from the data directory. The kernel
// lets it go when the process ends, however that happens.
type dirLock struct{ file *os.File }

// lockDir makes the data directory if it is missing and locks it.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_ = f.Truncate(0) // the number is a courtesy to whoever is refused
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
		return &dirLock{f}, nil
	}
	defer f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder := make([]byte, 20)
		n, _ := f.ReadAt(holder, 0)
		return nil, fmt.Errorf("the data directory %s is in use by another wattle (process %s); "+
			"stop it first",
			dir, holder[:n])
	}
	return nil, fmt.Errorf("locking the data directory %s: %w", dir, err)
}

// release lets the directory go.
func (l *dirLock) release() error { return l.file.Close() }
