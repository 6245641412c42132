package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// selectToken reads the columns that scanToken takes.
const selectToken = `SELECT id, name, coalesce(member_id, 0), role, created_ms, expires_ms,
	last_used_ms FROM token `

// AddToken adds a token under the hash of its key and returns it with its ID
// and time of creation. A name that another has, whatever its case, is a
// CodeConflict.
func (s *Store) AddToken(
	ctx context.Context, t gateway.Token, hash [32]byte,
) (gateway.Token, error) {
	t.Created = gateway.InstantOf(s.cfg.Now())
	if strings.TrimSpace(t.Name) == "" {
		return gateway.Token{}, gateway.Invalidf("a token needs a name")
	}
	if !t.Role.Valid() {
		return gateway.Token{}, invalidRole(t.Role)
	}
	err := s.write(ctx, fmt.Sprintf("adding token %q", t.Name), func(tx *sql.Tx) error {
		if t.Member != 0 {
			if _, err := oneMember(ctx, tx, t.Member); err != nil {
				return err
			}
		}
		res, err := tx.Exec(`INSERT INTO token
			(name, name_key, hash, member_id, role, created_ms, expires_ms, last_used_ms)
			VALUES (?,?,?,?,?,?,?,?)`, t.Name, gateway.FoldName(t.Name), hash[:], ref(t.Member), t.Role,
			t.Created, t.Expires, t.LastUsed)
		if isUnique(err) {
			return gateway.Conflictf("there is already a token %q; revoke it first", t.Name)
		}
		if err != nil {
			return err
		}
		t.ID, err = res.LastInsertId()
		return err
	})
	if err != nil {
		return gateway.Token{}, err
	}
	return t, nil
}

// TokenByHash returns the token whose key has the hash. Whether it has
// expired is the caller's matter.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (gateway.Token, error) {
	t, err := scanToken(s.r.QueryRowContext(ctx, selectToken+"WHERE hash = ?", hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		err = gateway.NotFoundf("there is no such token")
	}
	return t, s.wrap("reading a token", err)
}

// Tokens returns all tokens in order of their ids.
func (s *Store) Tokens(ctx context.Context) ([]gateway.Token, error) {
	ts, err := collect(ctx, s.r, scanToken, selectToken+"ORDER BY id")
	return ts, s.wrap("reading the tokens", err)
}

// TouchToken notes when a token was last used.
func (s *Store) TouchToken(ctx context.Context, id int64, at gateway.Instant) error {
	return s.write(ctx, fmt.Sprintf("touching token %d", id), func(tx *sql.Tx) error {
		res, err := tx.Exec(`UPDATE token SET last_used_ms = ? WHERE id = ?`, at, id)
		if err != nil {
			return err
		}
		return oneRow(res, gateway.NotFoundf("there is no token %d", id))
	})
}

// RevokeToken removes the token with the name, whatever its case.
func (s *Store) RevokeToken(ctx context.Context, name string) error {
	return s.write(ctx, fmt.Sprintf("revoking token %q", name), func(tx *sql.Tx) error {
		res, err := tx.Exec(`DELETE FROM token WHERE name_key = ?`, gateway.FoldName(name))
		if err != nil {
			return err
		}
		return oneRow(res, gateway.NotFoundf("there is no token %q", name))
	})
}

// scanToken reads the columns of selectToken.
func scanToken(row scanner) (t gateway.Token, err error) {
	err = row.Scan(&t.ID, &t.Name, &t.Member, &t.Role, &t.Created, &t.Expires, &t.LastUsed)
	return t, err
}
