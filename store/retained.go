package store

import (
	"context"
	"database/sql"

	"github.com/wattle-home/wattle/gateway"
)

// Retained returns all retained messages in order of their topics.
func (s *Store) Retained(ctx context.Context) ([]gateway.Retained, error) {
	rs, err := collect(ctx, s.r, func(row scanner) (m gateway.Retained, err error) {
		err = row.Scan(&m.Topic, &m.Payload, &m.QoS, &m.Credential, &m.At)
		return m, err
	}, `SELECT topic, payload, qos, credential_id, at_ms FROM retained ORDER BY topic`)
	return rs, s.wrap("reading the retained messages", err)
}

// SaveRetained keeps messages, each in place of an older one on its topic, in
// one transaction; one with an empty payload deletes what its topic has. Of
// several on one topic the last stands.
func (s *Store) SaveRetained(ctx context.Context, ms []gateway.Retained) error {
	if len(ms) == 0 {
		return nil
	}
	return s.write(ctx, "saving retained messages", func(tx *sql.Tx) error {
		for _, m := range ms {
			var err error
			if len(m.Payload) == 0 {
				_, err = tx.Exec(`DELETE FROM retained WHERE topic = ?`, m.Topic)
			} else {
				_, err = tx.Exec(`INSERT INTO retained (topic, payload, qos, credential_id, at_ms)
					VALUES (?,?,?,?,?) ON CONFLICT (topic) DO UPDATE SET
					payload = excluded.payload, qos = excluded.qos,
					credential_id = excluded.credential_id, at_ms = excluded.at_ms`,
					m.Topic, m.Payload, m.QoS, m.Credential, m.At)
			}
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
}
