package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// Steps are the steps of a series.
var steps = []string{"raw", "5m", "1h", "1d", "1mo", "all", "auto"}

// pointBody is a point of a series as the API shows it.
type pointBody struct {
	Time      *string `json:"time"`
	MeanW     float64 `json:"mean_w"`
	MinW      float64 `json:"min_w"`
	MaxW      float64 `json:"max_w"`
	EnergyKWh float64 `json:"energy_kwh"`
}

// seriesSpan takes from, to and step.
func seriesSpan(p *params) (from, to gateway.Instant, step string) {
	from, to = p.span(nil)
	step = p.text("step", "auto")
	if !slices.Contains(steps, step) {
		p.fault("step", fmt.Sprintf("%q is not one of %s", clip(step), strings.Join(steps, ", ")))
	}
	return from, to, step
}

func (s *Server) seriesOf(
	r *http.Request, id gateway.DeviceID, from, to gateway.Instant, step string,
) (string, []pointBody, error) {
	taken, points, err := s.cfg.History.Series(r.Context(), id, from, to, step)
	if err != nil {
		return "", nil, err
	}
	out := make([]pointBody, len(points))
	for i, p := range points {
		out[i] = pointBody{s.stamp(p.From), p.Mean.W(), p.Min.W(), p.Max.W(), p.Energy.KWh()}
	}
	return taken, out, nil
}

// getDeviceSeries sums a span of one device up in steps.
func (s *Server) getDeviceSeries(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	p := s.params(r)
	from, to, step := seriesSpan(p)
	if err := p.done(); err != nil {
		return err
	}
	computed, leave, err := s.takeTurn(r, 1, from, to, step)
	if err != nil {
		return err
	}
	defer leave()
	taken, points, err := s.seriesOf(r, d.ID, from, to, step)
	if err != nil {
		return err
	}
	return writeSeries(w, computed, map[string]any{"step": taken, "points": points})
}

// getSeries does so for several devices.
func (s *Server) getSeries(w http.ResponseWriter, r *http.Request) error {
	type deviceSeries struct {
		DeviceID gateway.DeviceID `json:"device_id"`
		Points   []pointBody      `json:"points"`
	}
	p := s.params(r)
	ids := s.deviceList(p)
	from, to, step := seriesSpan(p)
	if err := p.done(); err != nil {
		return err
	}
	if step != "raw" && int64(len(ids))*pointsIn(from, to, step) > seriesPoints {
		return tooManyPoints(len(ids))
	}
	computed, leave, err := s.takeTurn(r, len(ids), from, to, step)
	if err != nil {
		return err
	}
	defer leave()
	out := []deviceSeries{}
	taken, total := step, 0
	for _, id := range ids {
		var points []pointBody
		if taken, points, err = s.seriesOf(r, id, from, to, step); err != nil {
			return err
		}
		// Each device may have a part of a step at either end.
		if total += len(points); total > seriesPoints+2*len(ids) {
			return tooManyPoints(len(ids))
		}
		out = append(out, deviceSeries{id, points})
	}
	return writeSeries(w, computed, map[string]any{"step": taken, "devices": out})
}

// deviceList takes devices as ids with commas between; without it, all.
func (s *Server) deviceList(p *params) []gateway.DeviceID {
	var ids []gateway.DeviceID
	text := p.text("devices", "")
	if text == "" {
		for _, d := range s.cfg.Devices.Devices() {
			ids = append(ids, d.ID)
		}
		return ids
	}
	for part := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseInt(part, 10, 64)
		if _, _, ok := s.cfg.Devices.Device(gateway.DeviceID(id)); err != nil || !ok {
			p.fault("devices", fmt.Sprintf("there is no device %q", clip(part)))
			return nil
		}
		if !slices.Contains(ids, gateway.DeviceID(id)) {
			ids = append(ids, gateway.DeviceID(id))
		}
	}
	return ids
}
