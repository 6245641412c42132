package broker

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// target is a session that gets the messages of a topic.
type target struct {
	session     *session
	qos         byte
	noLocal     bool
	asPublished bool
	ids         []int // subscription identifiers
}

// route is who gets the messages of one topic.
type route struct {
	generation uint64
	direct     []target
	shared     [][]target // one of each group gets it
	turn       atomic.Uint32
}

// routesMaximum bounds the remembered routes.
const routesMaximum = 4096

// routes remembers who gets the messages of a topic, which the library's
// index answers with a dozen maps for each message. What is remembered counts
// until a subscription, a session or a grant changes.
type routes struct {
	generation atomic.Uint64

	mu      sync.RWMutex
	known   map[string]*route
	parents map[parentKey]packets.Subscription
}

// parentKey is a subscription whose filter ends in +/#. Such a filter matches
// the topics of its part before /# as well, which the library's index
// overlooks.
type parentKey struct {
	session *session
	filter  string
}

// changed makes what is remembered void.
func (r *routes) changed() { r.generation.Add(1) }

// addParent notes a subscription that the index answers for in part only.
func (r *routes) addParent(s *session, sub packets.Subscription) {
	if !strings.HasSuffix(sub.Filter, "+/#") || isShared(sub.Filter) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.parents == nil {
		r.parents = map[parentKey]packets.Subscription{}
	}
	r.parents[parentKey{s, sub.Filter}] = sub
}

// dropParent takes one of these subscriptions back.
func (r *routes) dropParent(s *session, filter string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.parents, parentKey{s, filter})
}

// dropParents takes all of a session back.
func (r *routes) dropParents(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.parents, func(k parentKey, _ packets.Subscription) bool {
		return k.session == s
	})
}

// parentsOf returns the subscriptions that match topic by their part before
// /#.
func (r *routes) parentsOf(topic string) map[string]packets.Subscription {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var found map[string]packets.Subscription
	for k, sub := range r.parents {
		if gateway.MatchTopic(strings.TrimSuffix(k.filter, "/#"), topic) {
			if found == nil {
				found = map[string]packets.Subscription{}
			}
			found[k.session.key] = sub
		}
	}
	return found
}

// leads reports whether anybody may get the messages.
func (r *route) leads() bool { return len(r.direct) > 0 || len(r.shared) > 0 }

// fanOut delivers m to its subscribers.
func (b *Broker) fanOut(m *message) {
	r := b.routeOf(m.topic)
	for i := range r.direct {
		r.direct[i].session.deliver(m, &r.direct[i])
	}
	if len(r.shared) == 0 {
		return
	}
	turn := r.turn.Add(1)
	for _, group := range r.shared {
		if t := choose(group, turn); t != nil {
			t.session.deliver(m, t)
		}
	}
}

// choose returns the member of a group whose turn it is, if it is there, else
// the next that is, else one that keeps messages, else nil.
func choose(group []target, turn uint32) *target {
	var second *target
	for i := range group {
		t := &group[(int(turn%uint32(len(group)))+i)%len(group)]
		here, keeps := t.session.online()
		if here {
			return t
		}
		if keeps && second == nil {
			second = t
		}
	}
	return second
}

// routeOf returns who gets the messages of topic.
func (b *Broker) routeOf(topic string) *route {
	r := &b.routes
	generation := r.generation.Load()
	r.mu.RLock()
	known := r.known[topic]
	r.mu.RUnlock()
	if known != nil && known.generation == generation {
		return known
	}
	made := b.makeRoute(topic)
	made.generation = generation
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= routesMaximum {
		r.known = map[string]*route{}
	}
	r.known[topic] = made
	return made
}

// makeRoute asks the library's index who subscribed, and keeps those who may
// read the topic.
func (b *Broker) makeRoute(topic string) *route {
	found := b.server.Topics.Subscribers(topic)
	for key, sub := range b.routes.parentsOf(topic) {
		have, ok := found.Subscriptions[key]
		if !ok {
			have = sub
		}
		found.Subscriptions[key] = have.Merge(sub)
	}
	r := &route{direct: b.targets(found.Subscriptions, topic)}
	for _, group := range slices.Sorted(maps.Keys(found.Shared)) {
		if members := b.targets(found.Shared[group], topic); len(members) > 0 {
			r.shared = append(r.shared, members)
		}
	}
	return r
}

// targets returns the sessions of subs that may read topic, in a fixed order.
func (b *Broker) targets(subs map[string]packets.Subscription, topic string) []target {
	var all []target
	for _, key := range slices.Sorted(maps.Keys(subs)) {
		b.mu.Lock()
		s := b.sessions[key]
		b.mu.Unlock()
		if s == nil || !s.mayRead(topic) {
			continue
		}
		sub := subs[key]
		t := target{
			session: s, qos: sub.Qos, noLocal: sub.NoLocal, asPublished: sub.RetainAsPublished,
		}
		if sub.Identifiers == nil && sub.Identifier > 0 {
			t.ids = []int{sub.Identifier}
		}
		for _, id := range sub.Identifiers {
			if id > 0 && !slices.Contains(t.ids, id) {
				t.ids = append(t.ids, id)
			}
		}
		slices.Sort(t.ids)
		all = append(all, t)
	}
	return all
}
