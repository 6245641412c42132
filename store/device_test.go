package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
)

// fullDevice returns a device of which every field is told.
func fullDevice(parent gateway.DeviceID, member gateway.MemberID) gateway.Device {
	return gateway.Device{
		Alias: "Küche <Herd>", Description: "four plates", Dialect: "tasmota", Topic: "herd",
		Role: gateway.RoleConsumer, Parent: parent, Room: "kitchen", Icon: "stove",
		Tags: []string{"big", "a,b \"c\""}, Member: member,
		Schedule: gateway.Schedule{
			AlwaysOn:  true,
			Intervals: []gateway.Interval{{From: 480, To: 1440, Days: 0b0111110}, {From: 1, To: 2}},
			Power: []gateway.PowerInterval{{
				Interval: gateway.Interval{From: 1320, To: 360}, During: gateway.D3cold, After: gateway.D0,
			}},
			Handlers: []gateway.Handler{
				{Name: "alarm", Settings: json.RawMessage(`{"seconds":60,"text":"a < b"}`)},
				{Name: "alarm"},
			},
			Channel: "wattle/herd/set",
		},
		Relay: &gateway.Relay{Line: "gpiochip0:17", ActiveLow: true, Initial: "off", Safe: "hold"},
	}
}

func TestStore_AddDevice_roundTrip(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	parent := addDevices(t, s, 1)[0]
	m, err := s.AddMember(ctx, "ada", gateway.RoleOwner, "hash")
	if err != nil {
		t.Fatal(err)
	}
	want := fullDevice(parent, m.ID)
	added, err := s.AddDevice(ctx, want)
	if err != nil {
		t.Fatal(err)
	}
	if added.ID == 0 || added.Version != 1 || added.Created != base {
		t.Errorf("added as %d, version %d, at %s", added.ID, added.Version, added.Created)
	}
	v4 := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	if !v4.MatchString(added.UUID) {
		t.Errorf("UUID %q is not of version 4", added.UUID)
	}
	want.ID, want.UUID, want.Created, want.Version = added.ID, added.UUID, base, 1
	got, err := s.Device(ctx, added.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	all, err := s.Devices(ctx)
	if err != nil || len(all) != 2 || !cmp.Equal(all[1], want) {
		t.Errorf("devices %v, error %v", all, err)
	}
}

func TestStore_AddDevice_refused(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	for _, d := range []gateway.Device{
		{Alias: "Küche", Dialect: "tasmota", Topic: "plug", UUID: "u-1"},
		{Alias: "no mqtt"},
	} {
		if _, err := s.AddDevice(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	bad := gateway.Handler{Name: "x", Settings: json.RawMessage(`{`)}
	for _, c := range []struct {
		name   string
		device gateway.Device
		code   gateway.Code
		part   string
	}{
		{"alias", gateway.Device{Alias: "kÜCHE"}, gateway.CodeConflict, "device 1 (Küche)"},
		{
			"topic",
			gateway.Device{Alias: "b", Dialect: "tasmota", Topic: "plug"},
			gateway.CodeConflict, "device 1 (Küche)",
		},
		{"uuid", gateway.Device{Alias: "b", UUID: "u-1"}, gateway.CodeConflict, "u-1"},
		{"no alias", gateway.Device{Alias: "  "}, gateway.CodeInvalid, "alias"},
		{"role", gateway.Device{Alias: "b", Role: "boss"}, gateway.CodeInvalid, "boss"},
		{"parent", gateway.Device{Alias: "b", Parent: 77}, gateway.CodeInvalid, "77"},
		{"member", gateway.Device{Alias: "b", Member: 77}, gateway.CodeNotFound, "77"},
		{
			"handler",
			gateway.Device{
				Alias: "b", Schedule: gateway.Schedule{Handlers: []gateway.Handler{bad}},
			},
			gateway.CodeInvalid, "schedule",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := s.AddDevice(ctx, c.device)
			wantCode(t, err, c.code, c.part)
		})
	}
	for _, d := range []gateway.Device{
		{Alias: "another dialect", Dialect: "native", Topic: "plug"},
		{Alias: "another case", Dialect: "tasmota", Topic: "PLUG"},
		{Alias: "no mqtt either"},
	} {
		if _, err := s.AddDevice(ctx, d); err != nil {
			t.Errorf("%s: %v", d.Alias, err)
		}
	}
}

func TestStore_UpdateDevice(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	ids := addDevices(t, s, 2)
	old, err := s.Device(ctx, ids[1])
	if err != nil {
		t.Fatal(err)
	}
	want := fullDevice(ids[0], 0)
	want.ID, want.Version, want.UUID = ids[1], old.Version, "another"
	got, err := s.UpdateDevice(ctx, want)
	if err != nil {
		t.Fatal(err)
	}
	want.UUID, want.Created, want.Version = old.UUID, old.Created, old.Version+1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("returned (-want +got):\n%s", diff)
	}
	kept, err := s.Device(ctx, ids[1])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}

	_, err = s.UpdateDevice(ctx, old)
	wantCode(t, err, gateway.CodeConflict, "version 2, not 1")
	_, err = s.UpdateDevice(ctx, gateway.Device{ID: 99, Alias: "x"})
	wantCode(t, err, gateway.CodeNotFound, "99")
	kept.Alias = "PLUG 0"
	_, err = s.UpdateDevice(ctx, kept)
	wantCode(t, err, gateway.CodeConflict, "device 1")

	first, err := s.Device(ctx, ids[0])
	if err != nil {
		t.Fatal(err)
	}
	first.Parent = ids[1] // which is below it
	_, err = s.UpdateDevice(ctx, first)
	wantCode(t, err, gateway.CodeInvalid, "below itself")
	first.Parent = first.ID
	_, err = s.UpdateDevice(ctx, first)
	wantCode(t, err, gateway.CodeInvalid, "below itself")
}

