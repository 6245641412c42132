package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Bounds of the live stream.
const (
	heartbeatEvery = 15 * time.Second
	streamWrite    = 30 * time.Second // a viewer that takes nothing for so long is dropped
	askEvery       = time.Second      // how old a viewer's rights may be while something is sent
	streamsEach    = 64               // open at once for one principal
)

// getLive streams server-sent events: first the state of each device, then
// what happens. It ends when the viewer's rights do: nothing is sent on rights
// that are older than askEvery.
func (s *Server) getLive(w http.ResponseWriter, r *http.Request) error {
	if !sameOrigin(r) {
		return forbidden("another site's page asked for the live stream")
	}
	p := principalOf(r)
	gone, ok := s.viewers.enter(p)
	if !ok {
		w.Header().Set("Retry-After", retryAfter(heartbeatEvery))
		return statusError{
			http.StatusTooManyRequests,
			fmt.Sprintf("%s has %d live streams open; close one first", clip(p.Name), streamsEach),
		}
	}
	defer gone()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	seq, leave := s.cfg.Hub.Join()
	defer leave()
	st := &stream{w: w, rc: http.NewResponseController(w)}
	if err := s.snapshot(st, seq); err != nil {
		return nil //nolint:nilerr // the viewer is gone; there is nobody to tell
	}
	allowed := s.stillAllowed(r)
	for {
		ctx, cancel := context.WithTimeout(r.Context(), heartbeatEvery)
		items, newest, gap, err := s.cfg.Hub.Next(ctx, seq)
		cancel()
		switch {
		case r.Context().Err() != nil:
			return nil
		case !allowed():
			return nil
		case errors.Is(err, context.DeadlineExceeded):
			err = st.comment()
		case gap:
			err = s.snapshot(st, newest)
		default:
			err = s.sendItems(st, items)
		}
		if err != nil {
			return nil //nolint:nilerr // the viewer is gone; there is nobody to tell
		}
		seq = newest
	}
}

// stillAllowed returns a function that reports whether who asked may still
// watch. It asks again if the last answer is older than askEvery.
func (s *Server) stillAllowed(r *http.Request) func() bool {
	again, _ := r.Context().Value(againKey{}).(func() error)
	asked := time.Now()
	return func() bool {
		if time.Since(asked) < askEvery {
			return true
		}
		err := again()
		asked = time.Now()
		if err != nil && r.Context().Err() == nil {
			s.cfg.Logger.InfoContext(r.Context(), "ending a live stream", "member", principalOf(r).Name,
				"err", err)
		}
		return err == nil
	}
}

// viewers counts the live streams of each principal. The zero value is ready.
type viewers struct {
	mu sync.Mutex
	n  map[principal]int
}

// enter counts a stream of p until the caller calls leave, once. ok is false
// if p has as many as it may; then there is nothing to leave.
func (v *viewers) enter(p principal) (leave func(), ok bool) {
	p.Role = "" // a member stays one principal when its role changes
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.n[p] >= streamsEach {
		return nil, false
	}
	if v.n == nil {
		v.n = map[principal]int{}
	}
	v.n[p]++
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.n[p]--; v.n[p] == 0 {
			delete(v.n, p)
		}
	}, true
}

// snapshot sends the state of each device.
func (s *Server) snapshot(st *stream, seq uint64) error {
	for _, d := range s.cfg.Devices.Devices() {
		if _, state, ok := s.cfg.Devices.Device(d.ID); ok {
			if err := st.send(seq, gateway.LiveState, s.toLiveState(state)); err != nil {
				return err
			}
		}
	}
	return st.flush()
}

func (s *Server) sendItems(st *stream, items []gateway.LiveItem) error {
	for _, it := range items {
		var body any
		switch v := it.Value.(type) {
		case gateway.Reading:
			body = struct {
				DeviceID gateway.DeviceID `json:"device_id"`
				readingBody
			}{v.Device, s.toReading(v)}
		case gateway.DeviceState:
			body = s.toLiveState(v)
		case gateway.Command:
			body = s.toCommand(v)
		case gateway.Event:
			body = s.toEvent(v)
		default:
			continue
		}
		if err := st.send(it.Seq, it.Kind, body); err != nil {
			return err
		}
	}
	return st.flush()
}

// liveState is the state of a device in the stream.
type liveState struct {
	DeviceID gateway.DeviceID `json:"device_id"`
	stateBody
}

func (s *Server) toLiveState(st gateway.DeviceState) liveState {
	return liveState{st.Device, s.toState(st)}
}

// stream writes server-sent events.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

func (st *stream) send(id uint64, kind gateway.LiveKind, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(st.w, "id: %d\nevent: %s\ndata: %s\n\n", id, kind, data)
	return err
}

// comment keeps the connection alive.
func (st *stream) comment() error {
	if _, err := fmt.Fprint(st.w, ":\n\n"); err != nil {
		return err
	}
	return st.flush()
}

// flush sends what is written and gives the viewer time for it.
func (st *stream) flush() error {
	if err := st.rc.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil &&
		!errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return st.rc.Flush()
}
