package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/wattle-home/wattle/gateway"
)

// applicationID marks a file as ours: "watl".
const applicationID = 0x7761746c

// magic begins every SQLite file that is not empty.
const magic = "SQLite format 3\x00"

// prepareFile sees to it that path is a file that can be read and written by
// its owner alone, in a directory that takes further files, and reports
// whether there is nothing in it yet. It does not change what is in it.
func prepareFile(path string) (fresh bool, err error) {
	dir := filepath.Dir(path)
	if err := checkDir(dir); err != nil {
		return false, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return false, unavailablef(err, "no right to read and write it; give it to the user "+
			"that runs wattle")
	case err != nil:
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return false, err
	case !info.Mode().IsRegular():
		return false, gateway.Invalidf("not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		if err := f.Chmod(0o600); err != nil {
			return false, err
		}
	}
	if info.Size() == 0 {
		return true, nil
	}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != magic {
		return false, gateway.Invalidf("not a database of wattle; move it away")
	}
	return false, nil
}

// checkDir returns an error that says what is wrong with the directory dir.
// SQLite needs to make files beside its own.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gateway.Invalidf("directory %q does not exist; make it", dir)
	case err != nil:
		return unavailablef(err, "directory %q cannot be read", dir)
	case !info.IsDir():
		return gateway.Invalidf("%q is not a directory", dir)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return unavailablef(err, "directory %q takes no files; check its rights, and that "+
			"the disk is writable and not full", dir)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// inspect reads whose file it is, and of which version, without being able to
// write to it. It refuses one that is not ours or newer than known.
func inspect(ctx context.Context, path string, known int) error {
	err := inspectAs(ctx, path, "mode=ro", known)
	// Who makes a file, and was cut, leaves a journal that is to be rolled back.
	if resultCode(err) == sqlite3.SQLITE_READONLY_ROLLBACK {
		err = inspectAs(ctx, path, "mode=rw", known)
	}
	return err
}

// inspectAs is inspect with a mode of opening.
func inspectAs(ctx context.Context, path, mode string, known int) (err error) {
	db := openDB(path, mode, []string{"PRAGMA busy_timeout = 5000"})
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	var id, version int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	var tables int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if id != applicationID && (tables > 0 || version > 0 || id != 0) {
		return gateway.Invalidf("a database of another program; move it away")
	}
	if version > known {
		return gateway.Invalidf("its version %d is newer than version %d, the newest that this "+
			"wattle knows; use the newer wattle, or restore a backup of the older one; "+
			"nothing was changed", version, known)
	}
	return nil
}

// writerPragmas are what the writer's connection begins with, in order. A file
// takes its page size and kind of vacuum only before anything is in it. Small
// pages, because a batch of readings touches one page of each device; caches
// are small, because the whole gateway is to live in a few tens of megabytes.
func writerPragmas(fresh bool) []string {
	p := []string{"PRAGMA busy_timeout = 5000"}
	if fresh {
		p = append(p, "PRAGMA page_size = 1024", "PRAGMA auto_vacuum = INCREMENTAL")
	}
	return append(p,
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"PRAGMA foreign_keys = ON",
		"PRAGMA trusted_schema = OFF",
		"PRAGMA cache_size = -2048",            // KiB
		"PRAGMA wal_autocheckpoint = 4096",     // pages
		"PRAGMA journal_size_limit = 16777216", // bytes
	)
}

// readerPragmas are what a reader's connection begins with, in order.
func readerPragmas() []string {
	return []string{
		"PRAGMA busy_timeout = 5000",
		"PRAGMA query_only = ON",
		"PRAGMA trusted_schema = OFF",
		"PRAGMA cache_size = -512", // KiB
	}
}

// openDB returns a pool of connections to the file at path, each of which
// begins with pragmas. Nothing is opened yet. The caller closes it.
func openDB(path, params string, pragmas []string) *sql.DB {
	// The driver cuts the name at the first question mark, and SQLite decodes
	// what is escaped.
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath()
	if params != "" {
		dsn += "?" + params
	}
	return sql.OpenDB(&connector{dsn: dsn, pragmas: pragmas})
}

// connector opens connections that begin with pragmas. The driver could do so
// itself, but in an order of its own.
type connector struct {
	dsn     string
	pragmas []string
}

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	base, err := sqlite.NewConnector(c.dsn)
	if err != nil {
		return nil, err
	}
	conn, err := base.Connect(ctx)
	if err != nil {
		return nil, err
	}
	exec, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot execute"), conn.Close())
	}
	for _, p := range c.pragmas {
		if _, err := exec.ExecContext(ctx, p, nil); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", p, err), conn.Close())
		}
	}
	return conn, nil
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return &sqlite.Driver{} }

// sizeOf returns the size of the file at path, 0 if that cannot be told.
func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
