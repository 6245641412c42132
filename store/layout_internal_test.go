package store

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/household"
)

// benchReadings is how many readings BenchmarkLayout stores.
var benchReadings = flag.Int("readings", 10_000_000, "readings that BenchmarkLayout stores")

// cpu returns the CPU time that the process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchStore opens a store with a household's devices.
func benchStore(b *testing.B) *Store {
	b.Helper()
	s, err := Open(context.Background(), Config{Path: filepath.Join(b.TempDir(), "a.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	for i := range household.Plugs {
		_, err := s.AddDevice(context.Background(), gateway.Device{Alias: string(rune('A' + i))})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// fill hands n readings of a household to put, so many at a time.
func fill(b *testing.B, jitter int64, n, batch int, put func([]gateway.Reading) error) {
	b.Helper()
	h := household.New(jitter)
	rs := make([]gateway.Reading, 0, batch)
	for i := range n {
		if rs = append(rs, h.Next()); len(rs) == batch || i == n-1 {
			if err := put(rs); err != nil {
				b.Fatal(err)
			}
			rs = rs[:0]
		}
	}
}

// BenchmarkLayout stores a household in order of time, by the thousands as an
// import does, and reads it back: in chunks, and in a plain table as version 1
// had it.
func BenchmarkLayout(b *testing.B) {
	const batch = 5000
	for _, c := range []struct {
		name   string
		jitter int64
	}{{"regular", 0}, {"jittered", 60}} {
		b.Run("chunks/"+c.name, func(b *testing.B) {
			for range b.N {
				s := benchStore(b)
				layoutIn(b, s, func() {
					fill(b, c.jitter, *benchReadings, batch, func(rs []gateway.Reading) error {
						return s.Append(context.Background(), rs)
					})
				})
			}
		})
		b.Run("plain/"+c.name, func(b *testing.B) {
			for range b.N {
				s := benchStore(b)
				_, err := s.w.Exec(`CREATE TABLE reading (device_id INTEGER NOT NULL,
					at_ms INTEGER NOT NULL, power_mw INTEGER, energy_mwh INTEGER,
					PRIMARY KEY (device_id, at_ms)) STRICT, WITHOUT ROWID`)
				if err != nil {
					b.Fatal(err)
				}
				layoutIn(b, s, func() {
					fill(b, c.jitter, *benchReadings/5, batch, func(rs []gateway.Reading) error {
						return plainAppend(s, normal(nil, rs))
					})
				})
			}
		})
	}
}

// layoutIn has load fill s and reports what that took and what s takes.
func layoutIn(b *testing.B, s *Store, load func()) {
	b.Helper()
	began, used := time.Now(), cpu(b)
	load()
	ctx := context.Background()
	if err := s.clearTail(ctx); err != nil {
		b.Fatal(err)
	}
	took, spent := time.Since(began), cpu(b)-used
	began = time.Now()
	if plain, err := s.hasTable(ctx, "reading"); err != nil || !plain {
		if err := errors.Join(err, s.rollUpAll(ctx, math.MaxInt64/2)); err != nil {
			b.Fatal(err)
		}
		var rows, bytes float64
		err := s.r.QueryRow(`SELECT count(*), coalesce(sum(length(data)), 0) FROM rollup`).Scan(&rows, &bytes)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(bytes/float64(*benchReadings), "rollup-B/reading")
		b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(*benchReadings), "rollup-ns/reading")
	}
	if err := s.tidy(ctx); err != nil {
		b.Fatal(err)
	}
	if _, err := s.w.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(s.cfg.Path)
	if err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	var n int64
	for id := range gateway.DeviceID(household.Plugs) {
		n += scanAny(b, s, id+1)
	}
	scan := time.Since(began)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(info.Size())/float64(n), "B/reading")
	b.ReportMetric(float64(n)/took.Seconds(), "stored/s")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(n), "cpu-ns/stored")
	b.ReportMetric(float64(n)/scan.Seconds(), "scanned/s")
}

// scanAny reads all of a device from whichever layout s has.
func scanAny(b *testing.B, s *Store, id gateway.DeviceID) (n int64) {
	b.Helper()
	plain, err := s.hasTable(context.Background(), "reading")
	if err != nil {
		b.Fatal(err)
	}
	var sum gateway.Power
	if !plain {
		err = s.Scan(context.Background(), id, 0, math.MaxInt64, func(rs []gateway.Reading) error {
			n += int64(len(rs))
			for i := range rs {
				sum += rs[i].Power
			}
			return nil
		})
	} else {
		var rows *sql.Rows
		rows, err = s.r.Query(`SELECT at_ms, power_mw, energy_mwh FROM reading
			WHERE device_id = ? ORDER BY at_ms`, id)
		for err == nil && rows.Next() {
			var at, power, energy any
			err = rows.Scan(&at, &power, &energy)
			n++
		}
		_ = rows.Close()
	}
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// plainAppend stores readings as version 1 did, 32 to a statement.
func plainAppend(s *Store, rs []gateway.Reading) error {
	const many = 32
	return s.write(context.Background(), "appending", func(tx *sql.Tx) error {
		stmt, err := tx.Prepare(`INSERT INTO reading VALUES (?,?,?,?)` +
			strings.Repeat(`,(?,?,?,?)`, many-1) + ` ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		one, err := tx.Prepare(`INSERT INTO reading VALUES (?,?,?,?) ON CONFLICT DO NOTHING`)
		if err != nil {
			return err
		}
		args := make([]any, 0, 4*many)
		for i, r := range rs {
			args = append(args, int64(r.Device), int64(r.At), int64(r.Power), int64(r.Energy))
			switch {
			case len(args) == 4*many:
				_, err = stmt.Exec(args...)
				args = args[:0]
			case len(rs)-i <= len(rs)%many:
				_, err = one.Exec(args...)
				args = args[:0]
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkOpen_fullTail opens a store whose tail is as long as it gets, in
// rows of three readings as single plugs make them.
func BenchmarkOpen_fullTail(b *testing.B) {
	s := benchStore(b)
	fill(b, 0, s.tailMost, 3, func(rs []gateway.Reading) error {
		return s.Append(context.Background(), rs)
	})
	path := s.cfg.Path
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := Open(context.Background(), Config{Path: path})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkStore_sealOne seals what a device with a reading a second has when
// its turn comes, a chunk that is not full before it.
func BenchmarkStore_sealOne(b *testing.B) {
	s, ctx := benchStore(b), context.Background()
	days := household.Days(3, 60)[3]
	i := 0
	for b.Loop() {
		b.StopTimer()
		if i+2200 > len(days) {
			if _, err := s.w.Exec(`DELETE FROM chunk`); err != nil {
				b.Fatal(err)
			}
			i = 0
		}
		if err := s.Append(ctx, days[i:i+2200]); err != nil {
			b.Fatal(err)
		}
		i += 2200
		b.StartTimer()
		if _, err := s.sealOne(ctx, anyDevice); err != nil {
			b.Fatal(err)
		}
	}
}
