package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// selectDevice reads the columns that scanDevice takes.
const selectDevice = `SELECT id, uuid, alias, description, dialect, topic, role,
	coalesce(parent_id, 0), room, icon, tags, coalesce(member_id, 0), schedule, relay,
	created_ms, version FROM device WHERE deleted_ms IS NULL `

// AddDevice adds d and returns it with its ID, its UUID if it had none, its
// time of creation and version 1. An alias (whatever its case), a topic of the
// dialect or a UUID that another device has is a CodeConflict that names it.
func (s *Store) AddDevice(ctx context.Context, d gateway.Device) (gateway.Device, error) {
	d.Created, d.Version = gateway.InstantOf(s.cfg.Now()), 1
	if d.UUID == "" {
		d.UUID = newUUID()
	}
	if d.Role == "" {
		d.Role = gateway.RoleConsumer
	}
	d.ID = 0
	err := s.write(ctx, fmt.Sprintf("adding device %q", d.Alias), func(tx *sql.Tx) error {
		texts, err := checkDevice(tx, d)
		if err != nil {
			return err
		}
		res, err := tx.Exec(`INSERT INTO device (uuid, alias, alias_key, description, dialect,
			topic, role, parent_id, room, icon, tags, member_id, schedule, relay,
			created_ms, version) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
			d.UUID, d.Alias, gateway.FoldName(d.Alias), d.Description, d.Dialect, d.Topic, d.Role,
			ref(d.Parent), d.Room, d.Icon, texts.tags, ref(d.Member), texts.schedule,
			texts.relay, d.Created, d.Version)
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		d.ID = gateway.DeviceID(id)
		return err
	})
	if err != nil {
		return gateway.Device{}, err
	}
	return d, nil
}

// Device returns the device with the id.
func (s *Store) Device(ctx context.Context, id gateway.DeviceID) (gateway.Device, error) {
	d, err := oneDevice(ctx, s.r, id)
	return d, s.wrap(fmt.Sprintf("reading device %d", id), err)
}

// Devices returns all devices in order of their ids.
func (s *Store) Devices(ctx context.Context) ([]gateway.Device, error) {
	ds, err := collect(ctx, s.r, scanDevice, selectDevice+"ORDER BY id")
	return ds, s.wrap("reading the devices", err)
}

// UpdateDevice replaces the device with d.ID by d and returns it with its new
// version. If d.Version is not the version that is kept, somebody changed it
// since: CodeConflict. The UUID and time of creation stay as they were.
func (s *Store) UpdateDevice(ctx context.Context, d gateway.Device) (gateway.Device, error) {
	err := s.write(ctx, fmt.Sprintf("updating device %d", d.ID), func(tx *sql.Tx) error {
		old, err := oneDevice(ctx, tx, d.ID)
		if err != nil {
			return err
		}
		if old.Version != d.Version {
			return gateway.Conflictf("device %d was changed meanwhile: it has version %d, not %d; "+
				"read it again", d.ID, old.Version, d.Version)
		}
		d.UUID, d.Created, d.Version = old.UUID, old.Created, old.Version+1
		if d.Role == "" {
			d.Role = gateway.RoleConsumer
		}
		texts, err := checkDevice(tx, d)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE device SET alias = ?, alias_key = ?, description = ?,
			dialect = ?, topic = ?, role = ?, parent_id = ?, room = ?, icon = ?, tags = ?,
			member_id = ?, schedule = ?, relay = ?, version = ? WHERE id = ?`,
			d.Alias, gateway.FoldName(d.Alias), d.Description, d.Dialect, d.Topic, d.Role, ref(d.Parent),
			d.Room, d.Icon, texts.tags, ref(d.Member), texts.schedule, texts.relay,
			d.Version, d.ID)
		return err
	})
	if err != nil {
		return gateway.Device{}, err
	}
	return d, nil
}

