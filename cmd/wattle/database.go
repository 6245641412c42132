package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/store"
)

// database is the store as the API sees the file.
type database struct{ *store.Store }

// Check implements api.Database.
func (d database) Check(ctx context.Context) (lines []string, err error) {
	err = d.Store.Check(ctx)
	var problems store.Problems
	if !errors.As(err, &problems) {
		return nil, err
	}
	for _, p := range problems {
		lines = append(lines, p.Error())
	}
	return lines, nil
}

// Thinning implements api.Database.
func (d database) Thinning(ctx context.Context) (api.Thinning, error) {
	t, err := d.Store.Thinning(ctx, gateway.InstantOf(time.Now()))
	return api.Thinning{
		Reason: t.Reason, Before: t.Before, Readings: t.Readings, Bytes: t.Bytes, MaxBytes: t.MaxBytes,
	}, err
}

// newCheck returns `wattle check`.
func newCheck() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read the whole database and tell what is wrong with it",
		Long: `Read the whole database: its structure, every reading's checksum, every sum
against its readings. Each fault is a line; if there is one the exit code is 1.
The gateway may run.`,
		Args: noArgs,
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		var out struct {
			OK       bool     `json:"ok"`
			Problems []string `json:"problems"`
			Thinning struct {
				Reason   *string `json:"reason"`
				Before   *string `json:"before"`
				Readings int64   `json:"readings"`
				Bytes    int64   `json:"bytes"`
				MaxBytes *int64  `json:"max_bytes"`
			} `json:"thinning"`
		}
		if err := c.call(ctx, "POST", "/database/check", nil, &out); err != nil {
			return err
		}
		err := c.print(out, func(w io.Writer) {
			for _, p := range out.Problems {
				fmt.Fprintln(w, p)
			}
			t := out.Thinning
			bound := ""
			if t.MaxBytes != nil {
				bound = fmt.Sprintf(" of at most %.1f MB", float64(*t.MaxBytes)/1e6)
			}
			fmt.Fprintf(w, "%.1f MB%s", float64(t.Bytes)/1e6, bound)
			if t.Reason != nil && t.Before != nil {
				fmt.Fprintf(w, "; %d readings before %s are to go because of their %s, their sums stay",
					t.Readings, *t.Before, *t.Reason)
			}
			fmt.Fprintln(w)
		})
		if err == nil && !out.OK {
			err = fmt.Errorf("the database has %d faults", len(out.Problems))
		}
		return err
	})
	f.add(cmd)
	return cmd
}

// newCompact returns `wattle compact`.
func newCompact() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Make the database as small as it can be, without losing anything",
		Args:  noArgs,
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		var out struct {
			Before int64 `json:"bytes_before"`
			After  int64 `json:"bytes_after"`
		}
		if err := c.call(ctx, "POST", "/database/compact", nil, &out); err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "%.1f MB before, %.1f MB now\n", float64(out.Before)/1e6, float64(out.After)/1e6)
		})
	})
	f.add(cmd)
	return cmd
}
