package api_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/hub"
)

// noDevices is a household without devices.
type noDevices struct{}

// Device implements api.Devices.
func (noDevices) Device(gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool) {
	return gateway.Device{}, gateway.DeviceState{}, false
}

// Devices implements api.Devices.
func (noDevices) Devices() []gateway.Device { return nil }

// oneToken knows one token until it is revoked. Its other methods are not
// expected.
type oneToken struct {
	api.TokenStore
	revoked atomic.Bool
	asked   atomic.Int32
}

// TokenByHash implements api.TokenStore.
func (o *oneToken) TokenByHash(context.Context, [32]byte) (gateway.Token, error) {
	o.asked.Add(1)
	if o.revoked.Load() {
		return gateway.Token{}, gateway.NotFoundf("there is no such token")
	}
	return gateway.Token{Name: "guest", Role: gateway.RoleViewer}, nil
}

// watch opens a live stream that ends with ctx. What was sent may be read when
// done is closed.
func watch(ctx context.Context, h *hub.Hub, token *oneToken) (sent *httptest.ResponseRecorder, done chan struct{}) {
	s := api.New(api.Config{
		Logger: slog.New(slog.DiscardHandler), Devices: noDevices{}, Hub: h, Tokens: token,
		Host: func(string) bool { return true }, Zone: time.UTC, Now: time.Now,
	})
	r := httptest.NewRequest("GET", "/api/v1/live", nil).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer 0123")
	sent, done = httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(done)
		s.Handler().ServeHTTP(sent, r)
	}()
	return sent, done
}

func TestServer_liveEndsAtTheHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub.Hub
		var token oneToken
		began := time.Now()
		sent, done := watch(t.Context(), &h, &token)
		time.Sleep(50 * time.Second)
		token.revoked.Store(true)
		<-done
		if took := time.Since(began); took > 65*time.Second {
			t.Errorf("a quiet stream ends %v after it began, its token at 50 s", took)
		}
		if n := strings.Count(sent.Body.String(), ":\n\n"); n != 3 {
			t.Errorf("%d heartbeats in 50 s", n)
		}
	})
}

func TestServer_liveSendsNothingWithoutRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub.Hub
		var token oneToken
		sent, done := watch(t.Context(), &h, &token)
		time.Sleep(5 * time.Second)
		token.revoked.Store(true)
		h.Publish(gateway.LiveEvent, gateway.Event{Text: "secret"})
		<-done
		if strings.Contains(sent.Body.String(), "secret") {
			t.Error("an event is sent long after the rights ended")
		}
	})
}

func TestServer_liveAsksOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hub.Hub
		var token oneToken
		ctx, cancel := context.WithCancel(t.Context())
		sent, done := watch(ctx, &h, &token)
		for range 1000 { // over ten seconds
			synctest.Wait()
			h.Publish(gateway.LiveEvent, gateway.Event{Text: "news"})
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
		<-done
		if n := token.asked.Load(); n < 9 || n > 12 {
			t.Errorf("the token was looked up %d times in ten seconds", n)
		}
		if n := strings.Count(sent.Body.String(), "news"); n != 1000 {
			t.Errorf("%d of 1000 events are sent", n)
		}
	})
}