// DeleteDevice deletes a device, its credential, its commands and its
// readings; devices measured below it are then below none. It is gone at the
// first commit; the readings follow in transactions of bounded size. If ctx
// ends during that, the error says so and Maintain deletes the rest.
func (s *Store) DeleteDevice(ctx context.Context, id gateway.DeviceID) error {
	doing := fmt.Sprintf("deleting device %d", id)
	err := s.write(ctx, doing, func(tx *sql.Tx) error {
		if err := deviceThere(ctx, tx, id); err != nil {
			return err
		}
		delete(s.there, id)
		now := gateway.InstantOf(s.cfg.Now())
		for _, statement := range []string{
			`UPDATE device SET deleted_ms = ?2, parent_id = NULL WHERE id = ?1`,
			`UPDATE device SET parent_id = NULL, version = version + 1 WHERE parent_id = ?1`,
			`DELETE FROM credential WHERE device_id = ?1`,
			`DELETE FROM command WHERE device_id = ?1`,
		} {
			if _, err := tx.Exec(statement, id, now); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.purgeDevice(ctx, id)
}

// purgeDevice deletes the readings of a device that is marked as deleted, and
// then its row. Tail rows have readings of others beside, so these are sealed
// and the rows go.
func (s *Store) purgeDevice(ctx context.Context, id gateway.DeviceID) error {
	doing := fmt.Sprintf("deleting the readings of device %d", id)
	// Who seals it now may still add chunks.
	unlock, err := s.lockSealing(ctx)
	if err != nil {
		return s.wrap(doing, err)
	}
	s.tail.drop(id)
	s.running.drop(id)
	unlock()
	for done := false; !done; {
		err := s.write(ctx, doing, func(tx *sql.Tx) (err error) {
			done, err = deleteChunks(tx, id, s.purge)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.clearTail(ctx); err != nil {
		return s.wrap(doing, err)
	}
	return s.write(ctx, doing, func(tx *sql.Tx) error {
		for _, statement := range []string{
			`DELETE FROM rollup WHERE device_id = ?`,
			`DELETE FROM thinned WHERE device_id = ?`,
			`DELETE FROM device WHERE id = ? AND deleted_ms IS NOT NULL`,
		} {
			if _, err := tx.Exec(statement, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// oneDevice returns the device with the id, or a CodeNotFound.
func oneDevice(ctx context.Context, q querier, id gateway.DeviceID) (gateway.Device, error) {
	d, err := scanDevice(q.QueryRowContext(ctx, selectDevice+"AND id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return d, gateway.NotFoundf("there is no device %d", id)
	}
	return d, err
}

// selectThere gives a row if there is a device with the id.
const selectThere = `SELECT 1 FROM device WHERE id = ? AND deleted_ms IS NULL`

// deviceThere returns a CodeNotFound if there is no device with the id.
func deviceThere(ctx context.Context, q querier, id gateway.DeviceID) error {
	return isThere(q.QueryRowContext(ctx, selectThere, id), id)
}

// isThere reads what selectThere gave for the id.
func isThere(row *sql.Row, id gateway.DeviceID) error {
	var n int
	err := row.Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return gateway.NotFoundf("there is no device %d", id)
	}
	return err
}

// scanDevice reads the columns of selectDevice.
func scanDevice(row scanner) (d gateway.Device, err error) {
	var tags, schedule string
	var relay sql.NullString
	err = row.Scan(&d.ID, &d.UUID, &d.Alias, &d.Description, &d.Dialect, &d.Topic, &d.Role,
		&d.Parent, &d.Room, &d.Icon, &tags, &d.Member, &schedule, &relay, &d.Created, &d.Version)
	if err != nil {
		return gateway.Device{}, err
	}
	if err := json.Unmarshal([]byte(tags), &d.Tags); err != nil {
		return gateway.Device{}, fmt.Errorf("tags of device %d: %w", d.ID, err)
	}
	if len(d.Tags) == 0 {
		d.Tags = nil
	}
	if d.Schedule, err = parseSchedule(schedule); err != nil {
		return gateway.Device{}, fmt.Errorf("schedule of device %d: %w", d.ID, err)
	}
	if relay.Valid {
		d.Relay = new(gateway.Relay)
		if err := json.Unmarshal([]byte(relay.String), d.Relay); err != nil {
			return gateway.Device{}, fmt.Errorf("relay of device %d: %w", d.ID, err)
		}
	}
	return d, nil
}

// deviceTexts are the parts of a device that are kept as JSON.
type deviceTexts struct {
	tags, schedule string
	relay          sql.NullString
}

// checkDevice returns why d cannot be kept beside the other devices, or the
// texts of its parts.
func checkDevice(tx *sql.Tx, d gateway.Device) (deviceTexts, error) {
	var texts deviceTexts
	if strings.TrimSpace(d.Alias) == "" {
		return texts, gateway.Invalidf("a device needs an alias")
	}
	if !d.Role.Valid() {
		return texts, gateway.Invalidf("role %q of a device: want consumer, grid, solar or battery",
			d.Role)
	}
	if err := checkTaken(tx, d); err != nil {
		return texts, err
	}
	if err := checkParent(tx, d); err != nil {
		return texts, err
	}
	if d.Member != 0 {
		if _, err := oneMember(context.Background(), tx, d.Member); err != nil {
			return texts, err
		}
	}
	var err error
	if texts.tags, err = toText(d.Tags); err != nil {
		return texts, err
	}
	if texts.schedule, err = formatSchedule(d.Schedule); err != nil {
		return texts, &gateway.Error{
			Code: gateway.CodeInvalid, Message: "the schedule cannot be kept", Err: err,
		}
	}
	if d.Relay != nil {
		texts.relay.Valid = true
		texts.relay.String, err = toText(d.Relay)
	}
	return texts, err
}

// checkTaken returns a CodeConflict naming the device that holds the alias,
// the topic or the UUID of d.
func checkTaken(tx *sql.Tx, d gateway.Device) error {
	for _, c := range []struct {
		what, where string
		args        []any
	}{
		{fmt.Sprintf("alias %q", d.Alias), "alias_key = ?", []any{gateway.FoldName(d.Alias)}},
		{
			fmt.Sprintf("topic %q of dialect %s", d.Topic, d.Dialect),
			"dialect = ? AND topic = ? AND dialect <> '' AND topic <> ''",
			[]any{d.Dialect, d.Topic},
		},
		{fmt.Sprintf("UUID %q", d.UUID), "uuid = ?", []any{d.UUID}},
	} {
		var id gateway.DeviceID
		var alias string
		err := tx.QueryRow(`SELECT id, alias FROM device WHERE deleted_ms IS NULL AND id <> ? AND `+
			c.where, append([]any{d.ID}, c.args...)...).Scan(&id, &alias)
		if err == nil {
			return gateway.Conflictf("%s is taken by device %d (%s)", c.what, id, alias)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

// checkParent returns why d cannot be measured below d.Parent: it must be
// there and must not be below d.
func checkParent(tx *sql.Tx, d gateway.Device) error {
	if d.Parent == 0 {
		return nil
	}
	if err := deviceThere(context.Background(), tx, d.Parent); err != nil {
		return gateway.Invalidf("parent %d: there is no such device", d.Parent)
	}
	var n int
	err := tx.QueryRow(`WITH RECURSIVE up (id) AS (
			VALUES (?1) UNION SELECT parent_id FROM device JOIN up USING (id)
			WHERE parent_id IS NOT NULL)
		SELECT count(*) FROM up WHERE id = ?2`, d.Parent, d.ID).Scan(&n)
	if err == nil && n > 0 {
		return gateway.Invalidf("parent %d: device %d would be below itself", d.Parent, d.ID)
	}
	return err
}

// ref returns an id as a column that refers to a row: NULL for 0.
func ref[T ~int64](id T) sql.NullInt64 {
	return sql.NullInt64{Int64: int64(id), Valid: id != 0}
}

// newUUID returns a random UUID, version 4 of RFC 9562.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