func TestStore_DeleteDevice(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	ids := addDevices(t, s, 2)
	child, err := s.AddDevice(ctx, gateway.Device{Alias: "child", Parent: ids[1]})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if err := s.Append(ctx, readingsOf(id, 0, 12_000)); err != nil {
			t.Fatal(err)
		}
		_, err := s.AddCredential(ctx, gateway.Credential{
			Kind: gateway.KindDevice, Device: id, Username: fmt.Sprintf("user%d", id),
		}, [32]byte{})
		if err != nil {
			t.Fatal(err)
		}
		err = s.SaveCommand(ctx, gateway.Command{ID: fmt.Sprintf("c%d", id), Device: id})
		if err != nil {
			t.Fatal(err)
		}
	}

	if err := s.DeleteDevice(ctx, ids[1]); err != nil {
		t.Fatal(err)
	}
	_, err = s.Device(ctx, ids[1])
	wantCode(t, err, gateway.CodeNotFound, "device 2")
	_, err = s.Command(ctx, "c2")
	wantCode(t, err, gateway.CodeNotFound, "c2")
	wantCode(t, s.DeleteDevice(ctx, ids[1]), gateway.CodeNotFound, "device 2")
	wantCode(t, s.Append(ctx, readingsOf(ids[1], 0, 1)), gateway.CodeNotFound, "device 2")
	cs, err := s.Credentials(ctx)
	if err != nil || len(cs) != 1 || cs[0].Device != ids[0] {
		t.Errorf("credentials left %v, error %v", cs, err)
	}
	if got, err := s.Device(ctx, child.ID); err != nil || got.Parent != 0 || got.Version != 2 {
		t.Errorf("child has parent %d and version %d, error %v", got.Parent, got.Version, err)
	}
	if n, err := s.Count(ctx, ids[0]); n != 12_000 || err != nil {
		t.Errorf("the other device has %d readings, error %v", n, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}

	again, err := s.AddDevice(ctx, gateway.Device{
		Alias: "plug 1", Dialect: "native", Topic: "plug1",
	})
	if err != nil {
		t.Fatalf("its names are not free: %v", err)
	}
	if again.ID <= child.ID {
		t.Errorf("id %d was used before", again.ID)
	}
	if n, err := s.Count(ctx, again.ID); n != 0 || err != nil {
		t.Errorf("the new device has %d readings, error %v", n, err)
	}
}
