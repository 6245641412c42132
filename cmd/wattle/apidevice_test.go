package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/store"
)

// leaver is the gateway's store, and a caller who hangs up as soon as the
// first thing is durable. A hook that is nil does nothing.
type leaver struct {
	apiStore
	hangUp        func()
	addCredential func() error // instead of the store's
	afterDelete   func() error // becomes the result of DeleteDevice
}

// AddDevice implements api.DeviceStore.
func (l *leaver) AddDevice(ctx context.Context, d gateway.Device) (gateway.Device, error) {
	defer l.hangUp()
	return l.apiStore.AddDevice(ctx, d)
}

// DeleteDevice implements api.DeviceStore.
func (l *leaver) DeleteDevice(ctx context.Context, id gateway.DeviceID) error {
	defer l.hangUp()
	err := l.apiStore.DeleteDevice(ctx, id)
	if l.afterDelete != nil {
		return l.afterDelete()
	}
	return err
}

// AddCredential implements api.CredentialStore.
func (l *leaver) AddCredential(
	ctx context.Context, c gateway.Credential, hash [32]byte,
) (gateway.Credential, error) {
	if l.addCredential != nil {
		return c, l.addCredential()
	}
	return l.apiStore.AddCredential(ctx, c, hash)
}

// RevokeToken implements api.TokenStore.
func (l *leaver) RevokeToken(ctx context.Context, name string) error {
	defer l.hangUp()
	return l.apiStore.RevokeToken(ctx, name)
}

// sendAndLeave sends a request of the owner whose sender hangs up.
func (g *testGateway) sendAndLeave(l *leaver, method, path, body string) *httptest.ResponseRecorder {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	defer cancel()
	l.apiStore, l.hangUp = apiStore{g.d.store}, cancel
	cfg := g.d.apiConfig()
	cfg.Store, cfg.Credentials, cfg.Tokens = l, l, l
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body)).WithContext(ctx)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	api.New(cfg).LocalHandler().ServeHTTP(w, r)
	return w
}

// lastEvent returns the newest event of a kind.
func (g *testGateway) lastEvent(kind gateway.EventKind) gateway.Event {
	g.t.Helper()
	es, _, err := g.d.store.Events(g.t.Context(), store.EventQuery{Kind: kind, Limit: 1})
	if err != nil || len(es) == 0 {
		g.t.Fatalf("there is no event %s: %v", kind, err)
	}
	return es[0]
}

// stored returns the aliases in the store.
func (g *testGateway) stored() []string {
	g.t.Helper()
	ds, err := g.d.store.Devices(g.t.Context())
	if err != nil {
		g.t.Fatal(err)
	}
	return aliases(ds)
}

// aliases returns the aliases of devices in their order.
func aliases(ds []gateway.Device) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.Alias
	}
	return out
}

func TestAPI_callersWhoHangUp(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	g.newToken("guest", "viewer")
	check := func(t *testing.T, want ...string) {
		t.Helper()
		if got := g.stored(); !slices.Equal(got, want) {
			t.Errorf("%q are stored, want %q", got, want)
		}
		if got := aliases(g.d.devices.Devices()); !slices.Equal(got, want) {
			t.Errorf("%q are shown, want %q", got, want)
		}
	}
	t.Run("add", func(t *testing.T) {
		w := g.sendAndLeave(&leaver{}, "POST", "/devices", `{"alias":"Heater"}`)
		var out deviceJSON
		unmarshal(t, w.Body.Bytes(), &out)
		check(t, "Lamp", "Heater")
		if _, _, err := g.d.access.authenticate(out.MQTT.Username, []byte(out.MQTT.Password), ""); err != nil {
			t.Errorf("the device cannot connect: %v", err)
		}
		if e := g.lastEvent(gateway.EventDeviceAdded); int64(e.Device) != out.ID {
			t.Errorf("the event is %+v", e)
		}
	})
	t.Run("add without a credential", func(t *testing.T) {
		l := leaver{addCredential: func() error { return gateway.Unavailablef("the card is full") }}
		if w := g.sendAndLeave(&l, "POST", "/devices", `{"alias":"Oven"}`); w.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		check(t, "Lamp", "Heater")
	})
	t.Run("revoke a token", func(t *testing.T) {
		g.sendAndLeave(&leaver{}, "DELETE", "/tokens/guest", "")
		if e := g.lastEvent(gateway.EventSecurity); e.Text != "the token guest was revoked" {
			t.Errorf("the event is %+v", e)
		}
	})
	t.Run("delete with readings left over", func(t *testing.T) {
		l := leaver{afterDelete: func() error { return gateway.Unavailablef("the card is full") }}
		w := g.sendAndLeave(&l, "DELETE", fmt.Sprintf("/devices/%d", lamp.ID), "")
		if w.Code != http.StatusNoContent {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		check(t, "Heater")
		if _, _, err := g.d.access.authenticate(lamp.MQTT.Username, []byte(lamp.MQTT.Password), ""); err == nil {
			t.Error("the device may still connect")
		}
		if e := g.lastEvent(gateway.EventDeviceRemoved); e.Text != "Lamp was removed" {
			t.Errorf("the event is %+v", e)
		}
	})
}

// TestAPI_deleteThatFails leaves the device where it was.
func TestAPI_deleteThatFails(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	cfg := g.d.apiConfig()
	cfg.Store = failingDelete{g.d.store}
	w := httptest.NewRecorder()
	api.New(cfg).LocalHandler().ServeHTTP(w, httptest.NewRequest("DELETE", fmt.Sprintf("/api/v1/devices/%d", lamp.ID), nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	g.get(fmt.Sprintf("/devices/%d", lamp.ID), &lamp)
}

// failingDelete deletes nothing.
type failingDelete struct{ *store.Store }

// DeleteDevice implements api.DeviceStore.
func (failingDelete) DeleteDevice(context.Context, gateway.DeviceID) error {
	return gateway.Unavailablef("the card is full")
}
