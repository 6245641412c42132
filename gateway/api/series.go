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

// seriesSpan takes from, to and step.
func seriesSpan(p *params) (from, to gateway.Instant, step string) {
	from, to = p.span(nil)
	step = p.text("step", "auto")
	if !slices.Contains(steps, step) {
		p.fault("step", fmt.Sprintf("%q is not one of %s", clip(step), strings.Join(steps, ", ")))
	}
	return from, to, step
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
	taken, points, err := s.cfg.History.Series(r.Context(), d.ID, from, to, step)
	if err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"step":%q,"points":`, taken)
	body = appendPoints(body, newStamper(s.cfg.Zone), points)
	writeSeries(w, computed, append(body, '}'))
	return nil
}

// getSeries does so for several devices.
func (s *Server) getSeries(w http.ResponseWriter, r *http.Request) error {
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
	var body []byte
	stamps := newStamper(s.cfg.Zone)
	taken, total := step, 0
	for i, id := range ids {
		var points []Point
		if taken, points, err = s.cfg.History.Series(r.Context(), id, from, to, step); err != nil {
			return err
		}
		// Each device may have a part of a step at either end.
		if total += len(points); total > seriesPoints+2*len(ids) {
			return tooManyPoints(len(ids))
		}
		if i == 0 {
			body = fmt.Appendf(body, `{"step":%q,"devices":[`, taken)
		} else {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"device_id":%d,"points":`, id)
		body = append(appendPoints(body, stamps, points), '}')
	}
	if len(ids) == 0 {
		body = fmt.Appendf(body, `{"step":%q,"devices":[`, taken)
	}
	writeSeries(w, computed, append(body, "]}"...))
	return nil
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
