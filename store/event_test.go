package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

func TestStore_Retained(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	a := gateway.Retained{Topic: "a", Payload: []byte{0, 255}, QoS: 1, Credential: 3, At: base}
	b := gateway.Retained{Topic: "b/c", Payload: []byte("x"), At: base + 1}
	newer := gateway.Retained{Topic: "a", Payload: []byte("newer"), QoS: 2, At: base + 2}
	forget := gateway.Retained{Topic: "b/c"}
	for _, c := range []struct {
		name string
		save []gateway.Retained
		want []gateway.Retained
	}{
		{"nothing", nil, nil},
		{"two", []gateway.Retained{b, a}, []gateway.Retained{a, b}},
		{"replaced and forgotten", []gateway.Retained{newer, forget}, []gateway.Retained{newer}},
		{"the last stands", []gateway.Retained{b, forget, newer, a}, []gateway.Retained{a}},
		{"forgotten unknown", []gateway.Retained{{Topic: "z"}}, []gateway.Retained{a}},
	} {
		if err := s.SaveRetained(ctx, c.save); err != nil {
			t.Fatal(err)
		}
		got, err := s.Retained(ctx)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s, error %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}

func TestStore_Events(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	source := gateway.Source{Kind: "api", Member: "ada", Remote: "192.0.2.1"}
	var all []gateway.Event // as they come in
	for i := range 6 {
		e := gateway.Event{
			At: base + gateway.Instant(i/2), Kind: gateway.EventOnline,
			Device: gateway.DeviceID(i % 3), Source: source, Text: fmt.Sprint("event ", i),
		}
		if i == 4 {
			e.Kind = gateway.EventLogin
		}
		got, err := s.AddEvent(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		e.ID = int64(i + 1)
		if got != e {
			t.Errorf("added %v, want %v", got, e)
		}
		all = append(all, e)
	}
	for _, c := range []struct {
		name  string
		query store.EventQuery
		want  []gateway.Event
		total int
	}{
		{"all", store.EventQuery{}, []gateway.Event{all[5], all[4], all[3], all[2], all[1], all[0]}, 6},
		{"page", store.EventQuery{Offset: 4, Limit: 5}, []gateway.Event{all[1], all[0]}, 6},
		{"range", store.EventQuery{From: base + 1, To: base + 2}, []gateway.Event{all[3], all[2]}, 2},
		{"kind", store.EventQuery{Kind: gateway.EventLogin}, []gateway.Event{all[4]}, 1},
		{"device", store.EventQuery{Device: 2, Limit: 1}, []gateway.Event{all[5]}, 2},
		{"device and range", store.EventQuery{Device: 2, To: base + 2}, []gateway.Event{all[2]}, 1},
		{"beyond", store.EventQuery{Offset: 6}, nil, 6},
	} {
		got, total, err := s.Events(ctx, c.query)
		if diff := cmp.Diff(c.want, got); diff != "" || total != c.total || err != nil {
			t.Errorf("%s: total %d, error %v (-want +got):\n%s", c.name, total, err, diff)
		}
	}
	_, _, err := s.Events(ctx, store.EventQuery{Limit: -1})
	wantCode(t, err, gateway.CodeInvalid, "-1")
	if e, err := s.AddEvent(ctx, gateway.Event{Kind: gateway.EventLogin}); e.At != base || err != nil {
		t.Errorf("an event without a time is at %s, error %v", e.At, err)
	}
}

func TestStore_bounded(t *testing.T) {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{
		Path: filepath.Join(t.TempDir(), "a.db"), Now: clock, MaxEvents: 5, MaxCommands: 3,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	device := addDevices(t, s, 1)[0]
	for i := range 12 {
		_, err := s.AddEvent(ctx, gateway.Event{Kind: gateway.EventOnline, Text: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // changes of a command do not count
			err := s.SaveCommand(ctx, gateway.Command{ID: fmt.Sprint(i), Device: device})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	es, total, err := s.Events(ctx, store.EventQuery{})
	if err != nil || total != 5 || es[0].Text != "11" || es[4].Text != "7" {
		t.Errorf("kept %d events %v, error %v; want 11 to 7", total, es, err)
	}
	for i := range 12 {
		_, err := s.Command(ctx, fmt.Sprint(i))
		if want := i >= 9; (err == nil) != want {
			t.Errorf("command %d: error %v; want it %t", i, err, want)
		}
	}
}

func TestStore_SaveCommand(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	device := addDevices(t, s, 1)[0]
	want := gateway.Command{
		ID: "01J", Device: device, Action: gateway.ActionPowerState, PowerState: gateway.D3hot,
		Urgent: true, Source: gateway.Source{Kind: "mqtt", Member: "bob"},
		Status: gateway.CommandQueued, Created: base, Updated: base,
	}
	for range 2 {
		if err := s.SaveCommand(ctx, want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Command(ctx, "01J"); got != want || err != nil {
			t.Errorf("kept %v, error %v; want %v", got, err, want)
		}
		want.Action, want.PowerState, want.Urgent = gateway.ActionOff, gateway.PowerUnknown, false
		want.Status, want.Tries, want.Updated = gateway.CommandFailed, 3, base+30
		want.Reason = "no answer"
	}
	wantCode(t, s.SaveCommand(ctx, gateway.Command{ID: "x", Device: 9}), gateway.CodeNotFound, "9")
	wantCode(t, s.SaveCommand(ctx, gateway.Command{Device: device}), gateway.CodeInvalid, "id")
	_, err := s.Command(ctx, "nope")
	wantCode(t, err, gateway.CodeNotFound, "nope")
}

func TestStore_Setting(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	if v, ok, err := s.Setting(ctx, "zone"); v != "" || ok || err != nil {
		t.Errorf("unset: %q, %t, %v", v, ok, err)
	}
	for _, want := range []string{"Europe/Vienna", ""} {
		if err := s.SetSetting(ctx, "zone", want); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := s.Setting(ctx, "zone"); v != want || !ok || err != nil {
			t.Errorf("got %q, %t, %v; want %q", v, ok, err, want)
		}
	}
}
