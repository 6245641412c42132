package broker

import (
	"log/slog"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of what is remembered so that a refusal is logged once.
const (
	refusalsEach     = 32             // lines for one credential
	refusalsAll      = 4096           // lines for all of them
	refusalsForgiven = 24 * time.Hour // then they are logged again
)

// refusal is what is logged once.
type refusal struct {
	credential gateway.CredentialID
	action     string
	topic      string
}

// refusals remembers what was logged. The zero value is ready.
type refusals struct {
	mu    sync.Mutex
	since time.Time
	seen  map[refusal]struct{}
	count map[gateway.CredentialID]int
}

// refused counts, logs once and tells a refusal.
func (b *Broker) refused(client gateway.Client, action, topic string) {
	b.told.once(b.log, client, action, topic)
	if b.cfg.Refused != nil {
		defer b.survive("telling of a refusal")
		b.cfg.Refused(client, action, topic)
	}
}

// once logs a refusal unless it was logged within a day. One credential gets
// a bounded number of lines in that time, whatever it tries.
func (r *refusals) once(log *slog.Logger, client gateway.Client, action, topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.seen == nil || now.Sub(r.since) > refusalsForgiven {
		r.since = now
		r.seen = map[refusal]struct{}{}
		r.count = map[gateway.CredentialID]int{}
	}
	key := refusal{client.Credential, action, clip(topic)}
	n := r.count[client.Credential]
	if _, again := r.seen[key]; again || n >= refusalsEach || len(r.seen) >= refusalsAll {
		return
	}
	r.seen[key] = struct{}{}
	r.count[client.Credential] = n + 1
	log.Warn("refused", "client", client.Name, "client_id", clip(client.ID),
		"action", action, "topic", key.topic, "last_line_today", n+1 == refusalsEach)
}

// clip shortens a text that a client chose.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
