package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wattle-home/wattle/gateway"
)

// SaveCommand keeps a command, in place of what was kept under its id. The
// oldest beyond Config.MaxCommands are dropped.
func (s *Store) SaveCommand(ctx context.Context, c gateway.Command) error {
	if c.ID == "" {
		return gateway.Invalidf("a command needs an id")
	}
	source, err := toText(c.Source)
	if err != nil {
		return err
	}
	return s.write(ctx, fmt.Sprintf("saving command %q", c.ID), func(tx *sql.Tx) error {
		// No upsert, as that would leave holes in seq.
		res, err := tx.Exec(`UPDATE command SET device_id = ?, action = ?, power_state = ?,
			urgent = ?, source = ?, status = ?, tries = ?, created_ms = ?, updated_ms = ?,
			reason = ? WHERE id = ?`, c.Device, c.Action, c.PowerState.String(), c.Urgent, source,
			c.Status, c.Tries, c.Created, c.Updated, c.Reason, c.ID)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return s.insertCommand(ctx, tx, c, source)
	})
}

// insertCommand adds a command that is not there yet.
func (s *Store) insertCommand(
	ctx context.Context, tx *sql.Tx, c gateway.Command, source string,
) error {
	if err := deviceThere(ctx, tx, c.Device); err != nil {
		return err
	}
	res, err := tx.Exec(`INSERT INTO command (id, device_id, action, power_state, urgent, source,
		status, tries, created_ms, updated_ms, reason) VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
		c.ID, c.Device, c.Action, c.PowerState.String(), c.Urgent, source, c.Status, c.Tries,
		c.Created, c.Updated, c.Reason)
	if err != nil {
		return err
	}
	seq, err := res.LastInsertId()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`DELETE FROM command WHERE seq <= ?`, seq-int64(s.cfg.MaxCommands))
	return err
}

// ExpireCommands ends the commands that a former run of the gateway left under
// way: nobody waits for them any more.
func (s *Store) ExpireCommands(ctx context.Context, now gateway.Instant) error {
	return s.write(ctx, "ending old commands", func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE command
			SET status = ?, reason = 'the gateway was stopped meanwhile', updated_ms = ?
			WHERE status IN (?, ?)`,
			gateway.CommandExpired, now, gateway.CommandQueued, gateway.CommandSent)
		return err
	})
}

// Command returns the command with the id.
func (s *Store) Command(ctx context.Context, id string) (gateway.Command, error) {
	c, err := scanCommand(s.r.QueryRowContext(ctx, `SELECT id, device_id, action, power_state,
		urgent, source, status, tries, created_ms, updated_ms, reason FROM command WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = gateway.NotFoundf("there is no command %q", id)
	}
	return c, s.wrap("reading a command", err)
}

// scanCommand reads the columns that Command selects.
func scanCommand(row scanner) (c gateway.Command, err error) {
	var source, state string
	err = row.Scan(&c.ID, &c.Device, &c.Action, &state, &c.Urgent, &source, &c.Status, &c.Tries,
		&c.Created, &c.Updated, &c.Reason)
	if err != nil {
		return gateway.Command{}, err
	}
	if err := c.PowerState.UnmarshalText([]byte(state)); err != nil {
		return gateway.Command{}, fmt.Errorf("command %q: %w", c.ID, err)
	}
	if err := json.Unmarshal([]byte(source), &c.Source); err != nil {
		return gateway.Command{}, fmt.Errorf("source of command %q: %w", c.ID, err)
	}
	return c, nil
}
