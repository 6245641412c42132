package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
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
}

// holder is a credential with the hash of its secret.
type holder struct {
	credential gateway.Credential
	hash       [32]byte
	grant      gateway.Grant
}

// load reads all credentials from the store. It is called again whenever
// credentials, devices or members change.
func (a *access) load(ctx context.Context) error {
	cs, err := a.store.Credentials(ctx)
	if err != nil {
		return err
	}
	members, err := a.store.Members(ctx)
	if err != nil {
		return err
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
		case gateway.KindClient:
			// Only the gateway commands; a client asks on wattle/NAME/request.
			h.grant.Deny = slices.Concat(h.grant.Deny, commands)
		}
		byName[c.Username] = h
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byName, a.members = byName, members
	return nil
}

// list returns the household's members. The slice must not be changed.
func (a *access) list() []gateway.Member {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.members
}

// commandTopics returns where the household's devices take commands.
func (a *access) commandTopics() []string {
	var out []string
	for _, d := range a.devices.Devices() {
		if row, ok := dialect.ByName(d.Dialect); ok {
			out = append(out, row.Topics(d.Topic).Commands...)
		}
		if d.Schedule.Channel != "" {
			out = append(out, d.Schedule.Channel)
		}
	}
	return out
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
		g.Deny = slices.Concat(g.Deny, []string{ch})
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

// credentialsOf returns the credentials of a device.
func (a *access) credentialsOf(id gateway.DeviceID) []gateway.CredentialID {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var out []gateway.CredentialID
	for _, h := range a.byName {
		if h.credential.Device == id && id != 0 {
			out = append(out, h.credential.ID)
		}
	}
	return out
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
