package store_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// TestStore_Backup_whileWriting makes copies while readings come in. Each is
// sound and holds all that was there when it began, in whole batches.
func TestStore_Backup_whileWriting(t *testing.T) {
	const copies, batches, size = 10, 20, 30
	s := openStore(t)
	id := addDevices(t, s, 1)[0]
	ctx := context.Background()
	permits := make(chan struct{}, batches) // so many batches for each copy
	var wg sync.WaitGroup
	wg.Go(func() {
		n := 0
		for range permits {
			if err := s.Append(ctx, readingsOf(id, n, size)); err != nil {
				t.Error(err)
			}
			n += size
		}
	})
	defer wg.Wait()
	defer close(permits)
	for range copies {
		for range batches {
			permits <- struct{}{}
		}
		least, err := s.Count(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "copy.db")
		if err := s.Backup(ctx, path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the copy has mode %v, error %v; want 0600", info.Mode(), err)
		}
		c := openAt(t, path)
		got := scanAll(t, c, id)
		if diff := cmp.Diff(readingsOf(id, 0, len(got)), got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("readings of the copy (-want +got):\n%s", diff)
		}
		if int64(len(got)) < least || len(got)%size != 0 {
			t.Errorf("the copy has %d readings, want %d or more in whole batches", len(got), least)
		}
		if err := errors.Join(c.Check(ctx), c.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestStore_Backup_refused(t *testing.T) {
	s := openStore(t)
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "there")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.Backup(ctx, path), gateway.CodeConflict, path)
	if got, err := os.ReadFile(path); string(got) != "mine" || err != nil {
		t.Errorf("the file holds %q, error %v", got, err)
	}
	missing := filepath.Join(filepath.Dir(path), "no", "such")
	wantCode(t, s.Backup(ctx, missing), gateway.CodeUnavailable, missing)

	ended, cancel := context.WithCancel(ctx)
	cancel()
	path = filepath.Join(t.TempDir(), "cut")
	if err := s.Backup(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a cut backup is left: %v", err)
	}
}

// TestOpen_damaged wipes pages of a file, one at a time. Opening or checking
// it tells; nothing panics.
func TestOpen_damaged(t *testing.T) {
	const page = 1024
	path := filepath.Join(t.TempDir(), "a.db")
	s := openAt(t, path)
	id := addDevices(t, s, 1)[0]
	ctx := context.Background()
	if err := s.Append(ctx, readingsOf(id, 0, 300)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(sound); at += page {
		damaged := filepath.Join(t.TempDir(), "b.db")
		data := slices.Clone(sound)
		copy(data[at:], bytes.Repeat([]byte{0xa5}, page))
		if err := os.WriteFile(damaged, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := store.Open(ctx, store.Config{Path: damaged})
		if err != nil {
			continue
		}
		_ = s.Scan(ctx, id, 0, math.MaxInt64, each(func(gateway.Reading) error { return nil }))
		_ = s.Append(ctx, readingsOf(id, 290, 20))
		if err := s.Check(ctx); err == nil {
			t.Errorf("page %d is wiped and nothing tells", at/page+1)
		}
		_ = s.Close() // may fail as well
	}
}
