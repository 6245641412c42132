package broker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of all retained messages together.
const (
	retainedTopicsMaximum = 20000
	retainedBytesMaximum  = 64 << 20
)

// saveTimeout is how long the last saving may take.
const saveTimeout = 10 * time.Second

// usage is what one credential retains.
type usage struct{ topics, bytes int }

// retains holds the retained messages. A message with an expiry, which is
// short-lived by intent, is kept in memory alone; MQTT 5 properties do not
// outlive a restart either.
type retains struct {
	limits *Limits
	store  RetainedStore // nil: memory alone

	mu    sync.RWMutex
	all   map[string]*message
	use   map[gateway.CredentialID]usage
	total usage
	dirty map[string]struct{} // topics to be saved
}

// init makes r ready.
func (r *retains) init(l *Limits, store RetainedStore) {
	r.limits, r.store = l, store
	r.all = map[string]*message{}
	r.use = map[gateway.CredentialID]usage{}
	r.dirty = map[string]struct{}{}
}

// size returns how much is retained.
func (r *retains) size() (topics, bytes int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.total.topics, r.total.bytes
}

// set retains m, or forgets what is retained if m is empty. It returns false
// if a limit forbids it; what was retained before stays then.
func (r *retains) set(m *message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.all[m.topic]
	if old != nil && old.seq > m.seq && m.seq > 0 {
		return true // the newer one was acknowledged sooner
	}
	if len(m.payload) == 0 {
		if old != nil {
			r.remove(old)
			r.dirty[m.topic] = struct{}{}
		}
		return true
	}
	kept := *m
	kept.origin = nil
	if !r.fits(&kept, old) {
		return false
	}
	r.put(&kept, old)
	r.dirty[m.topic] = struct{}{}
	return true
}

// fits reports whether m may be retained in place of old, which may be nil.
func (r *retains) fits(m, old *message) bool {
	own, all := r.use[m.client.Credential], r.total
	own.topics, own.bytes = own.topics+1, own.bytes+m.size()
	all.topics, all.bytes = all.topics+1, all.bytes+m.size()
	if old != nil {
		all.topics, all.bytes = all.topics-1, all.bytes-old.size()
		if old.client.Credential == m.client.Credential {
			own.topics, own.bytes = own.topics-1, own.bytes-old.size()
		}
	}
	if m.client.Credential == 0 { // the gateway itself
		return true
	}
	topics, bytes := r.limits.RetainedTopics, r.limits.RetainedBytes
	if m.client.Kind == gateway.KindDevice {
		topics, bytes = r.limits.DeviceRetainedTopics, r.limits.DeviceRetainedBytes
	}
	return own.topics <= topics && own.bytes <= bytes &&
		all.topics <= retainedTopicsMaximum && all.bytes <= retainedBytesMaximum
}

// put stores m in place of old.
func (r *retains) put(m, old *message) {
	if old != nil {
		r.remove(old)
	}
	r.all[m.topic] = m
	u := r.use[m.client.Credential]
	r.use[m.client.Credential] = usage{u.topics + 1, u.bytes + m.size()}
	r.total.topics++
	r.total.bytes += m.size()
}

// remove takes m out.
func (r *retains) remove(m *message) {
	delete(r.all, m.topic)
	u := r.use[m.client.Credential]
	if u = (usage{u.topics - 1, u.bytes - m.size()}); u.topics == 0 {
		delete(r.use, m.client.Credential)
	} else {
		r.use[m.client.Credential] = u
	}
	r.total.topics--
	r.total.bytes -= m.size()
}

// forget drops what is retained on topic.
func (r *retains) forget(topic string) { r.set(&message{topic: topic}) }

// from returns the topics that a credential retains.
func (r *retains) from(id gateway.CredentialID) (topics []string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for topic, m := range r.all {
		if m.client.Credential == id {
			topics = append(topics, topic)
		}
	}
	return topics
}

// get returns what is retained on topic, or nil.
func (r *retains) get(topic string) *message {
	r.mu.RLock()
	defer r.mu.RUnlock()
	m := r.all[topic]
	if m == nil || m.expired(time.Now()) {
		return nil
	}
	return m
}

// match returns the topics with a retained message that a filter matches, in
// order.
func (r *retains) match(filter string) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !strings.ContainsAny(filter, "+#") {
		if r.all[filter] == nil {
			return nil
		}
		return []string{filter}
	}
	var topics []string
	for topic := range r.all {
		if gateway.MatchTopic(filter, topic) {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}

// expire forgets what has expired.
func (r *retains) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.all {
		if m.expired(now) {
			r.remove(m)
		}
	}
}

// load reads what an earlier run retained. What was retained meanwhile stays.
func (r *retains) load(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	stored, err := r.store.Retained(ctx)
	if err != nil {
		return fmt.Errorf("loading retained messages: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range stored {
		if _, newer := r.dirty[s.Topic]; newer || len(s.Payload) == 0 {
			continue
		}
		m := &message{
			topic: s.Topic, payload: s.Payload, qos: s.QoS, retain: true,
			client: gateway.Client{Credential: s.Credential}, at: s.At,
		}
		r.put(m, r.all[s.Topic])
	}
	return nil
}

// flush saves what changed. On an error it is saved the next time.
func (r *retains) flush(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = map[string]struct{}{}
	changed := make([]gateway.Retained, 0, len(dirty))
	for topic := range dirty {
		s := gateway.Retained{Topic: topic}
		if m := r.all[topic]; m != nil && m.expires.IsZero() {
			s.Payload, s.QoS, s.At = m.payload, m.qos, m.at
			s.Credential = m.client.Credential
		}
		changed = append(changed, s)
	}
	r.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := r.store.SaveRetained(ctx, changed); err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		for topic := range dirty {
			r.dirty[topic] = struct{}{}
		}
		return fmt.Errorf("saving %d retained messages: %w", len(changed), err)
	}
	return nil
}

// saveRetained saves what changed from time to time, until ctx ends.
func (b *Broker) saveRetained(ctx context.Context) {
	t := time.NewTicker(b.limits.RetainedSave)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := b.retains.flush(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			b.log.Error("retained messages are not saved, will try again", "err", err)
		}
		failing = err != nil
	}
}
