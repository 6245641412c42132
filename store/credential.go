package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wattle-home/wattle/gateway"
)

// CredentialSecret is a credential with the hash of its secret.
type CredentialSecret struct {
	gateway.Credential
	Hash [32]byte // SHA-256
}

// grantText is how a gateway.Grant stands in its column. Field names are part
// of the file's format.
type grantText struct {
	Publish   []string `json:"publish,omitempty"`
	Deny      []string `json:"deny,omitempty"`
	Subscribe []string `json:"subscribe,omitempty"`
}

// AddCredential adds a credential under the hash of its secret and returns it
// with its ID and time of creation. A user name that another has is a
// CodeConflict, as is the name of another bridge or client.
func (s *Store) AddCredential(
	ctx context.Context, c gateway.Credential, hash [32]byte,
) (gateway.Credential, error) {
	c.Created = gateway.InstantOf(s.cfg.Now())
	if c.Username == "" {
		return gateway.Credential{}, gateway.Invalidf("a credential needs a user name")
	}
	switch c.Kind {
	case gateway.KindDevice, gateway.KindBridge, gateway.KindClient:
	default:
		return gateway.Credential{}, gateway.Invalidf(
			"kind %q of a credential: want device, bridge or client", c.Kind)
	}
	rights, err := toText(grantText(c.Grant))
	if err != nil {
		return gateway.Credential{}, err
	}
	doing := fmt.Sprintf("adding credential %q", c.Username)
	err = s.write(ctx, doing, func(tx *sql.Tx) error {
		if err := checkCredential(ctx, tx, c); err != nil {
			return err
		}
		res, err := tx.Exec(`INSERT INTO credential
			(name, name_key, kind, username, hash, device_id, rights, created_ms, last_used_ms)
			VALUES (?,?,?,?,?,?,?,?,?)`, c.Name, gateway.FoldName(c.Name), c.Kind, c.Username, hash[:],
			ref(c.Device), rights, c.Created, c.LastUsed)
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		c.ID = gateway.CredentialID(id)
		return err
	})
	if err != nil {
		return gateway.Credential{}, err
	}
	return c, nil
}

// checkCredential returns why c cannot be kept beside the others.
func checkCredential(ctx context.Context, tx *sql.Tx, c gateway.Credential) error {
	if c.Kind == gateway.KindDevice || c.Device != 0 {
		if err := deviceThere(ctx, tx, c.Device); err != nil {
			return err
		}
	}
	var id gateway.CredentialID
	var name, username string
	err := tx.QueryRow(`SELECT id, name, username FROM credential WHERE username = ?1
		OR (name_key = ?2 AND kind <> 'device' AND ?3 <> 'device')`,
		c.Username, gateway.FoldName(c.Name), c.Kind).Scan(&id, &name, &username)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case username == c.Username:
		return gateway.Conflictf("user name %q is taken by credential %d (%s)", username, id, name)
	}
	return gateway.Conflictf("name %q is taken by credential %d; revoke it first", name, id)
}

// Credentials returns all credentials in order of their ids.
func (s *Store) Credentials(ctx context.Context) ([]CredentialSecret, error) {
	cs, err := collect(ctx, s.r, scanCredential, `SELECT id, name, kind, username, hash,
		coalesce(device_id, 0), rights, created_ms, last_used_ms FROM credential ORDER BY id`)
	return cs, s.wrap("reading the credentials", err)
}

// scanCredential reads the columns that Credentials selects.
func scanCredential(row scanner) (c CredentialSecret, err error) {
	var hash []byte
	var rights string
	err = row.Scan(&c.ID, &c.Name, &c.Kind, &c.Username, &hash, &c.Device, &rights,
		&c.Created, &c.LastUsed)
	if err != nil {
		return CredentialSecret{}, err
	}
	if n := copy(c.Hash[:], hash); n != len(c.Hash) || n != len(hash) {
		return CredentialSecret{}, fmt.Errorf("hash of credential %d: %d bytes, want %d",
			c.ID, len(hash), len(c.Hash))
	}
	var g grantText
	if err := json.Unmarshal([]byte(rights), &g); err != nil {
		return CredentialSecret{}, fmt.Errorf("rights of credential %d: %w", c.ID, err)
	}
	c.Grant = gateway.Grant(g)
	return c, nil
}

// RemoveCredential removes a credential.
func (s *Store) RemoveCredential(ctx context.Context, id gateway.CredentialID) error {
	return s.changeCredential(ctx, "removing", id, `DELETE FROM credential WHERE id = ?`, id)
}

// SetCredentialHash gives a credential another secret.
func (s *Store) SetCredentialHash(
	ctx context.Context, id gateway.CredentialID, hash [32]byte,
) error {
	return s.changeCredential(ctx, "changing the secret of", id,
		`UPDATE credential SET hash = ? WHERE id = ?`, hash[:], id)
}

// TouchCredential notes when a credential was last used.
func (s *Store) TouchCredential(
	ctx context.Context, id gateway.CredentialID, at gateway.Instant,
) error {
	return s.changeCredential(ctx, "touching", id,
		`UPDATE credential SET last_used_ms = ? WHERE id = ?`, at, id)
}

// changeCredential runs a statement that changes one credential.
func (s *Store) changeCredential(
	ctx context.Context, doing string, id gateway.CredentialID, statement string, args ...any,
) error {
	return s.write(ctx, fmt.Sprintf("%s credential %d", doing, id), func(tx *sql.Tx) error {
		res, err := tx.Exec(statement, args...)
		if err != nil {
			return err
		}
		return oneRow(res, gateway.NotFoundf("there is no credential %d", id))
	})
}
