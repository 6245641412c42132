package store_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// addMember adds a member or fails the test.
func addMember(tb testing.TB, s *store.Store, name string, role gateway.Role) gateway.Member {
	tb.Helper()
	m, err := s.AddMember(context.Background(), name, role, "hash of "+name)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestStore_AddMember(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	ada := addMember(t, s, "Ada", gateway.RoleOwner)
	bob := addMember(t, s, "bob", gateway.RoleViewer)
	want := []gateway.Member{
		{ID: 1, Name: "Ada", Role: gateway.RoleOwner, Created: base},
		{ID: 2, Name: "bob", Role: gateway.RoleViewer, Created: base},
	}
	if diff := cmp.Diff(want, []gateway.Member{ada, bob}); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	got, err := s.Members(ctx)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("members, error %v (-want +got):\n%s", err, diff)
	}
	m, hash, err := s.MemberByName(ctx, "aDA")
	if m != want[0] || hash != "hash of Ada" || err != nil {
		t.Errorf("by name: %v, %q, %v", m, hash, err)
	}
	if m, err := s.Member(ctx, 2); m != want[1] || err != nil {
		t.Errorf("by id: %v, %v", m, err)
	}

	_, err = s.AddMember(ctx, "ADA", gateway.RoleViewer, "")
	wantCode(t, err, gateway.CodeConflict, "ADA")
	_, err = s.AddMember(ctx, "", gateway.RoleViewer, "")
	wantCode(t, err, gateway.CodeInvalid, "name")
	_, err = s.AddMember(ctx, "eve", "king", "")
	wantCode(t, err, gateway.CodeInvalid, "king")
	_, err = s.Member(ctx, 9)
	wantCode(t, err, gateway.CodeNotFound, "9")
	_, _, err = s.MemberByName(ctx, "eve")
	wantCode(t, err, gateway.CodeNotFound, "eve")
}

