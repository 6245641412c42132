package store_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// scanAll returns what Scan gives for all of time.
func scanAll(tb testing.TB, s *store.Store, id gateway.DeviceID) []gateway.Reading {
	tb.Helper()
	var got []gateway.Reading
	err := s.Scan(context.Background(), id, 0, math.MaxInt64, each(func(r gateway.Reading) error {
		got = append(got, r)
		return nil
	}))
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

// wantCode fails the test unless err has the code and its text holds part.
func wantCode(tb testing.TB, err error, code gateway.Code, part string) {
	tb.Helper()
	if err == nil || gateway.CodeOf(err) != code || !strings.Contains(err.Error(), part) {
		tb.Fatalf("got error %v (%s), want %s with %q", err, gateway.CodeOf(err), code, part)
	}
}

func TestStore_Append_roundTrip(t *testing.T) {
	s := openStore(t)
	id := addDevices(t, s, 1)[0]
	want := []gateway.Reading{
		{Device: id, At: base, Power: -1500, Has: gateway.HasPower},
		{Device: id, At: base + 1, Power: 0, Has: gateway.HasPower},
		{Device: id, At: base + 2, Energy: gateway.MaxEnergy, Has: gateway.HasEnergy},
		{
			Device: id, At: base + 3, Power: gateway.MaxPower, Energy: 0,
			Has: gateway.HasPower | gateway.HasEnergy,
		},
	}
	shuffled := []gateway.Reading{want[2], want[0], want[3], want[1]}
	before := slices.Clone(shuffled)
	if err := s.Append(context.Background(), shuffled); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, scanAll(t, s, id)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, shuffled); diff != "" {
		t.Errorf("the caller's slice changed (-want +got):\n%s", diff)
	}
}

func TestStore_Append_refused(t *testing.T) {
	s := openStore(t)
	id := addDevices(t, s, 1)[0]
	good := gateway.Reading{Device: id, At: base, Has: gateway.HasPower}
	stranger := gateway.Reading{Device: 4711, At: base, Has: gateway.HasPower}
	hollow := gateway.Reading{Device: id, At: base + 1}
	ctx := context.Background()

	wantCode(t, s.Append(ctx, []gateway.Reading{good, stranger}), gateway.CodeNotFound, "4711")
	wantCode(t, s.Append(ctx, []gateway.Reading{good, hollow}), gateway.CodeInvalid, "neither")
	if got := scanAll(t, s, id); len(got) != 0 {
		t.Errorf("a refused batch left %v", got)
	}
	if err := s.Append(ctx, nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
}

// TestStore_Append_anyOrder holds the store against the vocabulary's own
// Merge: readings cut into batches, in any order and with repeats.
func TestStore_Append_anyOrder(t *testing.T) {
	s := openStore(t)
	made := 0
	rapid.Check(t, func(rt *rapid.T) {
		made++
		d, err := s.AddDevice(context.Background(), gateway.Device{Alias: fmt.Sprint("device ", made)})
		if err != nil {
			rt.Fatal(err)
		}
		readings := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) gateway.Reading {
			r := gateway.Reading{
				Device: d.ID,
				At:     base + gateway.Instant(rapid.IntRange(0, 20).Draw(rt, "at")),
				Has:    gateway.ReadingFields(rapid.IntRange(1, 3).Draw(rt, "has")),
			}
			if r.Has&gateway.HasPower != 0 {
				r.Power = gateway.Power(rapid.Int64Range(-3, 3).Draw(rt, "power"))
			}
			if r.Has&gateway.HasEnergy != 0 {
				r.Energy = gateway.Energy(rapid.Int64Range(0, 3).Draw(rt, "energy"))
			}
			return r
		}), 1, 120).Draw(rt, "readings")
		sent := rapid.Permutation(slices.Concat(readings, readings[:len(readings)/2])).Draw(rt, "sent")
		for len(sent) > 0 {
			n := rapid.IntRange(1, len(sent)).Draw(rt, "batch")
			if err := s.Append(context.Background(), sent[:n]); err != nil {
				rt.Fatal(err)
			}
			sent = sent[n:]
		}

		merged := map[gateway.Instant]gateway.Reading{}
		for _, r := range readings {
			if old, ok := merged[r.At]; ok {
				r = old.Merge(r)
			}
			merged[r.At] = r
		}
		var want []gateway.Reading
		for _, r := range merged {
			want = append(want, r)
		}
		slices.SortFunc(want, func(a, b gateway.Reading) int { return int(a.At - b.At) })
		if diff := cmp.Diff(want, scanAll(t, s, d.ID)); diff != "" {
			rt.Fatalf("rows (-want +got):\n%s", diff)
		}
	})
}

