package store

import (
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wattle-home/wattle/gateway"
)

// resultCode returns SQLite's extended result code in err's chain, or 0.
func resultCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// isUnique reports whether err says that a unique value is taken.
func isUnique(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return true
	}
	return false
}

// unavailable says for people why the disk does not do its part, or returns
// "" if err is of another kind.
func unavailable(err error) string {
	switch resultCode(err) & 0xff {
	case sqlite3.SQLITE_FULL:
		return "the disk is full; make room"
	case sqlite3.SQLITE_IOERR:
		return "the disk does not read or write; check it, and whether it is full"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		return "the database is read-only; check the rights of the file and its directory, " +
			"and how the disk is mounted"
	case sqlite3.SQLITE_CANTOPEN:
		return "the database file cannot be opened; check that it is there and its rights"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return "the database is in use by another program"
	case sqlite3.SQLITE_NOMEM:
		return "out of memory"
	}
	return ""
}

// wrap adds to err what was being done and gives it a code. A *gateway.Error
// names that already and is returned as it is, as is nil.
func (s *Store) wrap(doing string, err error) error {
	var known *gateway.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	if s.closed.Load() {
		err = unavailablef(err, "the store is closed")
	}
	return fmt.Errorf("%s: %w", doing, classify(err))
}

// classify gives a CodeUnavailable to what SQLite says of a disk that does not
// do its part. Other errors, nil too, are returned as they are.
func classify(err error) error {
	var known *gateway.Error
	if why := unavailable(err); why != "" && !errors.As(err, &known) {
		return unavailablef(err, "%s", why)
	}
	return err
}

// unavailablef returns an error with CodeUnavailable that wraps err.
func unavailablef(err error, format string, args ...any) error {
	e := gateway.Unavailablef(format, args...)
	e.Err = err
	return e
}

// oneRow returns an error if res did not change exactly the row that missing
// describes.
func oneRow(res sql.Result, missing *gateway.Error) error {
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return missing
	}
	return nil
}
