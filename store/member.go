package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// selectMember reads the columns that scanMember takes.
const selectMember = `SELECT id, name, role, created_ms FROM member `

// AddMember adds a member. A name that another has, whatever its case, is a
// CodeConflict.
func (s *Store) AddMember(
	ctx context.Context, name string, role gateway.Role, passwordHash string,
) (gateway.Member, error) {
	m := gateway.Member{Name: name, Role: role, Created: gateway.InstantOf(s.cfg.Now())}
	if strings.TrimSpace(name) == "" {
		return gateway.Member{}, gateway.Invalidf("a member needs a name")
	}
	if !role.Valid() {
		return gateway.Member{}, invalidRole(role)
	}
	err := s.write(ctx, fmt.Sprintf("adding member %q", name), func(tx *sql.Tx) error {
		res, err := tx.Exec(`INSERT INTO member (name, name_key, role, password_hash, created_ms)
			VALUES (?,?,?,?,?)`, name, gateway.FoldName(name), role, passwordHash, m.Created)
		if isUnique(err) {
			return gateway.Conflictf("there is already a member %q", name)
		}
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		m.ID = gateway.MemberID(id)
		return err
	})
	if err != nil {
		return gateway.Member{}, err
	}
	return m, nil
}

// Members returns all members in order of their ids.
func (s *Store) Members(ctx context.Context) ([]gateway.Member, error) {
	ms, err := collect(ctx, s.r, scanMember, selectMember+"ORDER BY id")
	return ms, s.wrap("reading the members", err)
}

// Member returns the member with the id.
func (s *Store) Member(ctx context.Context, id gateway.MemberID) (gateway.Member, error) {
	m, err := oneMember(ctx, s.r, id)
	return m, s.wrap(fmt.Sprintf("reading member %d", id), err)
}

// MemberByName returns the member with the name, whatever its case, and the
// hash of the password.
func (s *Store) MemberByName(
	ctx context.Context, name string,
) (m gateway.Member, passwordHash string, err error) {
	err = s.r.QueryRowContext(ctx,
		`SELECT id, name, role, created_ms, password_hash FROM member WHERE name_key = ?`,
		gateway.FoldName(name)).Scan(&m.ID, &m.Name, &m.Role, &m.Created, &passwordHash)
	if errors.Is(err, sql.ErrNoRows) {
		err = gateway.NotFoundf("there is no member %q", name)
	}
	return m, passwordHash, s.wrap("reading a member", err)
}

// SetPassword sets the hash of a member's password and ends the member's
// sessions.
func (s *Store) SetPassword(ctx context.Context, id gateway.MemberID, hash string) error {
	return s.write(ctx, "setting a password", func(tx *sql.Tx) error {
		res, err := tx.Exec(`UPDATE member SET password_hash = ? WHERE id = ?`, hash, id)
		if err != nil {
			return err
		}
		if err := oneRow(res, gateway.NotFoundf("there is no member %d", id)); err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM session WHERE member_id = ?`, id)
		return err
	})
}

// RemoveMember removes the member with the name, whatever its case, with its
// sessions and tokens; its devices stay and are nobody's. The last owner is a
// CodeConflict.
func (s *Store) RemoveMember(ctx context.Context, name string) error {
	return s.write(ctx, fmt.Sprintf("removing member %q", name), func(tx *sql.Tx) error {
		m, err := scanMember(tx.QueryRow(selectMember+"WHERE name_key = ?", gateway.FoldName(name)))
		if errors.Is(err, sql.ErrNoRows) {
			return gateway.NotFoundf("there is no member %q", name)
		}
		if err != nil {
			return err
		}
		var others int
		err = tx.QueryRow(`SELECT count(*) FROM member WHERE role = ? AND id <> ?`,
			gateway.RoleOwner, m.ID).Scan(&others)
		if err != nil {
			return err
		}
		if m.Role == gateway.RoleOwner && others == 0 {
			return gateway.Conflictf("%q is the last owner; add another one first", m.Name)
		}
		_, err = tx.Exec(`UPDATE device SET member_id = NULL, version = version + 1
			WHERE member_id = ?`, m.ID)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM member WHERE id = ?`, m.ID) // takes sessions and tokens along
		return err
	})
}

// oneMember returns the member with the id, or a CodeNotFound.
func oneMember(ctx context.Context, q querier, id gateway.MemberID) (gateway.Member, error) {
	m, err := scanMember(q.QueryRowContext(ctx, selectMember+"WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return m, gateway.NotFoundf("there is no member %d", id)
	}
	return m, err
}

// scanMember reads the columns of selectMember.
func scanMember(row scanner) (m gateway.Member, err error) {
	err = row.Scan(&m.ID, &m.Name, &m.Role, &m.Created)
	return m, err
}

// invalidRole returns the error for a role that is none.
func invalidRole(role gateway.Role) *gateway.Error {
	return gateway.Invalidf("role %q: want owner, member or viewer", role)
}
