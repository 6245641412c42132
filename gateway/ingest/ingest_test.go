package ingest_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/ingest"
	"github.com/wattle-home/wattle/gateway/registry"
)

// now is the wall clock of these tests.
var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// house is an Ingest with what it told.
type house struct {
	*ingest.Ingest
	devices  *registry.Registry
	stored   []gateway.Reading
	requests []gateway.Request
	log      bytes.Buffer
}

// newHouse runs an Ingest that commits at once, for two devices: 1 is native,
// 2 a Tasmota plug.
func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{devices: registry.New()}
	h.devices.Put(gateway.Device{ID: 1, Dialect: "native", Topic: "heater"})
	h.devices.Put(gateway.Device{ID: 2, Dialect: "tasmota", Topic: "pow1"})
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	h.Ingest = ingest.New(ingest.Config{
		Logger:  slog.New(slog.NewTextHandler(&h.log, nil)),
		Devices: h.devices,
		Report: func(id gateway.DeviceID, r gateway.Report, at gateway.Instant) {
			h.devices.Apply(id, r, at)
		},
		Rejected: func(gateway.DeviceState) {},
		Request: func(r gateway.Request) error {
			h.requests = append(h.requests, r)
			return nil
		},
		Append: func(_ context.Context, rs []gateway.Reading) error {
			h.stored = append(h.stored, rs...)
			return nil
		},
		Failing: func(error) {},
		Now:     func() time.Time { return now },
		Zone:    zone,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

// send handles a message and waits for its acknowledgement.
func (h *house) send(t *testing.T, m gateway.Message) error {
	t.Helper()
	m.QoS, m.At = 1, gateway.InstantOf(now)
	acked := make(chan error, 2)
	if err := h.Handle(m, func(err error) { acked <- err }); err != nil {
		if len(acked) != 0 {
			t.Error("both an error and an acknowledgement")
		}
		return err
	}
	if err := <-acked; err != nil {
		t.Errorf("not acknowledged: %v", err)
	}
	return nil
}

// from is a message of a device's own credential.
func from(id gateway.DeviceID, topic, payload string) gateway.Message {
	return gateway.Message{
		Topic: topic, Payload: []byte(payload),
		Client: gateway.Client{Kind: gateway.KindDevice, Device: id, Name: "plug"},
	}
}

func TestIngest_Handle_storesBeforeAcknowledging(t *testing.T) {
	h := newHouse(t)
	if err := h.send(t, from(1, "wattle/heater/reading", `{"power_w":5.5,"energy_wh":7}`)); err != nil {
		t.Fatal(err)
	}
	if err := h.send(t, from(1, "wattle/heater/reading",
		`{"time":"2026-11-25 12:30:00","power_w":6}`)); err != nil { // the household's clock: 11:30 UTC
		t.Fatal(err)
	}
	want := []gateway.Reading{
		{Device: 1, At: gateway.InstantOf(now), Power: 5500, Energy: 7000, Has: gateway.HasPower | gateway.HasEnergy},
		{Device: 1, At: gateway.InstantOf(now.Add(-30 * time.Minute)), Power: 6000, Has: gateway.HasPower},
	}
	if diff := cmp.Diff(want, h.stored); diff != "" {
		t.Error(diff)
	}
}

func TestIngest_Handle_retainedReadingCounts(t *testing.T) {
	h := newHouse(t)
	m := from(1, "wattle/heater/reading", "5")
	m.Retain = true // some families set it on every reading
	if err := h.send(t, m); err != nil || len(h.stored) != 1 {
		t.Errorf("%v, %d stored", err, len(h.stored))
	}
}

func TestIngest_Handle_behindABridge(t *testing.T) {
	h := newHouse(t)
	m := from(0, "tele/pow1/SENSOR", `{"Time":"2026-11-25T12:00:00","ENERGY":{"Total":1.5,"Power":61}}`)
	m.Client = gateway.Client{Kind: gateway.KindBridge, Name: "fleet"}
	if err := h.send(t, m); err != nil {
		t.Fatal(err)
	}
	if len(h.stored) != 1 || h.stored[0].Device != 2 || h.stored[0].Power != 61*gateway.Watt {
		t.Errorf("stored %+v", h.stored)
	}
	m.Topic = "tele/unknown/SENSOR"
	if err := h.send(t, m); err != nil || len(h.stored) != 1 {
		t.Errorf("an unknown device behind a bridge: %v, %d stored", err, len(h.stored))
	}
}

func TestIngest_Handle_rejects(t *testing.T) {
	h := newHouse(t)
	for i, payload := range []string{
		"", "warm", `"5"`, `{"power_w":NaN}`, `{"power_w":1e9}`, `{"power_w":5,"x":1}`,
		`{"time":5,"power_w":5}`, `{"time":"2026-11-25T12:06:00Z","power_w":5}`, strings.Repeat("[", 60<<10),
	} {
		if err := h.send(t, from(1, "wattle/heater/reading", payload)); err == nil {
			t.Errorf("%.40q was taken", payload)
		}
		s, _ := h.devices.State(1)
		if s.Rejected.Count != int64(i+1) || s.Rejected.LastReason == "" {
			t.Errorf("%.40q: rejected %+v", payload, s.Rejected)
		}
	}
	if len(h.stored) != 0 {
		t.Errorf("stored %+v", h.stored)
	}
}

func TestIngest_Handle_requests(t *testing.T) {
	h := newHouse(t)
	client := gateway.Client{Kind: gateway.KindClient, Name: "hub"}
	for _, payload := range []string{"ON", "OFF", "TOGGLE", `{"action":"power_state","power_state":"d2","urgent":true}`} {
		m := gateway.Message{Topic: "wattle/heater/request", Payload: []byte(payload), Client: client}
		if err := h.send(t, m); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
	src := gateway.Source{Kind: "mqtt", Member: "hub"}
	want := []gateway.Request{
		{Device: 1, Action: gateway.ActionOn, Source: src},
		{Device: 1, Action: gateway.ActionOff, Source: src},
		{Device: 1, Action: gateway.ActionToggle, Source: src},
		{Device: 1, Action: gateway.ActionPowerState, PowerState: gateway.D2, Urgent: true, Source: src},
	}
	if diff := cmp.Diff(want, h.requests); diff != "" {
		t.Error(diff)
	}
	for _, m := range []gateway.Message{
		{Topic: "wattle/heater/request", Payload: []byte("EXPLODE"), Client: client},
		{Topic: "wattle/heater/request", Payload: []byte(`{"action":"on","x":1}`), Client: client},
		{Topic: "wattle/heater/request", Payload: []byte("ON"), Retain: true, Client: client},
		{Topic: "wattle/nobody/request", Payload: []byte("ON"), Client: client},
	} {
		if err := h.send(t, m); err == nil {
			t.Errorf("%s %s (retained %v) was taken", m.Topic, m.Payload, m.Retain)
		}
	}
	if len(h.requests) != len(want) {
		t.Errorf("%d requests", len(h.requests))
	}
}

func TestIngest_Handle_retainedCommandIsRefused(t *testing.T) {
	h := newHouse(t)
	m := gateway.Message{
		Topic: "cmnd/pow1/POWER", Payload: []byte("ON"), Retain: true,
		Client: gateway.Client{Kind: gateway.KindBridge, Name: "old hub"},
	}
	if err := h.send(t, m); err == nil {
		t.Error("it was taken")
	}
	if s, _ := h.devices.State(2); !strings.Contains(s.Rejected.LastReason, "old hub") {
		t.Errorf("the reason %q does not name the sender", s.Rejected.LastReason)
	}
}

func TestIngest_Handle_tooManyRequests(t *testing.T) {
	h := newHouse(t)
	m := gateway.Message{
		Topic: "wattle/heater/request", Payload: []byte("ON"),
		Client: gateway.Client{Kind: gateway.KindClient, Credential: 7, Name: "hub"},
	}
	const sent, burst = 300, 50
	for range sent {
		_ = h.send(t, m) // what was refused is counted below
	}
	s, _ := h.devices.State(1)
	if len(h.requests) != burst || s.Rejected.Count != sent-burst {
		t.Errorf("%d of %d were taken, %d rejected", len(h.requests), sent, s.Rejected.Count)
	}
	if !strings.Contains(s.Rejected.LastReason, "too many requests by hub") {
		t.Errorf("the reason is %q", s.Rejected.LastReason)
	}
	if got := strings.Count(h.log.String(), "\n"); got != 1 {
		t.Errorf("%d lines were logged, want one:\n%s", got, &h.log)
	}
	m.Client.Credential = 8
	if err := h.send(t, m); err != nil {
		t.Errorf("another client: %v", err)
	}
}

func TestParseRequest_oneValueAlone(t *testing.T) {
	const body = `{"action":"on"}`
	want := gateway.Request{Action: gateway.ActionOn}
	for _, payload := range []string{body, " " + body + "\r\n"} {
		if got, err := ingest.ParseRequest([]byte(payload)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", payload, got, err)
		}
	}
	for _, payload := range []string{
		"", " ", body + "]", body + "}", body + body, body + " x", body + "\x00", body + ",", "[" + body + "]",
	} {
		if got, err := ingest.ParseRequest([]byte(payload)); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("%q was taken as %+v, %v", payload, got, err)
		}
	}
}
