package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/wattle-home/wattle/gateway"
)

// Problems are what Check found wrong with a file.
type Problems []error

// Error implements error.
func (p Problems) Error() string { return errors.Join(p...).Error() }

// Unwrap returns them one by one.
func (p Problems) Unwrap() []error { return p }

// Check reads the whole file and returns what is inconsistent in it as an error
// that wraps Problems. It finds broken structure, dangling references, changed
// readings and rollups that are not what the readings make; another changed
// value it may not notice. Writers go on meanwhile.
func (s *Store) Check(ctx context.Context) error {
	const doing = "checking the database"
	problems, err := collect(ctx, s.r, func(row scanner) (string, error) {
		var p string
		err := row.Scan(&p)
		return p, err
	}, "PRAGMA integrity_check(20)")
	if err != nil {
		return s.wrap(doing, err)
	}
	var errs []error
	for _, p := range problems {
		if p != "ok" {
			errs = append(errs, errors.New(p))
		}
	}
	dangling, err := collect(ctx, s.r, func(row scanner) (error, error) {
		var table, parent string
		var id, key any
		if err := row.Scan(&table, &id, &parent, &key); err != nil {
			return nil, err
		}
		return fmt.Errorf("table %s: row %v names a row of table %s that is missing",
			table, id, parent), nil
	}, "SELECT * FROM pragma_foreign_key_check LIMIT 20")
	if err != nil {
		return s.wrap(doing, err)
	}
	readings, err := s.checkReadings(ctx)
	if err != nil {
		return s.wrap(doing, err)
	}
	rollups, err := s.checkRollups(ctx)
	if err != nil {
		return s.wrap(doing, err)
	}
	if errs = slices.Concat(errs, dangling, readings, rollups); len(errs) > 0 {
		return fmt.Errorf("%s: %w", doing, Problems(errs))
	}
	return nil
}

// Backup writes a copy of the last committed state to a new file at path,
// which only its owner may read, and waits until it is on the disk. An
// existing file is refused with CodeConflict. Writers go on meanwhile; if ctx
// ends nothing is left behind.
func (s *Store) Backup(ctx context.Context, path string) error {
	return s.wrap(fmt.Sprintf("backing up to %q", path), s.vacuumInto(ctx, path))
}

// vacuumInto is Backup; its errors do not name what was being done.
func (s *Store) vacuumInto(ctx context.Context, path string) (err error) {
	// SQLite would take a name that begins with "file:" for a URI.
	path, err = filepath.Abs(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return gateway.Conflictf("file %q exists already; name a new one", path)
	}
	if err != nil {
		return unavailablef(err, "the file cannot be made")
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	// A connection of its own: the copy takes long, and a reader that may only
	// query cannot fill a file.
	db := openDB(s.cfg.Path, "mode=ro", []string{"PRAGMA busy_timeout = 5000"})
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", path)
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return syncDir(path)
}

// syncDir waits until the name of the file at path is on the disk.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
