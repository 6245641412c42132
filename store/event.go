package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// EventQuery says which events are wanted. Zero values do not restrict.
type EventQuery struct {
	From, To gateway.Instant // To is exclusive
	Kind     gateway.EventKind
	Device   gateway.DeviceID
	Offset   int
	Limit    int // 0 for 100
}

// AddEvent adds an event and returns it with its ID and, if it had none, its
// time. The oldest beyond Config.MaxEvents are dropped.
func (s *Store) AddEvent(ctx context.Context, e gateway.Event) (gateway.Event, error) {
	if e.At == 0 {
		e.At = gateway.InstantOf(s.cfg.Now())
	}
	err := s.write(ctx, "adding an event", func(tx *sql.Tx) error { return s.insertEvent(tx, &e) })
	if err != nil {
		return gateway.Event{}, err
	}
	return e, nil
}

// insertEvent adds e and sets its ID.
func (s *Store) insertEvent(tx *sql.Tx, e *gateway.Event) error {
	source, err := toText(e.Source)
	if err != nil {
		return err
	}
	res, err := tx.Exec(`INSERT INTO event (at_ms, kind, device_id, source, text)
		VALUES (?,?,?,?,?)`, e.At, e.Kind, e.Device, source, e.Text)
	if err != nil {
		return err
	}
	if e.ID, err = res.LastInsertId(); err != nil {
		return err
	}
	// Ids rise by one, so that they count.
	_, err = tx.Exec(`DELETE FROM event WHERE id <= ?`, e.ID-int64(s.cfg.MaxEvents))
	return err
}

// Events returns the events that q asks for, the newest first, and how many
// there are in all.
func (s *Store) Events(
	ctx context.Context, q EventQuery,
) (page []gateway.Event, total int, err error) {
	if q.Offset < 0 || q.Limit < 0 {
		return nil, 0, gateway.Invalidf("events: offset %d and limit %d: neither may be negative",
			q.Offset, q.Limit)
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	where, args := q.where()
	err = s.read(ctx, "reading events", func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT count(*) FROM event"+where, args...).Scan(&total)
		if err != nil || q.Offset >= total {
			return err
		}
		page, err = collect(ctx, tx, scanEvent, "SELECT id, at_ms, kind, device_id, source, text "+
			"FROM event"+where+" ORDER BY at_ms DESC, id DESC LIMIT ? OFFSET ?",
			append(args, q.Limit, q.Offset)...)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return page, total, nil
}

// where returns the condition of q with its arguments.
func (q EventQuery) where() (string, []any) {
	var terms []string
	var args []any
	add := func(term string, arg any) {
		terms, args = append(terms, term), append(args, arg)
	}
	if q.From != 0 {
		add("at_ms >= ?", q.From)
	}
	if q.To != 0 {
		add("at_ms < ?", q.To)
	}
	if q.Kind != "" {
		add("kind = ?", q.Kind)
	}
	if q.Device != 0 {
		add("device_id = ?", q.Device)
	}
	if len(terms) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

// scanEvent reads the columns that Events selects.
func scanEvent(row scanner) (e gateway.Event, err error) {
	var source string
	if err := row.Scan(&e.ID, &e.At, &e.Kind, &e.Device, &source, &e.Text); err != nil {
		return gateway.Event{}, err
	}
	if err := json.Unmarshal([]byte(source), &e.Source); err != nil {
		return gateway.Event{}, fmt.Errorf("source of event %d: %w", e.ID, err)
	}
	return e, nil
}
