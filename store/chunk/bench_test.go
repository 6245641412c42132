package chunk_test

import (
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
	"github.com/wattle-home/wattle/store/household"
)

// perChunk is how many readings the benchmarks put into one chunk.
const perChunk = 12_000

// packed returns the chunks of a household, and how many readings and bytes
// there are.
func packed(b *testing.B, jitter int64) (chunks [][]byte, readings, bytes int) {
	b.Helper()
	var e chunk.Encoder
	for _, rs := range household.Days(6, jitter) {
		for len(rs) > 0 {
			n := min(perChunk, len(rs))
			data, err := e.Append(nil, rs[:n])
			if err != nil {
				b.Fatal(err)
			}
			chunks = append(chunks, data)
			bytes += len(data)
			readings += n
			rs = rs[n:]
		}
	}
	return chunks, readings, bytes
}

// stamps are the benchmarks' kinds of stamps.
var stamps = []struct {
	name   string
	jitter int64
}{{"regular", 0}, {"jittered", 60}}

// BenchmarkDecoder unpacks a household and says how small it was.
func BenchmarkDecoder(b *testing.B) {
	for _, c := range stamps {
		b.Run(c.name, func(b *testing.B) {
			chunks, readings, bytes := packed(b, c.jitter)
			var d chunk.Decoder
			var dst []gateway.Reading
			rounds := 0
			for b.Loop() {
				for _, data := range chunks {
					var err error
					if dst, err = d.Append(dst[:0], data); err != nil {
						b.Fatal(err)
					}
				}
				rounds++
			}
			b.ReportMetric(float64(bytes)/float64(readings), "B/reading")
			b.ReportMetric(float64(rounds*readings)/b.Elapsed().Seconds()/1e6, "Mreadings/s")
		})
	}
}

// BenchmarkEncoder packs a household.
func BenchmarkEncoder(b *testing.B) {
	for _, c := range stamps {
		b.Run(c.name, func(b *testing.B) {
			all := household.Days(1, c.jitter)
			var e chunk.Encoder
			var dst []byte
			n := 0
			for b.Loop() {
				for _, rs := range all {
					var err error
					if dst, err = e.Append(dst[:0], rs); err != nil {
						b.Fatal(err)
					}
					n += len(rs)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/reading")
		})
	}
}
