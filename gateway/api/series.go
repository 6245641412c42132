package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	body := fmt.Appendf(s.texts.take(64+96*len(points)), `{"step":%q,"points":`, taken)
	body = append(appendPoints(body, newStamper(s.cfg.Zone), points), '}')
	writeSeries(w, computed, [][]byte{body})
	s.texts.put(body)
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
	taken, texts, err := s.seriesTexts(r.Context(), ids, from, to, step)
	if err != nil {
		return err
	}
	writeSeries(w, computed, append(append([][]byte{fmt.Appendf(nil, `{"step":%q,"devices":[`, taken)},
		texts...), []byte("]}")))
	s.texts.put(texts...)
	return nil
}

// seriesWorkers is how many devices of one request are summed up at once.
const seriesWorkers = 2

// seriesTexts returns the step taken, and the JSON text of each device's series.
func (s *Server) seriesTexts(
	ctx context.Context, ids []gateway.DeviceID, from, to gateway.Instant, step string,
) (taken string, texts [][]byte, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	texts = make([][]byte, len(ids))
	taken = step
	var mu sync.Mutex // of what follows and of taken
	next, total := 0, 0
	claim := func() int {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1
	}
	count := func(step string, n int) error {
		mu.Lock()
		defer mu.Unlock()
		taken = step
		// Each device may have a part of a step at either end.
		if total += n; total > seriesPoints+2*len(ids) {
			return tooManyPoints(len(ids))
		}
		return nil
	}
	var wg sync.WaitGroup
	for range min(seriesWorkers, len(ids)) {
		wg.Go(func() {
			stamps := newStamper(s.cfg.Zone)
			for i := claim(); i < len(ids) && ctx.Err() == nil; i = claim() {
				step, points, err := s.cfg.History.Series(ctx, ids[i], from, to, step)
				if err == nil {
					err = count(step, len(points))
				}
				if err != nil {
					cancel(err) // the first one counts
					return
				}
				text := s.texts.take(64 + 96*len(points))
				if i > 0 {
					text = append(text, ',')
				}
				text = fmt.Appendf(text, `{"device_id":%d,"points":`, ids[i])
				texts[i] = append(appendPoints(text, stamps, points), '}')
			}
		})
	}
	wg.Wait()
	return taken, texts, context.Cause(ctx)
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
