package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/wattle-home/wattle/gateway"
)

// maxSessions is how many sessions a member keeps; the oldest make room.
const maxSessions = 64

// AddSession adds a session of a member under the hash of its cookie. It ends
// at idleUntil, which TouchSession moves, and at absoluteUntil at the latest.
// Sessions that ended before now, and the oldest of more than 64 of a member,
// are dropped.
func (s *Store) AddSession(
	ctx context.Context, hash [32]byte, member gateway.MemberID,
	now, idleUntil, absoluteUntil gateway.Instant,
) error {
	return s.write(ctx, "adding a session", func(tx *sql.Tx) error {
		if _, err := oneMember(ctx, tx, member); err != nil {
			return err
		}
		if err := expireSessions(tx, now); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO session
			(hash, member_id, created_ms, idle_until_ms, absolute_until_ms) VALUES (?,?,?,?,?)`,
			hash[:], member, now, idleUntil, absoluteUntil)
		if isUnique(err) {
			return gateway.Conflictf("there is already a session with this hash")
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM session WHERE hash IN (
			SELECT hash FROM session WHERE member_id = ?1 AND hash <> ?2
			ORDER BY created_ms DESC, hash LIMIT -1 OFFSET ?3)`, member, hash[:], maxSessions-1)
		return err
	})
}

// Session returns the member whose session has the hash, if it has not ended
// by now; else CodeNotFound.
func (s *Store) Session(
	ctx context.Context, hash [32]byte, now gateway.Instant,
) (gateway.Member, error) {
	m, err := scanMember(s.r.QueryRowContext(ctx,
		`SELECT m.id, m.name, m.role, m.created_ms FROM session s JOIN member m ON m.id = s.member_id
		WHERE s.hash = ? AND s.idle_until_ms > ? AND s.absolute_until_ms > ?`, hash[:], now, now))
	if errors.Is(err, sql.ErrNoRows) {
		err = errNoSession()
	}
	return m, s.wrap("reading a session", err)
}

// TouchSession moves the end of an idle session. An unknown one is a
// CodeNotFound.
func (s *Store) TouchSession(
	ctx context.Context, hash [32]byte, idleUntil gateway.Instant,
) error {
	return s.write(ctx, "touching a session", func(tx *sql.Tx) error {
		res, err := tx.Exec(`UPDATE session SET idle_until_ms = ? WHERE hash = ?`, idleUntil, hash[:])
		if err != nil {
			return err
		}
		return oneRow(res, errNoSession())
	})
}

// DeleteSession ends a session. An unknown one is a CodeNotFound.
func (s *Store) DeleteSession(ctx context.Context, hash [32]byte) error {
	return s.write(ctx, "deleting a session", func(tx *sql.Tx) error {
		res, err := tx.Exec(`DELETE FROM session WHERE hash = ?`, hash[:])
		if err != nil {
			return err
		}
		return oneRow(res, errNoSession())
	})
}

// ExpireSessions drops the sessions that ended by now.
func (s *Store) ExpireSessions(ctx context.Context, now gateway.Instant) error {
	return s.write(ctx, "dropping ended sessions", func(tx *sql.Tx) error {
		return expireSessions(tx, now)
	})
}

// expireSessions is ExpireSessions in a transaction.
func expireSessions(tx *sql.Tx, now gateway.Instant) error {
	_, err := tx.Exec(`DELETE FROM session WHERE idle_until_ms <= ?1 OR absolute_until_ms <= ?1`, now)
	return err
}

// errNoSession returns the error for a session that is not there.
func errNoSession() *gateway.Error {
	return gateway.NotFoundf("there is no such session, or it has ended")
}
