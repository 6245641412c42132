package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Limits that hold unless Config says otherwise.
const (
	defaultMaxEvents   = 100_000
	defaultMaxCommands = 10_000
)

// readers is how many read at once; a further one waits.
const readers = 4

// purgeChunks is how many chunks of a deleted device go in one transaction, so
// that other writers need not wait long.
const purgeChunks = 200

// Config is what a Store is opened with.
type Config struct {
	Path   string           // the file; its directory must exist
	Logger *slog.Logger     // nil for none
	Now    func() time.Time // stamps what is made; nil for time.Now
	Zone   *time.Location   // of the days that are summed up; nil for the one before, or UTC

	Retention Retention

	MaxEvents   int // events kept, the newest; 0 for 100,000
	MaxCommands int // commands kept, the newest; 0 for 10,000
}

// Store is an open database file. The zero value is not ready: use Open.
type Store struct {
	cfg    Config
	log    *slog.Logger
	turn   chan struct{} // holds one value; who took it may write
	w      *sql.DB       // one connection
	r      *sql.DB       // up to readers connections
	closed atomic.Bool

	tail     tail
	rolled   rolled
	running  running
	sealing  chan struct{} // holds one value; who took it may seal
	packers  sync.Pool     // of *packer
	stuck    atomic.Bool   // sealing failed, and the log says so
	suspects sync.Map      // chunks that readers found damaged: id to device

	badRollups sync.Map // the same for rollups

	reserve reserve

	tailMost  int // tailMost, fewer in tests
	chunkMost int // chunkMost, fewer in tests
	purge     int // purgeChunks, fewer in tests

	appendRow *sql.Stmt // on w

	hot map[string]*sql.Stmt // on r, by their text

	// Devices that were found there. It belongs to who may write.
	there map[gateway.DeviceID]bool
}

// Open opens the file at cfg.Path, makes it if it is missing, and brings its
// schema up to date after saving a copy beside it. A file that another or a
// newer program wrote is refused and left as it is. The caller closes the
// Store; ctx bounds opening alone.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg, migrationFiles)
	if isFull(err) {
		r := reserve{path: cfg.Path + reserveSuffix}
		if given, _ := r.give(); given { // if not, err says enough
			s, err = open(ctx, cfg, migrationFiles)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := s.reserve.fill(); err != nil {
		s.log.WarnContext(ctx, "no reserve is kept on the disk", "error", err)
	}
	return s, nil
}

// open is Open with the migrations in files.
func open(ctx context.Context, cfg Config, files fs.FS) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("opening database %q: %w", cfg.Path, classify(err))
		}
	}()
	if cfg.Path == "" {
		return nil, gateway.Invalidf("no path is given")
	}
	// Whatever directory the process goes to later, it is this file; and two
	// leading slashes, which a URI would take for a host, are gone.
	if cfg.Path, err = filepath.Abs(cfg.Path); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	steps, err := loadMigrations(files)
	if err != nil {
		return nil, err
	}
	fresh, err := prepareFile(cfg.Path)
	if err != nil {
		return nil, err
	}
	if !fresh {
		if err := inspect(ctx, cfg.Path, len(steps)); err != nil {
			return nil, err
		}
		// Of one whose making was cut nothing may be left.
		if fresh, err = prepareFile(cfg.Path); err != nil {
			return nil, err
		}
	}
	s := &Store{
		cfg: cfg, log: cfg.Logger, turn: make(chan struct{}, 1), sealing: make(chan struct{}, 1),
		tail: tail{first: 1}, there: map[gateway.DeviceID]bool{},
		tailMost: tailMost, chunkMost: chunkMost, purge: purgeChunks,
	}
	s.reserve.path = cfg.Path + reserveSuffix
	s.turn <- struct{}{}
	s.sealing <- struct{}{}
	s.w = openDB(cfg.Path, "_txlock=immediate", writerPragmas(fresh))
	s.w.SetMaxOpenConns(1)
	s.r = openDB(cfg.Path, "", readerPragmas())
	s.r.SetMaxOpenConns(readers)
	s.r.SetMaxIdleConns(readers)
	s.r.SetConnMaxIdleTime(5 * time.Minute)
	err = s.migrate(ctx, steps)
	if err == nil {
		err = s.openReadings(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.r.Close(), s.w.Close())
	}
	return s, nil
}

// withDefaults returns c with what it leaves open filled in.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxEvents == 0 {
		c.MaxEvents = defaultMaxEvents
	}
	if c.MaxCommands == 0 {
		c.MaxCommands = defaultMaxCommands
	}
	return c
}

// Close waits for the running transaction, moves the write-ahead log into the
// file and closes it. Methods called later fail with CodeUnavailable. A second
// Close does nothing.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	// The log is read at the next start if it cannot be emptied now, so that a
	// failure costs nothing but is told.
	_, err := s.w.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	err = errors.Join(err, s.r.Close(), s.w.Close())
	if err != nil {
		return fmt.Errorf("closing database %q: %w", s.cfg.Path, err)
	}
	return nil
}

// write runs fn in a transaction of the writer and commits it. What fn returns
// rolls back. Doing names it all in errors. It waits for its turn until ctx
// ends; after that ctx is looked at once more before the commit.
func (s *Store) write(ctx context.Context, doing string, fn func(tx *sql.Tx) error) error {
	return s.writeThen(ctx, doing, fn, nil)
}

// writeThen is write, and calls then, if it is not nil, after the commit and
// before anybody else gets the turn.
func (s *Store) writeThen(
	ctx context.Context, doing string, fn func(tx *sql.Tx) error, then func(),
) error {
	return s.inTurn(ctx, doing, func() error {
		err := s.transact(ctx, fn)
		if err == nil && then != nil {
			then()
		}
		return err
	})
}

// inTurn waits for the writer until ctx ends, and runs fn while nobody else
// has it. Should the disk be full it gives the reserve away.
func (s *Store) inTurn(ctx context.Context, doing string, fn func() error) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return s.wrap(doing, ctx.Err())
	}
	defer func() { s.turn <- struct{}{} }()
	err := fn()
	s.giveReserve(ctx, err)
	return s.wrap(doing, err)
}

// transact is write for a caller whose turn it is.
func (s *Store) transact(ctx context.Context, fn func(tx *sql.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	// The driver would give up the connection of a transaction whose context
	// ends, and leave open whether its commit took place.
	tx, err := s.w.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return err
	}
	defer func() {
		// SQLite itself rolls back after some failures; then there is nothing
		// left to do and the error of this says so.
		_ = tx.Rollback()
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return tx.Commit()
}

// read runs fn in a read transaction, in which every statement sees the same
// state.
func (s *Store) read(ctx context.Context, doing string, fn func(tx *sql.Tx) error) error {
	tx, err := s.r.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s.wrap(doing, err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return s.wrap(doing, fn(tx))
}

// querier is what reads: a reader's or the writer's transaction, or the
// readers' pool.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// collect runs query and returns what scan makes of each row, nil for none.
func collect[T any](
	ctx context.Context, q querier, scan func(row scanner) (T, error), query string, args ...any,
) (_ []T, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// scanner is a row whose columns can be read.
type scanner interface {
	Scan(dest ...any) error
}