func TestStore_Scan_range(t *testing.T) {
	s := openStore(t)
	id := addDevices(t, s, 2)[1]
	const rows = 5000 // more than are read at once
	all := readingsOf(id, 0, rows)
	sent := slices.Clone(all)
	rand.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	if err := s.Append(context.Background(), sent); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		from, to gateway.Instant
		want     []gateway.Reading
	}{
		{"all", 0, math.MaxInt64, all},
		{"from is inclusive, to exclusive", all[10].At, all[20].At, all[10:20]},
		{"between two", all[10].At + 1, all[11].At, nil},
		{"empty", all[10].At, all[10].At, nil},
		{"reversed", all[20].At, all[10].At, nil},
		{"ends where a part ends", all[0].At, all[2048].At, all[:2048]},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []gateway.Reading
			err := s.Scan(context.Background(), id, c.from, c.to, each(func(r gateway.Reading) error {
				got = append(got, r)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("readings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStore_Scan_stops(t *testing.T) {
	s := openStore(t)
	id := addDevices(t, s, 1)[0]
	if err := s.Append(context.Background(), readingsOf(id, 0, 10)); err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	calls := 0
	err := s.Scan(context.Background(), id, 0, math.MaxInt64, each(func(gateway.Reading) error {
		calls++
		if calls == 3 {
			return enough
		}
		return nil
	}))
	if err != enough || calls != 3 { //nolint:errorlint // as it is, not wrapped
		t.Errorf("got error %v after %d calls, want %v after 3", err, calls, enough)
	}
	err = s.Scan(context.Background(), 99, 0, 1, nil)
	wantCode(t, err, gateway.CodeNotFound, "99")
}

// TestStore_Scan_writes has the function write while it is called, which
// must neither block nor fail.
func TestStore_Scan_writes(t *testing.T) {
	s := openStore(t)
	ids := addDevices(t, s, 2)
	if err := s.Append(context.Background(), readingsOf(ids[0], 0, 100)); err != nil {
		t.Fatal(err)
	}
	err := s.Scan(context.Background(), ids[0], 0, math.MaxInt64, each(func(r gateway.Reading) error {
		r.Device = ids[1]
		return s.Append(context.Background(), []gateway.Reading{r})
	}))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count(context.Background(), ids[1]); n != 100 || err != nil {
		t.Errorf("copied %d readings, %v; want 100", n, err)
	}
}

func TestStore_Page(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	id := addDevices(t, s, 1)[0]
	all := readingsOf(id, 0, 25)
	if err := s.Append(ctx, all); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		offset, limit int
		want          []gateway.Reading
	}{
		{"first", 0, 10, all[5:15]},
		{"last", 10, 10, all[15:20]},
		{"beyond", 30, 10, nil},
		{"none", 0, 0, nil},
	} {
		got, total, err := s.Page(ctx, id, all[5].At, all[20].At, c.offset, c.limit)
		if err != nil || total != 15 {
			t.Errorf("%s: total %d, error %v; want 15", c.name, total, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	_, _, err := s.Page(ctx, id, 0, 1, -1, 10)
	wantCode(t, err, gateway.CodeInvalid, "-1")
	_, _, err = s.Page(ctx, id+1, 0, 1, 0, 10)
	wantCode(t, err, gateway.CodeNotFound, "device 2")
}

func TestStore_Last(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	ids := addDevices(t, s, 3)
	a, c := readingsOf(ids[0], 0, 5), readingsOf(ids[2], 7, 9)
	if err := s.Append(ctx, slices.Concat(a, c)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Last(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]gateway.Reading{a[4], c[8]}, got); diff != "" {
		t.Errorf("newest (-want +got):\n%s", diff)
	}
}

// TestStore_Append_survivesReopening reads from a second store what the first
// one wrote.
func TestStore_Append_survivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a ?#% b.db")
	s := openAt(t, path)
	id := addDevices(t, s, 1)[0]
	want := readingsOf(id, 0, 300)
	if err := s.Append(context.Background(), want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if diff := cmp.Diff(want, scanAll(t, s, id)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
