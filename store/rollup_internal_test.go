package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
)

// rawSource is a source without rollups.
type rawSource struct{ *source }

func (rawSource) Sums(energy.Level, gateway.Instant, gateway.Instant) ([]energy.Sum, error) {
	return nil, nil
}

func (rawSource) Usual(gateway.Instant) (gateway.Instant, bool, error) { return 0, false, nil }

// rolling is a store with a clock, of which rollups are tested.
type rolling struct {
	*Store
	path string
	zone *time.Location
	now  gateway.Instant
}

// openRolling opens the store again if it is open.
func (s *rolling) open(t fataler) {
	t.Helper()
	if s.Store != nil {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.Store, err = Open(context.Background(), Config{
		Path: s.path, Zone: s.zone, Now: func() time.Time { return s.now.Time() },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.tailMost, s.chunkMost = 200, 300
}

// fataler is a test.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// rollups returns how many rows of rollups there are.
func (s *Store) rollups(t fataler) (n int) {
	t.Helper()
	if err := s.r.QueryRow(`SELECT count(*) FROM rollup`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Whatever comes when, sums are those of the readings alone, and Check finds
// nothing.
func TestStore_Series_likeReadings(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"}
	used := 0
	rapid.Check(t, func(rt *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 3))
		zone, err := time.LoadLocation(zones[rnd.IntN(len(zones))])
		if err != nil {
			rt.Fatal(err)
		}
		s := &rolling{path: filepath.Join(t.TempDir(), "a.db"), zone: zone, now: 1_743_000_000_000}
		s.open(rt)
		defer func() { _ = s.Close() }()
		ctx := context.Background()
		d, err := s.AddDevice(ctx, gateway.Device{Alias: "a"})
		if err != nil {
			rt.Fatal(err)
		}
		begin := s.now - 5*day
		feed := feeder{rnd: rnd, device: d.ID, at: begin}
		var late []gateway.Reading
		for range 3 + rnd.IntN(7) {
			rs := feed.next(1 + rnd.IntN(400))
			s.now = max(s.now, rs[len(rs)-1].At)
			switch rnd.IntN(5) {
			case 0: // some of them come later
				n := rnd.IntN(len(rs) + 1)
				late = append(late, rs[:n]...)
				rs = rs[n:]
			case 1:
				rs, late = append(rs, late...), nil
			}
			if err := s.Append(ctx, rs); err != nil {
				rt.Fatal(err)
			}
			switch rnd.IntN(4) {
			case 0:
				err = s.Maintain(ctx)
			case 1:
				if rnd.IntN(3) == 0 {
					s.open(rt)
				}
			case 2:
				if rnd.IntN(9) == 0 {
					s.zone, err = time.LoadLocation(zones[rnd.IntN(len(zones))])
					s.open(rt)
				}
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		used += s.rollups(rt)
		if err := s.Check(ctx); err != nil {
			rt.Fatal(err)
		}
		for _, step := range []energy.Step{
			energy.Step5Min, energy.StepHour, energy.StepDay, energy.StepMonth, energy.StepAll,
		} {
			from := begin + gateway.Instant(rnd.Int64N(int64(s.now-begin+2*day))) - day
			to := from + 1 + gateway.Instant(rnd.Int64N(int64(8*day)))
			sameSeries(rt, s, d.ID, from, to, step)
		}
	})
	if used == 0 {
		t.Error("there were no rollups")
	}
}

// feeder makes readings of a device as they come: regular, with pauses, of
// power, counter or both.
type feeder struct {
	rnd    *rand.Rand
	device gateway.DeviceID
	at     gateway.Instant
	step   gateway.Instant
	has    gateway.ReadingFields
	wh     gateway.Energy
}

// next returns the next n readings.
func (f *feeder) next(n int) (rs []gateway.Reading) {
	if f.step == 0 || f.rnd.IntN(4) == 0 {
		f.step = []gateway.Instant{2, 10, 60, 600, 3600}[f.rnd.IntN(5)] * gateway.Second
	}
	if f.has == 0 || f.rnd.IntN(6) == 0 {
		f.has = gateway.ReadingFields(1 + f.rnd.IntN(3))
	}
	if f.rnd.IntN(3) == 0 {
		f.at += gateway.Instant(f.rnd.Int64N(int64(2 * day)))
	}
	limit := f.at + 2*day
	for range n {
		f.at += f.step + gateway.Instant(f.rnd.IntN(50))
		if f.at > limit && len(rs) > 0 {
			break
		}
		p := gateway.Power(f.rnd.IntN(2000)) * gateway.Watt
		f.wh += gateway.Energy(f.rnd.Int64N(int64(f.step) + 1))
		has := f.has
		if f.rnd.IntN(40) == 0 {
			has = gateway.ReadingFields(1 + f.rnd.IntN(3))
		}
		r := gateway.Reading{Device: f.device, At: f.at, Has: has}
		if has&gateway.HasPower != 0 {
			r.Power = p
		}
		if has&gateway.HasEnergy != 0 {
			r.Energy = f.wh
		}
		rs = append(rs, r)
	}
	return rs
}

// sameSeries compares what rollups and what readings say.
func sameSeries(
	t *rapid.T, s *rolling, device gateway.DeviceID, from, to gateway.Instant, step energy.Step,
) {
	t.Helper()
	_, got, err := s.Series(context.Background(), device, from, to, step, s.zone)
	if err != nil {
		t.Fatal(err)
	}
	var want []energy.Bucket
	err = s.with(context.Background(), "comparing", device, func(x *source) (err error) {
		_, want, err = energy.Query(rawSource{x}, from, to, step, s.zone)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d buckets, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		slack := gateway.Energy(4 + (w.To-w.From)/day*2)
		near := 1 + gateway.Power(int64(slack)*gateway.MilliwattMilliseconds/max(1, int64(w.Covered)))
		if d := g.Energy - w.Energy; d > slack || -d > slack || g.From != w.From || g.To != w.To ||
			g.Covered != w.Covered || g.Estimated != w.Estimated || g.Seen != w.Seen ||
			g.Min < w.Min-near || g.Min > w.Min+near || g.Max < w.Max-near || g.Max > w.Max+near {
			t.Fatalf("step %s: got %+v\nwant %+v", step, g, w)
		}
	}
}

// threeDays adds a device with three whole days of readings and more, and sums
// them up.
func (s *rolling) threeDays(t *testing.T) gateway.Device {
	t.Helper()
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var rs []gateway.Reading
	for at := s.now - s.now%day - 3*day; at < s.now; at += 10 * gateway.Second {
		rs = append(rs, gateway.Reading{
			Device: d.ID, At: at, Power: 5000 + gateway.Power(len(rs)), Has: gateway.HasPower,
		})
	}
	if err := s.Append(context.Background(), rs); err != nil {
		t.Fatal(err)
	}
	if err := s.Maintain(context.Background()); err != nil {
		t.Fatal(err)
	}
	return d
}

// A device without readings has an empty series.
func TestStore_Series_noReadings(t *testing.T) {
	s := &rolling{path: filepath.Join(t.TempDir(), "a.db"), now: 1_743_000_000_000}
	s.open(t)
	defer func() { _ = s.Close() }()
	d, err := s.AddDevice(context.Background(), gateway.Device{Alias: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []energy.Step{energy.Step5Min, energy.StepDay, energy.StepAll, energy.StepRaw} {
		_, bs, err := s.Series(context.Background(), d.ID, s.now-day, s.now, step, time.UTC)
		if err != nil || len(bs) > 0 {
			t.Errorf("%s: %v, %v", step, bs, err)
		}
	}
	_, _, err = s.Series(context.Background(), 99, 0, 1, energy.StepAll, time.UTC)
	if gateway.CodeOf(err) != gateway.CodeNotFound {
		t.Errorf("unknown device: %v", err)
	}
}

// Check tells of a rollup that is not what the readings say.
func TestStore_Check_rollup(t *testing.T) {
	s := &rolling{path: filepath.Join(t.TempDir(), "a.db"), now: 1_743_000_000_000}
	s.open(t)
	defer func() { _ = s.Close() }()
	ctx := context.Background()
	d := s.threeDays(t)
	if err := s.Check(ctx); err != nil || s.rollups(t) != 3 {
		t.Fatal(s.rollups(t), err)
	}
	for level := range levels {
		row, err := scanRollup(s.w.QueryRow(`SELECT id, from_ms, to_ms, data FROM rollup
			WHERE level = ?`, level+1))
		if err != nil {
			t.Fatal(err)
		}
		p := s.takePacker()
		for what, change := range map[string]func(sums []energy.Sum){
			"energy": func(sums []energy.Sum) { sums[len(sums)/2].Energy += 50 },
			"max":    func(sums []energy.Sum) { sums[len(sums)/2].Max++ },
		} {
			sums, err := p.sums(nil, d.ID, energy.Level(level+1), row)
			if err != nil {
				t.Fatal(err)
			}
			change(sums)
			data, err := p.packSums(d.ID, energy.Level(level+1), sums)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.w.Exec(`UPDATE rollup SET data = ? WHERE id = ?`, data, row.id); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(ctx); err == nil || !strings.Contains(err.Error(), "rollup of device 1") {
				t.Errorf("level %d, %s: got %v", level+1, what, err)
			}
			if _, err := s.w.Exec(`UPDATE rollup SET data = ? WHERE id = ?`, row.data, row.id); err != nil {
				t.Fatal(err)
			}
		}
		for i := range row.data {
			bad := slices.Clone(row.data)
			bad[i] ^= 1 << (i % 8)
			if _, err := p.sums(nil, d.ID, energy.Level(level+1), rollupRow{
				id: row.id, from: row.from, to: row.to, data: bad,
			}); err == nil {
				t.Errorf("level %d: a flip in byte %d is not seen", level+1, i)
			}
		}
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// A damaged rollup is left out, deleted and made again.
func TestStore_Maintain_damagedRollup(t *testing.T) {
	s := &rolling{path: filepath.Join(t.TempDir(), "a.db"), now: 1_743_000_000_000}
	s.open(t)
	defer func() { _ = s.Close() }()
	ctx := context.Background()
	d := s.threeDays(t)
	before := s.rollups(t)
	series := func() (all string) {
		for _, step := range []energy.Step{energy.Step5Min, energy.StepHour, energy.StepDay} {
			_, bs, err := s.Series(ctx, d.ID, s.now-5*day, s.now, step, time.UTC)
			if err != nil {
				t.Fatal(err)
			}
			all += fmt.Sprintln(step, len(bs))
			if step == energy.StepDay { // shorter ones are rounded to a milliwatt-hour
				all += fmt.Sprintln(bs)
			}
		}
		return all
	}
	want := series()
	if _, err := s.w.Exec(`UPDATE rollup SET data = zeroblob(20)`); err != nil {
		t.Fatal(err)
	}
	if got := series(); got != want {
		t.Fatalf("without rollups: %s\nwant %s", got, want)
	}
	if err := s.Maintain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.rollups(t); got == 0 || got != before {
		t.Errorf("%d rows, want %d", got, before)
	}
}
