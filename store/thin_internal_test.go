package store

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// fullStore is a store with a month of two devices, as daysStore makes it.
func fullStore(t *testing.T) *rolling {
	t.Helper()
	return daysStore(t, 30)
}

// daysStore is a store with some days of two devices: one has a reading every
// ten seconds, the other every five minutes.
func daysStore(t *testing.T, days gateway.Instant) *rolling {
	t.Helper()
	s := &rolling{path: filepath.Join(t.TempDir(), "a.db"), zone: time.UTC, now: 1_743_000_000_000}
	s.open(t)
	t.Cleanup(func() { _ = s.Close() })
	s.chunkMost = 8640
	ctx := context.Background()
	for i, step := range []gateway.Instant{10 * gateway.Second, 300 * gateway.Second} {
		d, err := s.AddDevice(ctx, gateway.Device{Alias: string(rune('a' + i))})
		if err != nil {
			t.Fatal(err)
		}
		var rs []gateway.Reading
		for at := s.now - days*day; at <= s.now; at += step {
			n := int64(at / 10_000)
			rs = append(rs, gateway.Reading{
				Device: d.ID, At: at, Power: gateway.Power(n * 7919 % 3_000_000), Energy: gateway.Energy(n),
				Has: gateway.HasPower | gateway.HasEnergy,
			})
		}
		if err := s.Append(ctx, rs); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// all returns the whole history of a device by a step.
func (s *rolling) all(t *testing.T, id gateway.DeviceID, step energy.Step) []energy.Bucket {
	t.Helper()
	_, bs, err := s.Series(context.Background(), id, s.now-31*day, s.now+day, step, s.zone)
	if err != nil {
		t.Fatal(err)
	}
	return bs
}

// events returns the texts of events of the kind.
func (s *rolling) events(t *testing.T, kind gateway.EventKind) (texts []string) {
	t.Helper()
	es, _, err := s.Events(context.Background(), EventQuery{Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		texts = append(texts, e.Text)
	}
	return texts
}

// Readings that are too old go, a week after that was told; what they sum up
// to stays, and neither a late reading nor a change of zone takes it away.
func TestStore_Maintain_thinsByAge(t *testing.T) {
	s := fullStore(t)
	ctx := context.Background()
	s.cfg.Retention.Readings = 20 * 24 * time.Hour
	type answers struct{ Hours, Days [2][]energy.Bucket }
	ask := func() (a answers) {
		for i := range a.Hours {
			a.Hours[i] = s.all(t, gateway.DeviceID(i+1), energy.StepHour)
			a.Days[i] = s.all(t, gateway.DeviceID(i+1), energy.StepDay)
		}
		return a
	}
	counts := func() (n [2]int64) {
		for i := range n {
			var err error
			if n[i], err = s.Count(ctx, gateway.DeviceID(i+1)); err != nil {
				t.Fatal(err)
			}
		}
		return n
	}
	want, before := ask(), counts()
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := counts(); got != before {
		t.Fatalf("%v readings before the warning ran out, want %v", got, before)
	}
	if told := s.events(t, gateway.EventThinning); len(told) != 1 ||
		!strings.Contains(told[0], "older than is to be kept") {
		t.Fatalf("events %q", told)
	}
	s.now += 8 * day
	plan, err := s.Thinning(ctx, s.now)
	if err != nil || plan.Reason != becauseAge || plan.Readings < 100_000 {
		t.Fatalf("plan %+v, %v", plan, err)
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	got := counts()
	if gone := before[0] - got[0]; gone < 17*8640 || gone > 18*8640 || got[1] != before[1] { // one chunk, and the newest
		t.Errorf("%v readings of %v", got, before)
	}
	s.now -= 8 * day
	if diff := cmp.Diff(want.Days, ask().Days); diff != "" {
		t.Error(diff)
	}
	closeTo(t, ask().Hours, want.Hours)
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}

	late := gateway.Reading{Device: 1, At: s.now - 25*day + 5, Power: 1, Has: gateway.HasPower}
	if err := s.Append(ctx, []gateway.Reading{late}); err != nil {
		t.Fatal(err)
	}
	var zone *time.Location
	if zone, err = time.LoadLocation("Europe/Berlin"); err != nil {
		t.Fatal(err)
	}
	s.zone = zone
	s.open(t)
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	s.zone = time.UTC
	closeTo(t, ask().Hours, want.Hours)
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// closeTo compares buckets whose energies may have been rounded differently.
func closeTo(t *testing.T, got, want [2][]energy.Bucket) {
	t.Helper()
	for d := range want {
		if len(got[d]) != len(want[d]) {
			t.Errorf("device %d: %d buckets, want %d", d+1, len(got[d]), len(want[d]))
			continue
		}
		for i, w := range want[d] {
			g := got[d][i]
			off := g.Energy - w.Energy
			g.Energy, g.Mean = w.Energy, w.Mean
			if off < -checkSlack || off > checkSlack || g != w {
				t.Fatalf("device %d: got %+v (off by %d), want %+v", d+1, g, off, w)
			}
		}
	}
}

// A file that is too large is made smaller, the oldest readings first.
func TestStore_Maintain_thinsBySize(t *testing.T) {
	s := fullStore(t)
	ctx := context.Background()
	want := s.all(t, 1, energy.StepDay)
	plan, err := s.Thinning(ctx, s.now)
	if err != nil || plan.Reason != "" || plan.Bytes < 100_000 {
		t.Fatalf("plan without a bound: %+v, %v", plan, err)
	}
	s.cfg.Retention.MaxBytes = plan.Bytes * 100 / 92
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if told := s.events(t, gateway.EventThinning); len(told) != 1 || !strings.Contains(told[0], "MB of at most") {
		t.Errorf("events %q", told)
	}
	before, err := s.Count(ctx, 1)
	if err != nil || before < 250_000 {
		t.Fatalf("%d readings are left below the bound: %v", before, err)
	}
	s.cfg.Retention.MaxBytes = plan.Bytes * 3 / 4
	if plan, err = s.Thinning(ctx, s.now); err != nil || plan.Reason != becauseSize || plan.Readings == 0 {
		t.Errorf("plan %+v, %v", plan, err)
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if plan, err = s.Thinning(ctx, s.now); err != nil || plan.Reason != "" || plan.Bytes > plan.MaxBytes {
		t.Errorf("afterwards: %+v, %v", plan, err)
	}
	if diff := cmp.Diff(want, s.all(t, 1, energy.StepDay)); diff != "" {
		t.Error(diff)
	}
	page, total, err := s.Page(ctx, 1, 0, s.now+1, 0, 1)
	if err != nil || total == 0 || page[0].At < s.now-29*day {
		t.Errorf("%d readings from %v: %v", total, page, err)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// A damaged chunk's place is taken by what rollups say, in sums exactly, in
// readings by their means.
func TestStore_Maintain_rebuildsFromRollups(t *testing.T) {
	s := fullStore(t)
	ctx := context.Background()
	want := s.all(t, 1, energy.StepDay)
	c, err := scanChunk(s.w.QueryRow(`SELECT ` + chunkColumns + ` FROM chunk WHERE device_id = 1
		ORDER BY first_ms LIMIT 1 OFFSET 3`))
	if err != nil {
		t.Fatal(err)
	}
	c.data[len(c.data)/2] ^= 4
	if _, err := s.w.Exec(`UPDATE chunk SET data = ? WHERE id = ?`, c.data, c.id); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.all(t, 1, energy.StepDay)); diff != "" {
		t.Error(diff)
	}
	if _, _, err := s.Page(ctx, 1, c.first, c.first+10, 0, 1); err == nil {
		t.Error("damage is not seen")
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	rs, total, err := s.Page(ctx, 1, c.first, c.last+1, 0, 10_000)
	if buckets := int((c.last - c.first) / (5 * gateway.Minute)); err != nil || total < buckets-2 || total > buckets {
		t.Errorf("%d readings instead of about %d: %v", total, buckets, err)
	}
	for _, r := range rs {
		if r.Has != gateway.HasPower || r.Power <= 0 {
			t.Fatalf("rebuilt reading %+v", r)
		}
	}
	if diff := cmp.Diff(want, s.all(t, 1, energy.StepDay)); diff != "" {
		t.Error(diff)
	}
	if err := s.Check(ctx); err == nil || strings.Contains(err.Error(), "rollup") ||
		!strings.Contains(err.Error(), "is set aside") {
		t.Errorf("check says %v", err)
	}
}
