package main

import (
	"context"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/energy"
	"github.com/wattle-home/wattle/store"
)

// history sums up what the store has by the household's calendar.
type history struct {
	*store.Store
	zone *time.Location
}

// Series implements api.History.
func (h history) Series(
	ctx context.Context, device gateway.DeviceID, from, to gateway.Instant, step string,
) (string, []api.Point, error) {
	taken, buckets, err := energy.Query(source{ctx, h.Store, device}, from, to, energy.Step(step),
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

// source is one device's readings as package energy asks for them.
type source struct {
	ctx    context.Context
	store  *store.Store
	device gateway.DeviceID
}

// Before implements energy.Source.
func (s source) Before(at gateway.Instant) (gateway.Reading, bool, error) {
	return s.store.Before(s.ctx, s.device, at)
}

// After implements energy.Source.
func (s source) After(at gateway.Instant) (gateway.Reading, bool, error) {
	return s.store.After(s.ctx, s.device, at)
}

// Scan implements energy.Source.
func (s source) Scan(from, to gateway.Instant, fn func(gateway.Reading) error) error {
	return s.store.Scan(s.ctx, s.device, from, to, fn)
}
