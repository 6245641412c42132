package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/dialect"
	"github.com/wattle-home/wattle/gateway/registry"
	"github.com/wattle-home/wattle/store"
)

// access answers from memory who may connect to the broker, and what for.
// It is safe for concurrent use.
type access struct {
	store   *store.Store
	devices *registry.Registry

	mu      sync.RWMutex
	byName  map[string]holder
	members []gateway.Member
	open    map[gateway.CredentialID]int // connections
}

// holder is a credential with the hash of its secret.
type holder struct {
	credential gateway.Credential
	hash       [32]byte
	grant      gateway.Grant
}

// load reads all credentials from the store. It is called again whenever
// credentials, devices or members change. It returns the credentials that may
// do something else than before, whose clients must be disconnected, and those
// that are gone.
func (a *access) load(ctx context.Context) (stale, gone []gateway.CredentialID, err error) {
	cs, err := a.store.Credentials(ctx)
	if err != nil {
		return nil, nil, err
	}
	members, err := a.store.Members(ctx)
	if err != nil {
		return nil, nil, err
	}
	commands := a.commandTopics()
	byName := make(map[string]holder, len(cs))
	for _, c := range cs {
		h := holder{c.Credential, c.Hash, c.Grant}
		switch c.Kind {
		case gateway.KindDevice:
			d, _, ok := a.devices.Device(c.Device)
			if !ok {
				continue
			}
			h.grant = deviceGrant(d, memberOf(d, members))
			h.grant.Deny = slices.Concat(h.grant.Deny, biting(a.channels(), h.grant))
		case gateway.KindClient:
			// Only the gateway commands; a client asks on wattle/NAME/request.
			h.grant.Deny = slices.Concat(h.grant.Deny, biting(commands, h.grant))
		}
		byName[c.Username] = h
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, was := range a.byName {
		is, ok := byName[name]
		switch {
		case !ok || is.credential.ID != was.credential.ID:
			gone = append(gone, was.credential.ID)
		case is.hash != was.hash || !reflect.DeepEqual(is.grant, was.grant):
			stale = append(stale, was.credential.ID)
		}
	}
	a.byName, a.members = byName, members
	return stale, gone, nil
}

// count counts the connections of a credential and reports whether the first
// came or the last went.
func (a *access) count(id gateway.CredentialID, up bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = map[gateway.CredentialID]int{}
	}
	if up {
		a.open[id]++
		return a.open[id] == 1
	}
	a.open[id]--
	if a.open[id] > 0 {
		return false
	}
	delete(a.open, id)
	return true
}

// forget takes a credential away though the store may not answer.
func (a *access) forget(id gateway.CredentialID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.byName, func(_ string, h holder) bool { return h.credential.ID == id })
}

// list returns the household's members. The slice must not be changed.
func (a *access) list() []gateway.Member {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.members
}

// biting returns the filters that take something away from a grant, so that a
// grant does not change with what does not concern it.
func biting(deny []string, g gateway.Grant) []string {
	var out []string
	for _, f := range deny {
		for _, p := range g.Publish {
			if gateway.FiltersMeet(p, f) {
				out = append(out, f)
				break
			}
		}
	}
	return out
}

// commandTopics returns where the household's devices take commands.
func (a *access) commandTopics() []string {
	var out []string
	for _, d := range a.devices.Devices() {
		if row, ok := dialect.ByName(d.Dialect); ok {
			out = append(out, row.Topics(d.Topic).Commands...)
		}
	}
	return append(out, a.channels()...)
}

// channels returns the topics that devices were given for commands in place of
// their own. Nobody but the gateway publishes there.
func (a *access) channels() []string {
	var out []string
	for _, d := range a.devices.Devices() {
		if d.Schedule.Channel != "" {
			out = append(out, d.Schedule.Channel)
		}
	}
	return out
}

// checkChannel tells why a device must not take commands on a topic: another
// device speaks there, or all of a member's devices listen.
func (a *access) checkChannel(d gateway.Device, channel string) error {
	if gateway.MatchTopic("wattle/global/#", channel) {
		return gateway.Invalidf("channel: %s is a member's broadcast channel", channel)
	}
	for _, other := range a.devices.Devices() {
		row, ok := dialect.ByName(other.Dialect)
		if !ok || other.ID == d.ID {
			continue
		}
		t := row.Topics(other.Topic)
		for _, f := range slices.Concat(t.Publish, t.Commands) {
			if gateway.MatchTopic(f, channel) {
				return gateway.Invalidf("channel: %s belongs to %s", channel, other.Alias)
			}
		}
	}
	return nil
}

// deviceGrant is what a device's own credential may do: publish under its
// topics, read its channel and its member's broadcast channel.
func deviceGrant(d gateway.Device, member string) gateway.Grant {
	row, ok := dialect.ByName(d.Dialect)
	if !ok {
		return gateway.Grant{}
	}
	t := row.Topics(d.Topic)
	g := gateway.Grant{Publish: t.Publish, Deny: t.Deny, Subscribe: slices.Clone(t.Subscribe)}
	if d.Dialect == dialect.Native && member != "" {
		g.Subscribe = append(g.Subscribe, dialect.Broadcast(member))
	}
	if ch := d.Schedule.Channel; ch != "" {
		g.Subscribe = append(g.Subscribe, ch)
	}
	return g
}

// memberOf returns the name of whose device d is: who added it, or the first
// owner.
func memberOf(d gateway.Device, members []gateway.Member) string {
	for _, m := range members {
		if m.ID == d.Member || d.Member == 0 && m.Role == gateway.RoleOwner {
			return m.Name
		}
	}
	return ""
}

// authenticate is broker.Config.Authenticate.
func (a *access) authenticate(
	username string, password []byte, _ string,
) (gateway.Client, gateway.Grant, error) {
	a.mu.RLock()
	h, ok := a.byName[username]
	a.mu.RUnlock()
	hash := sha256.Sum256(password)
	if subtle.ConstantTimeCompare(hash[:], h.hash[:]) != 1 || !ok {
		return gateway.Client{}, gateway.Grant{}, &gateway.Error{
			Code: gateway.CodeUnauthorized, Message: fmt.Sprintf("no credential %q with this password",
				username),
		}
	}
	c := h.credential
	return gateway.Client{
		Credential: c.ID, Kind: c.Kind, Device: c.Device, Name: c.Name,
	}, h.grant, nil
}

// deviceTopics is api.Config.DeviceTopics.
func deviceTopics(d gateway.Device, member string) (api.DeviceTopics, bool) {
	row, ok := dialect.ByName(d.Dialect)
	if !ok {
		return api.DeviceTopics{}, false
	}
	t := row.Topics(d.Topic)
	out := api.DeviceTopics{Publish: t.Publish, Command: t.Channel}
	if d.Dialect == dialect.Native && member != "" {
		out.Broadcast = dialect.Broadcast(member)
	}
	return out, true
}
