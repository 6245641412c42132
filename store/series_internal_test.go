package store

import (
	"context"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store/household"
)

// BenchmarkStore_Series asks what a page asks, of a household that has been
// there for as long as -readings make, up to its last reading.
func BenchmarkStore_Series(b *testing.B) {
	s := benchStore(b)
	ctx := context.Background()
	var last gateway.Instant
	fill(b, 0, *benchReadings, 5000, func(rs []gateway.Reading) error {
		last = rs[len(rs)-1].At
		return s.Append(ctx, rs)
	})
	now := time.UnixMilli(int64(last))
	s.cfg.Now = func() time.Time { return now }
	if err := s.Maintain(ctx); err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct {
		name    string
		devices int
		span    gateway.Instant
		step    energy.Step
	}{
		{"day by 5 min", 1, day, energy.Step5Min},
		{"30 days by hour", 1, 30 * day, energy.StepHour},
		{"year by day of all", household.Plugs, 365 * day, energy.StepDay},
		{"all", 1, last - household.Start, energy.StepAll},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for id := range q.devices {
					_, _, err := s.Series(ctx, gateway.DeviceID(id+1), last+gateway.Minute-q.span, last+gateway.Minute, q.step, time.UTC)
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
