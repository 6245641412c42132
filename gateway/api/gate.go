package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of series.
const (
	// seriesPoints is the most points of one answer: a year of five minutes.
	seriesPoints = 366 * 24 * 12
	// More points than smallPoints or days of devices than smallDays make a
	// request large: it waits for other large ones.
	smallPoints, smallDays = 20_000, 62
	// seriesAtOnce is for how many requests series are summed up at once.
	seriesAtOnce = 2
	// seriesWait is how long a request waits for its turn.
	seriesWait = 20 * time.Second
)

// pointsIn returns how many points a step gives for one device, at most but
// for one or two at the ends. Of raw it is a guess: one a second.
func pointsIn(from, to gateway.Instant, step string) int64 {
	size := map[string]gateway.Instant{
		"raw": gateway.Second, "5m": 5 * gateway.Minute, "1h": gateway.Hour,
		"1d": 24 * gateway.Hour, "1mo": 28 * 24 * gateway.Hour,
	}[step]
	if size == 0 { // all is one point, and auto gives few
		return 1
	}
	return int64((to - from) / size)
}

// tooManyPoints is the answer to a request for more than seriesPoints.
func tooManyPoints(devices int) error {
	return invalid("step", fmt.Sprintf("%d devices in this span have more than %d points together; "+
		"choose a longer step, a shorter span or fewer devices", devices, seriesPoints))
}

// seriesGate lets few series be summed up at once: each takes memory and
// keeps the disk busy. One large one at most leaves a place for small ones.
type seriesGate struct{ all, large chan struct{} }

// newSeriesGate returns a gate that nobody has entered.
func newSeriesGate() seriesGate {
	return seriesGate{make(chan struct{}, seriesAtOnce), make(chan struct{}, 1)}
}

// enter waits for a turn. The caller calls computed when it has its answer in
// memory, and leave when the answer is sent; leave implies computed. A small
// answer may be sent while others are summed up, so that nobody waits for a
// slow reader; a large one keeps other large ones waiting.
func (g seriesGate) enter(ctx context.Context, large bool) (computed, leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, seriesWait)
	defer cancel()
	var held []chan struct{}
	release := func(n int) {
		for len(held) > n {
			<-held[len(held)-1]
			held = held[:len(held)-1]
		}
	}
	wanted := []chan struct{}{g.all}
	if large {
		wanted = []chan struct{}{g.large, g.all}
	}
	for _, c := range wanted {
		select {
		case c <- struct{}{}:
			held = append(held, c)
		case <-ctx.Done():
			release(0)
			return nil, nil, &gateway.Error{
				Code:    gateway.CodeUnavailable,
				Message: "other series are being summed up; try again in a while", Err: ctx.Err(),
			}
		}
	}
	return func() { release(len(wanted) - 1) }, func() { release(0) }, nil
}

// takeTurn is enter for a request for series of some devices.
func (s *Server) takeTurn(
	r *http.Request, devices int, from, to gateway.Instant, step string,
) (computed, leave func(), err error) {
	n, days := int64(devices), int64((to-from)/(24*gateway.Hour))
	large := n*pointsIn(from, to, step) > smallPoints || n*days > smallDays
	return s.series.enter(r.Context(), large)
}

// writeSeries answers with the parts of a JSON text, now that it is computed;
// the time in which it has to be taken begins.
func writeSeries(w http.ResponseWriter, computed func(), parts [][]byte) {
	computed()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(streamWrite)) // in process: none
	w.Header().Set("Content-Type", "application/json")
	for _, p := range append(parts, []byte("\n")) {
		if _, err := w.Write(p); err != nil {
			return // the client went away
		}
	}
}
