package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// base is the instant at which the readings of tests begin.
const base gateway.Instant = 1_700_000_000_000

// clock is what the stores of tests take for now.
func clock() time.Time { return base.Time() }

// openStore opens a new store that is closed when the test ends.
func openStore(tb testing.TB) *store.Store {
	tb.Helper()
	return openAt(tb, filepath.Join(tb.TempDir(), "wattle.db"))
}

// openAt opens the store at path; it is closed when the test ends.
func openAt(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := store.Open(context.Background(), store.Config{Path: path, Now: clock})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// addDevices adds n devices and returns their ids.
func addDevices(tb testing.TB, s *store.Store, n int) []gateway.DeviceID {
	tb.Helper()
	var ids []gateway.DeviceID
	for i := range n {
		d, err := s.AddDevice(context.Background(), gateway.Device{
			Alias: fmt.Sprintf("plug %d", i), Dialect: "native", Topic: fmt.Sprintf("plug%d", i),
		})
		if err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, d.ID)
	}
	return ids
}

// readingsOf returns n readings of a device, one a second, from the first-th
// second after base.
func readingsOf(id gateway.DeviceID, first, n int) []gateway.Reading {
	rs := make([]gateway.Reading, n)
	for i := range rs {
		k := first + i
		rs[i] = gateway.Reading{
			Device: id, At: base + gateway.Instant(k)*gateway.Second,
			Power: gateway.Power(k % 2_000_000), Has: gateway.HasPower,
		}
	}
	return rs
}

// each returns what calls fn with one reading after the other.
func each(fn func(r gateway.Reading) error) func(rs []gateway.Reading) error {
	return func(rs []gateway.Reading) error {
		for _, r := range rs {
			if err := fn(r); err != nil {
				return err
			}
		}
		return nil
	}
}
