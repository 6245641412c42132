package main

import (
	"context"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store"
)

// history is the store as the API sees readings.
type history struct {
	*store.Store
	zone *time.Location
}

// Series implements api.History.
func (h history) Series(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant, step string,
) (string, []api.Point, error) {
	taken, buckets, err := h.Store.Series(ctx, device, from, to, energy.Step(step),
		h.zone)
	if err != nil {
		return "", nil, err
	}
	points := make([]api.Point, len(buckets))
	for i, b := range buckets {
		points[i] = api.Point{
			From: b.From, To: b.To, Mean: b.Mean, Min: b.Min, Max: b.Max, Energy: b.Energy,
		}
	}
	return string(taken), points, nil
}

// Scan implements api.History.
func (h history) Scan(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant,
	fn func(r gateway.Reading) error,
) error {
	return h.Store.Scan(ctx, device, from, to, func(rs []gateway.Reading) error {
		for _, r := range rs {
			if err := fn(r); err != nil {
				return err
			}
		}
		return nil
	})
}
