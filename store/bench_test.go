package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/wattle-home/wattle/gateway"
)

// BenchmarkStore_Append measures durable batches of new readings of 30
// devices, in the order in which they would come in.
func BenchmarkStore_Append(b *testing.B) {
	for _, size := range []int{1, 15, 256, 5000} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := openStore(b)
			ids := addDevices(b, s, 30)
			batch := make([]gateway.Reading, size)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for i := range batch {
					batch[i] = gateway.Reading{
						Device: ids[n%len(ids)],
						At:     base + gateway.Instant(n/len(ids))*gateway.Second,
						Power:  gateway.Power(n % 3_000_000),
						Energy: gateway.Energy(n),
						Has:    gateway.HasPower | gateway.HasEnergy,
					}
					n++
				}
				if err := s.Append(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkStore_Append_import measures what an import does: one device after
// the other, in order of time.
func BenchmarkStore_Append_import(b *testing.B) {
	s := openStore(b)
	id := addDevices(b, s, 1)[0]
	n := 0
	for b.Loop() {
		batch := readingsOf(id, n, 5000)
		n += len(batch)
		if err := s.Append(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkStore_Scan measures reading a million readings of one device.
func BenchmarkStore_Scan(b *testing.B) {
	const rows = 1_000_000
	s := openStore(b)
	id := addDevices(b, s, 1)[0]
	for n := 0; n < rows; n += 50_000 {
		if err := s.Append(context.Background(), readingsOf(id, n, 50_000)); err != nil {
			b.Fatal(err)
		}
	}
	n := 0
	for b.Loop() {
		err := s.Scan(context.Background(), id, base, base+rows*gateway.Second,
			each(func(gateway.Reading) error { n++; return nil }))
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