func TestStore_SetPassword_endsSessions(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	ada := addMember(t, s, "ada", gateway.RoleOwner)
	bob := addMember(t, s, "bob", gateway.RoleMember)
	for i, m := range []gateway.Member{ada, bob} {
		if err := s.AddSession(ctx, [32]byte{byte(i)}, m.ID, base, base+10, base+20); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetPassword(ctx, ada.ID, "new"); err != nil {
		t.Fatal(err)
	}
	if _, hash, err := s.MemberByName(ctx, "ada"); hash != "new" || err != nil {
		t.Errorf("hash %q, error %v", hash, err)
	}
	_, err := s.Session(ctx, [32]byte{0}, base)
	wantCode(t, err, gateway.CodeNotFound, "session")
	if m, err := s.Session(ctx, [32]byte{1}, base); m != bob || err != nil {
		t.Errorf("another member's session: %v, %v", m, err)
	}
	wantCode(t, s.SetPassword(ctx, 9, "x"), gateway.CodeNotFound, "9")
}

func TestStore_RemoveMember(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	ada := addMember(t, s, "Ada", gateway.RoleOwner)
	addMember(t, s, "bob", gateway.RoleMember)
	wantCode(t, s.RemoveMember(ctx, "ada"), gateway.CodeConflict, "last owner")
	wantCode(t, s.RemoveMember(ctx, "eve"), gateway.CodeNotFound, "eve")

	addMember(t, s, "cleo", gateway.RoleOwner)
	d, err := s.AddDevice(ctx, gateway.Device{Alias: "lamp", Member: ada.ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddSession(ctx, [32]byte{1}, ada.ID, base, base+10, base+20); err != nil {
		t.Fatal(err)
	}
	_, err = s.AddToken(ctx, gateway.Token{Name: "t", Member: ada.ID, Role: gateway.RoleOwner},
		[32]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveMember(ctx, "ADA"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Member(ctx, ada.ID)
	wantCode(t, err, gateway.CodeNotFound, "1")
	_, err = s.Session(ctx, [32]byte{1}, base)
	wantCode(t, err, gateway.CodeNotFound, "session")
	_, err = s.TokenByHash(ctx, [32]byte{2})
	wantCode(t, err, gateway.CodeNotFound, "token")
	if got, err := s.Device(ctx, d.ID); err != nil || got.Member != 0 || got.Version != 2 {
		t.Errorf("device of member %d, version %d, error %v", got.Member, got.Version, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

func TestStore_Session_ends(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	m := addMember(t, s, "ada", gateway.RoleOwner)
	hash := [32]byte{7}
	if err := s.AddSession(ctx, hash, m.ID, base, base+10, base+30); err != nil {
		t.Fatal(err)
	}
	alive := func(now gateway.Instant, want bool) {
		t.Helper()
		got, err := s.Session(ctx, hash, now)
		if want && (got != m || err != nil) {
			t.Errorf("at +%d: %v, %v; want the member", now-base, got, err)
		}
		if !want && gateway.CodeOf(err) != gateway.CodeNotFound {
			t.Errorf("at +%d: %v, %v; want not found", now-base, got, err)
		}
	}
	alive(base+9, true)
	alive(base+10, false)
	if err := s.TouchSession(ctx, hash, base+100); err != nil {
		t.Fatal(err)
	}
	alive(base+29, true)
	alive(base+30, false) // absolutely

	if err := s.ExpireSessions(ctx, base+29); err != nil {
		t.Fatal(err)
	}
	alive(base+29, true)
	if err := s.ExpireSessions(ctx, base+30); err != nil {
		t.Fatal(err)
	}
	alive(base, false)

	wantCode(t, s.TouchSession(ctx, hash, base), gateway.CodeNotFound, "session")
	wantCode(t, s.DeleteSession(ctx, hash), gateway.CodeNotFound, "session")
	wantCode(t, s.AddSession(ctx, hash, 9, 0, 1, 1), gateway.CodeNotFound, "member 9")
}

func TestStore_AddSession_bounded(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	m := addMember(t, s, "ada", gateway.RoleOwner)
	const sessions = 70
	for i := range sessions {
		now := base + gateway.Instant(i)
		err := s.AddSession(ctx, [32]byte{byte(i)}, m.ID, now, base+1000, base+1000)
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range sessions {
		_, err := s.Session(ctx, [32]byte{byte(i)}, base+100)
		if want := i >= sessions-64; (err == nil) != want {
			t.Errorf("session %d: %v; want it %t", i, err, want)
		}
	}
	if err := s.DeleteSession(ctx, [32]byte{sessions - 1}); err != nil {
		t.Error(err)
	}
	_, err := s.Session(ctx, [32]byte{sessions - 1}, base)
	wantCode(t, err, gateway.CodeNotFound, "session")
}

func TestStore_Token(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	want := gateway.Token{Name: "Home", Role: gateway.RoleViewer, Expires: base + 5}
	got, err := s.AddToken(ctx, want, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	want.ID, want.Created = 1, base
	if got != want {
		t.Errorf("added %v, want %v", got, want)
	}
	if got, err := s.TokenByHash(ctx, [32]byte{1}); got != want || err != nil {
		t.Errorf("by hash: %v, %v", got, err)
	}
	if err := s.TouchToken(ctx, 1, base+1); err != nil {
		t.Error(err)
	}
	want.LastUsed = base + 1
	if got, err := s.Tokens(ctx); !cmp.Equal(got, []gateway.Token{want}) || err != nil {
		t.Errorf("tokens %v, error %v", got, err)
	}

	_, err = s.AddToken(ctx, gateway.Token{Name: "home", Role: gateway.RoleOwner}, [32]byte{2})
	wantCode(t, err, gateway.CodeConflict, "home")
	_, err = s.AddToken(ctx, gateway.Token{Name: "x"}, [32]byte{2})
	wantCode(t, err, gateway.CodeInvalid, "role")
	_, err = s.AddToken(ctx, gateway.Token{Role: gateway.RoleOwner}, [32]byte{2})
	wantCode(t, err, gateway.CodeInvalid, "name")
	wantCode(t, s.TouchToken(ctx, 9, base), gateway.CodeNotFound, "9")
	wantCode(t, s.RevokeToken(ctx, "away"), gateway.CodeNotFound, "away")
	if err := s.RevokeToken(ctx, "HOME"); err != nil {
		t.Error(err)
	}
	_, err = s.TokenByHash(ctx, [32]byte{1})
	wantCode(t, err, gateway.CodeNotFound, "token")
}

func TestStore_Credential(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	device := addDevices(t, s, 1)[0]
	want := []store.CredentialSecret{
		{Credential: gateway.Credential{
			Name: "plug 0", Kind: gateway.KindDevice, Username: "u1", Device: device,
		}, Hash: [32]byte{1}},
		{Credential: gateway.Credential{
			Name: "Hub", Kind: gateway.KindClient, Username: "u2",
			Grant: gateway.Grant{
				Publish: []string{"a/#", "<b>/+"}, Deny: []string{"a/set"}, Subscribe: []string{"#"},
			},
		}, Hash: [32]byte{2, 31: 9}},
	}
	for i, c := range want {
		got, err := s.AddCredential(ctx, c.Credential, c.Hash)
		if err != nil {
			t.Fatal(err)
		}
		want[i].ID, want[i].Created = gateway.CredentialID(i+1), base
		if diff := cmp.Diff(want[i].Credential, got); diff != "" {
			t.Errorf("added (-want +got):\n%s", diff)
		}
	}
	if err := s.SetCredentialHash(ctx, 1, [32]byte{3}); err != nil {
		t.Error(err)
	}
	if err := s.TouchCredential(ctx, 2, base+5); err != nil {
		t.Error(err)
	}
	want[0].Hash, want[1].LastUsed = [32]byte{3}, base+5
	got, err := s.Credentials(ctx)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("kept, error %v (-want +got):\n%s", err, diff)
	}

	for _, c := range []struct {
		name string
		add  gateway.Credential
		code gateway.Code
		part string
	}{
		{
			"user name",
			gateway.Credential{Kind: gateway.KindClient, Username: "u1"},
			gateway.CodeConflict, "u1",
		},
		{
			"name",
			gateway.Credential{Name: "hub", Kind: gateway.KindBridge, Username: "u3"},
			gateway.CodeConflict, "Hub",
		},
		{
			"device",
			gateway.Credential{Kind: gateway.KindDevice, Username: "u3", Device: 8},
			gateway.CodeNotFound, "8",
		},
		{
			"no device",
			gateway.Credential{Kind: gateway.KindDevice, Username: "u3"},
			gateway.CodeNotFound, "0",
		},
		{"kind", gateway.Credential{Kind: "toaster", Username: "u3"}, gateway.CodeInvalid, "toaster"},
		{"no user name", gateway.Credential{Kind: gateway.KindClient}, gateway.CodeInvalid, "user name"},
	} {
		_, err := s.AddCredential(ctx, c.add, [32]byte{})
		t.Run(c.name, func(t *testing.T) { wantCode(t, err, c.code, c.part) })
	}
	// A device may be called as a client is.
	_, err = s.AddCredential(ctx, gateway.Credential{
		Name: "Hub", Kind: gateway.KindDevice, Username: "u4", Device: device,
	}, [32]byte{})
	if err != nil {
		t.Error(err)
	}
	if err := s.RemoveCredential(ctx, 2); err != nil {
		t.Error(err)
	}
	wantCode(t, s.RemoveCredential(ctx, 2), gateway.CodeNotFound, "2")
	wantCode(t, s.SetCredentialHash(ctx, 2, [32]byte{}), gateway.CodeNotFound, "2")
}
