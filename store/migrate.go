package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema.
type migration struct {
	name string // of its file
	sql  string
}

// migrationName is NNNN_name.sql.
var migrationName = regexp.MustCompile(`^(\d{4})_[a-z_]+\.sql$`)

// loadMigrations returns the steps in files in order. They count from 1
// without gaps, so that the length is the newest version.
func loadMigrations(files fs.FS) ([]migration, error) {
	entries, err := fs.ReadDir(files, "migrations") // sorted by name
	if err != nil {
		return nil, err
	}
	var steps []migration
	for _, e := range entries {
		m := migrationName.FindStringSubmatch(e.Name())
		if m == nil {
			return nil, fmt.Errorf("migration %q: want a name like 0001_name.sql", e.Name())
		}
		if n, err := strconv.Atoi(m[1]); err != nil || n != len(steps)+1 {
			return nil, fmt.Errorf("migration %q: want number %d", e.Name(), len(steps)+1)
		}
		text, err := fs.ReadFile(files, "migrations/"+e.Name())
		if err != nil {
			return nil, err
		}
		steps = append(steps, migration{name: e.Name(), sql: string(text)})
	}
	return steps, nil
}

// migrate runs the steps that the file has not seen, each in a transaction. A
// file with data is copied first, to its name with the old version appended.
func (s *Store) migrate(ctx context.Context, steps []migration) error {
	var version int
	if err := s.w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version == len(steps) {
		return nil
	}
	if version > 0 {
		if err := s.saveBefore(ctx, version); err != nil {
			return fmt.Errorf("saving a copy before the migration: %w", err)
		}
	}
	for ; version < len(steps); version++ {
		step := steps[version]
		err := s.write(ctx, "running migration "+step.name, func(tx *sql.Tx) error {
			if _, err := tx.Exec(step.sql); err != nil {
				return err
			}
			_, err := tx.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d",
				applicationID, version+1))
			return err
		})
		if err != nil {
			return err
		}
		s.log.InfoContext(ctx, "database migrated", "version", version+1, "step", step.name)
	}
	return nil
}

// saveBefore copies the file to PATH.vVERSION. A copy that an earlier attempt
// left is replaced once the new one is complete.
func (s *Store) saveBefore(ctx context.Context, version int) error {
	path := fmt.Sprintf("%s.v%d", s.cfg.Path, version)
	part := path + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.vacuumInto(ctx, part); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	s.log.InfoContext(ctx, "database copied before its migration", "path", path)
	return syncDir(path)
}
