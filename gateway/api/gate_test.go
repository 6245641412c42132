package api_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
)

// manyDevices is a household of devices 1 to n.
type manyDevices int

// Device implements api.Devices.
func (n manyDevices) Device(id gateway.DeviceID) (gateway.Device, gateway.DeviceState, bool) {
	return gateway.Device{ID: id}, gateway.DeviceState{}, id >= 1 && id <= gateway.DeviceID(n)
}

// Devices implements api.Devices.
func (n manyDevices) Devices() []gateway.Device {
	ds := make([]gateway.Device, n)
	for i := range ds {
		ds[i].ID = gateway.DeviceID(i + 1)
	}
	return ds
}

// slowHistory takes a second for each series, of so many points.
type slowHistory struct {
	api.History
	points int

	mu    sync.Mutex
	now   int // series being summed up
	most  int // of them at once
	calls int
}

// count notes that a series begins (1) or ends (-1).
func (h *slowHistory) count(by int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now += by
	h.calls += max(by, 0)
	h.most = max(h.most, h.now)
}

// Series implements api.History.
func (h *slowHistory) Series(
	ctx context.Context, _ gateway.DeviceID, _, _ gateway.Instant, step string,
) (string, []api.Point, error) {
	h.count(1)
	defer h.count(-1)
	select {
	case <-time.After(time.Second):
		return step, make([]api.Point, h.points), nil
	case <-ctx.Done():
		return step, nil, ctx.Err()
	}
}

// seriesServer is a server of series over the socket's handler.
func seriesServer(devices int, h *slowHistory) http.Handler {
	return api.New(api.Config{
		Logger: slog.New(slog.DiscardHandler), Devices: manyDevices(devices), History: h,
		Zone: time.UTC, Now: time.Now,
	}).LocalHandler()
}

// ask asks for a series.
func ask(ctx context.Context, h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1"+path, nil).WithContext(ctx))
	return w
}

const (
	anHour = "from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z"
	aYear  = "from=2025-01-01T00:00:00Z&to=2026-01-01T00:00:00Z"
	half   = "from=2025-07-02T12:00:00Z&to=2026-01-01T00:00:00Z"
)

func TestServer_seriesTogetherAreBounded(t *testing.T) {
	for _, c := range []struct {
		name, query   string
		devices, each int
		status, calls int
	}{
		{"a year of one", "step=5m&" + aYear, 1, 105120, 200, 1},
		{"a year of two", "step=5m&" + aYear, 2, 105120, 400, 0},
		{"a year of the first of two", "devices=1&step=5m&" + aYear, 2, 105120, 200, 1},
		{"a year of hours of twelve", "step=1h&" + aYear, 12, 8760, 200, 12},
		{"a year of hours of thirteen", "step=1h&" + aYear, 13, 8760, 400, 0},
		{"a year by itself", "step=auto&" + aYear, 256, 366, 200, 256},
		{"few readings", "step=raw&" + aYear, 4, 20_000, 200, 4},
		{"many readings", "step=raw&" + aYear, 40, 20_000, 400, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &slowHistory{points: c.each}
				w := ask(t.Context(), seriesServer(c.devices, h), "/series?"+c.query)
				// One more may be under way when it is found that there are too many.
				more := h.calls - c.calls
				if w.Code != c.status || more != 0 && (more != 1 || c.status == 200 || c.calls == 0) {
					t.Fatalf("got %d after %d series, want %d after %d", w.Code, h.calls, c.status, c.calls)
				}
				if c.status == 400 && !strings.Contains(w.Body.String(), "choose a longer step, a shorter span or fewer") {
					t.Errorf("it does not say what to do: %s", w.Body)
				}
			})
		})
	}
}

func TestServer_seriesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &slowHistory{points: 1}
		s := seriesServer(24, h) // two at once
		began := time.Now()
		type end struct {
			status int
			at     time.Duration
		}
		ends := make(chan end, 100)
		start := func(ctx context.Context, path string) {
			go func() {
				w := ask(ctx, s, path)
				ends <- end{w.Code, time.Since(began)}
			}()
			synctest.Wait()
		}
		want := func(what string, status int, at time.Duration) {
			t.Helper()
			if got := <-ends; got.status != status || got.at != at {
				t.Errorf("%s: got %d after %v, want %d after %v", what, got.status, got.at, status, at)
			}
		}
		start(t.Context(), "/series?step=1h&"+half) // twelve seconds
		start(t.Context(), "/series?step=1h&"+half) // after it
		start(t.Context(), "/devices/1/series?step=1h&"+anHour)
		want("a small one beside a large one", 200, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		start(ctx, "/series?step=1h&"+half)
		cancel()
		want("one whose sender left", 503, time.Second)
		start(t.Context(), "/series?step=1h&"+half)
		want("the first large one", 200, 12*time.Second)
		want("the one that waited too long", 503, 21*time.Second)
		want("the second large one", 200, 24*time.Second)
		for i := range 3 {
			start(t.Context(), "/devices/1/series?step=5m&"+anHour)
			start(t.Context(), "/devices/1/series?step=raw&"+anHour)
			want("a pair of small ones", 200, time.Duration(25+i)*time.Second)
			want("a pair of small ones", 200, time.Duration(25+i)*time.Second)
		}
		if h.most != 3 { // two of a large one and a small one
			t.Errorf("%d series were summed up at once", h.most)
		}
	})
}
