package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// flip damages a blob: query selects its row's id and data, and table is where
// it stands.
func (s *rolling) flip(t *testing.T, table, query string) {
	t.Helper()
	var id int64
	var data []byte
	if err := s.w.QueryRow(query).Scan(&id, &data); err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 8
	if _, err := s.w.Exec(`UPDATE `+table+` SET data = ? WHERE id = ?`, data, id); err != nil {
		t.Fatal(err)
	}
}

// found returns the texts of the events that tell of damage, in order of
// letters.
func (s *rolling) found(t *testing.T) []string {
	t.Helper()
	return slices.Sorted(slices.Values(s.events(t, gateway.EventDamaged)))
}

// scrub has everything read that is due.
func (s *rolling) scrub(t *testing.T) {
	t.Helper()
	if err := s.Scrub(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Everything is read once a month, whatever the clock does, and not more often.
func TestStore_Scrub_due(t *testing.T) {
	s := daysStore(t, 8)
	began := s.now
	s.scrub(t) // the first month begins
	flip := func() {
		s.flip(t, "chunk", `SELECT id, data FROM chunk WHERE device_id = 1 ORDER BY first_ms LIMIT 1 OFFSET 4`)
	}
	flip()
	told := 0
	for _, c := range []struct {
		name string
		at   gateway.Instant
		due  bool
	}{
		{"at once", began, false},
		{"a day before", began + 29*day, false},
		{"after a month", began + 30*day, true},
		{"soon after", began + 31*day, false},
		{"the clock is put back a year", began - 335*day, true},
		{"soon after that", began - 334*day, false},
		{"a month after that", began - 305*day, true},
		{"the clock is put forward again", began + 32*day, true},
	} {
		s.now = c.at
		s.open(t) // when it is due survives a restart
		s.scrub(t)
		got := len(s.found(t)) - told
		if c.due && got != 1 || !c.due && got != 0 {
			t.Fatalf("%s: %d events, due is %t", c.name, got, c.due)
		}
		if told += got; got > 0 {
			if err := s.Maintain(context.Background()); err != nil {
				t.Fatal(err)
			}
			flip()
		}
	}
}

// What is damaged is set aside and told of; answers stay what they were.
func TestStore_Scrub_finds(t *testing.T) {
	s := fullStore(t)
	ctx := context.Background()
	s.scrub(t)
	days, hours := s.all(t, 1, energy.StepDay), s.all(t, 1, energy.StepHour)
	s.flip(t, "chunk", `SELECT id, data FROM chunk WHERE device_id = 1 ORDER BY first_ms LIMIT 1 OFFSET 3`)
	s.flip(t, "rollup", `SELECT id, data FROM rollup WHERE device_id = 1 AND level = 2 ORDER BY from_ms LIMIT 1`)
	s.flip(t, "chunk", `SELECT id, data FROM chunk WHERE device_id = 2 ORDER BY first_ms LIMIT 1`)
	err := s.Check(ctx)
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("%d problems: %v", len(problems), err)
	}
	s.open(t) // nothing of it is remembered
	s.now += scrubEvery
	s.scrub(t)
	s.now -= scrubEvery
	got := s.found(t)
	want := []string{
		"Readings of a from 2025-02-27 14:40 UTC to 2025-02-28 14:39 UTC were damaged on the disk " +
			"and are set aside; 287 means made of their sums are in their place",
		"Readings of b from 2025-02-24 14:40 UTC to 2025-03-26 14:35 UTC were damaged on the disk " +
			"and are set aside; 29 means made of their sums are in their place",
		"Sums of a from 2025-02-24 00:00 UTC to 2025-03-26 00:00 UTC were damaged on the disk; " +
			"they are made again from its readings",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(days, s.all(t, 1, energy.StepDay)); diff != "" {
		t.Error(diff)
	}
	closeTo(t, [2][]energy.Bucket{s.all(t, 1, energy.StepHour)}, [2][]energy.Bucket{hours})
}

// A sum with a right checksum that is not what the readings make is made again.
func TestStore_Scrub_remakesWrongSums(t *testing.T) {
	s := daysStore(t, 8)
	ctx := context.Background()
	s.scrub(t)
	want := s.all(t, 1, energy.Step5Min)
	row, err := scanRollup(s.w.QueryRow(`SELECT id, from_ms, to_ms, data FROM rollup
		WHERE device_id = 1 AND level = 1 ORDER BY from_ms LIMIT 1 OFFSET 1`))
	if err != nil {
		t.Fatal(err)
	}
	p := s.takePacker()
	sums, err := p.sums(nil, 1, energy.LevelFive, row)
	if err != nil {
		t.Fatal(err)
	}
	sums[7].Energy += 1000
	sums[len(sums)-1].Max++
	data, err := p.packSums(1, energy.LevelFive, sums)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.w.Exec(`UPDATE rollup SET data = ? WHERE id = ?`, data, row.id); err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(want, s.all(t, 1, energy.Step5Min)) {
		t.Fatal("the wrong sums change nothing")
	}
	s.now += scrubEvery
	s.scrub(t)
	s.now -= scrubEvery
	if got := s.found(t); len(got) != 2 || !strings.HasPrefix(got[0], "Sums of a from ") ||
		!strings.HasSuffix(got[0], "were not what its readings make; they are made again") {
		t.Errorf("events %q", got)
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.all(t, 1, energy.Step5Min)); diff != "" {
		t.Error(diff)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// A round that is cut goes on where it was, even after a restart, until all is
// read.
func TestStore_Scrub_goesOn(t *testing.T) {
	s := daysStore(t, 8)
	s.scrub(t)
	s.flip(t, "chunk", `SELECT id, data FROM chunk WHERE device_id = 1 ORDER BY first_ms LIMIT 1 OFFSET 5`)
	s.flip(t, "chunk", `SELECT id, data FROM chunk WHERE device_id = 2 ORDER BY first_ms DESC LIMIT 1`)
	s.now += scrubEvery
	cuts, last := 0, ""
	for {
		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		s.cfg.Now = func() time.Time { // asked before and after each step
			if steps++; steps > 8 {
				cancel()
			}
			return s.now.Time()
		}
		err := s.Scrub(ctx)
		cancel()
		if err == nil {
			break
		}
		if cuts++; !errors.Is(err, context.Canceled) || cuts > 100 {
			t.Fatal(cuts, err)
		}
		at, ok, err := s.Setting(context.Background(), scrubAtKey)
		if err != nil || !ok || at == last {
			t.Fatalf("it stays at %q, %v", at, err)
		}
		last = at
		s.open(t)
	}
	if got := s.found(t); len(got) != 2 || cuts < 5 {
		t.Errorf("%d cuts, events %q", cuts, got)
	}
}
