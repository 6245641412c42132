package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
	"github.com/wattle-home/wattle/store/household"
)

// sealing stores a day of 30 devices with a reading each second, commit by
// commit, and seals what is left of it, while a further device goes on.
func (b *bench) sealing(ctx context.Context) (err error) {
	path := filepath.Join(b.dir, "sealing.db")
	now := (household.Start + 30*gateway.Hour).Time()
	s, err := store.Open(ctx, store.Config{Path: path, Now: func() time.Time { return now }})
	if err != nil {
		return err
	}
	defer func() {
		_ = s.Close()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + suffix)
		}
	}()
	for i := range household.Plugs + 1 {
		if _, err := s.AddDevice(ctx, gateway.Device{Alias: fmt.Sprint("plug", i+1)}); err != nil {
			return err
		}
	}
	h := household.New(0)
	used, began := cpu(), time.Now()
	var rs []gateway.Reading
	for second := range gateway.Instant(24 * 3600) {
		for range household.Plugs {
			r := h.Next()
			r.At = household.Start + second*gateway.Second
			rs = append(rs, r)
		}
		if len(rs) >= batch {
			if err := s.Append(ctx, rs); err != nil {
				return err
			}
			rs = rs[:0]
		}
	}
	if err := s.Append(ctx, rs); err != nil {
		return err
	}
	appended := cpu() - used
	done := make(chan error, 1)
	used = cpu()
	go func() { done <- s.Maintain(ctx) }()
	var longest time.Duration
	for at := household.Start + 25*gateway.Hour; ; at += gateway.Second {
		select {
		case err := <-done:
			b.add("a day of 30 devices at 1 s: storing and sealing it all",
				fmt.Sprintf("%d ms CPU, of it %d at the day's end", (appended+cpu()-used).Milliseconds(),
					(cpu()-used).Milliseconds()), "≤ 300 ms for sealing", "")
			b.add("longest wait of a commit meanwhile", ms(longest), "≤ 20 ms", "")
			fmt.Fprintf(os.Stderr, "stored in %.1f s\n", time.Since(began).Seconds())
			return err
		default:
		}
		begin := time.Now()
		err := s.Append(ctx, []gateway.Reading{{
			Device: household.Plugs + 1, At: at, Power: 5, Has: gateway.HasPower,
		}})
		if err != nil {
			return err
		}
		longest = max(longest, time.Since(begin))
	}
}
