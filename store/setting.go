package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Setting returns the value kept under key, and whether there is one.
func (s *Store) Setting(ctx context.Context, key string) (value string, ok bool, err error) {
	err = s.r.QueryRowContext(ctx, `SELECT value FROM setting WHERE key = ?`, key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, s.wrap(fmt.Sprintf("reading setting %q", key), err)
	}
	return value, true, nil
}

// SetSetting keeps value under key, in place of an older one.
func (s *Store) SetSetting(ctx context.Context, key, value string) error {
	return s.write(ctx, fmt.Sprintf("setting %q", key), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO setting (key, value) VALUES (?,?)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
		return err
	})
}
