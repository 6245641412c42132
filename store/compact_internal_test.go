package store

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
)

// Compact joins small chunks and gives their room back; the readings stay.
func TestStore_Compact(t *testing.T) {
	s := &rolling{path: filepath.Join(t.TempDir(), "a.db"), now: 1_743_000_000_000}
	s.open(t)
	defer func() { _ = s.Close() }()
	d := s.threeDays(t) // in chunks of 300
	ctx := context.Background()
	chunks := func() (n int) {
		if err := s.r.QueryRow(`SELECT count(*) FROM chunk`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	all := func() (rs []gateway.Reading) {
		err := s.Scan(ctx, d.ID, 0, s.now+1, func(part []gateway.Reading) error {
			rs = append(rs, part...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	want, many := all(), chunks()
	s.chunkMost = 5000
	before, after, err := s.Compact(ctx)
	if err != nil || after >= before || after != sizeOf(s.path) {
		t.Fatalf("from %d to %d bytes, %d in the file: %v", before, after, sizeOf(s.path), err)
	}
	if few := chunks(); many < 40 || few > 8 {
		t.Errorf("%d chunks became %d", many, few)
	}
	if diff := cmp.Diff(want, all()); diff != "" || len(want) < 3*8640 {
		t.Error(diff)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
	if _, again, err := s.Compact(ctx); err != nil || again > after {
		t.Errorf("a second time: %d bytes instead of %d, %v", again, after, err)
	}
}
