package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Times of the live stream.
const (
	heartbeatEvery = 15 * time.Second
	streamWrite    = 30 * time.Second // a viewer that takes nothing for so long is dropped
)

// getLive streams server-sent events: first the state of each device, then
// what happens.
func (s *Server) getLive(w http.ResponseWriter, r *http.Request) error {
	if !sameOrigin(r) {
		return forbidden("another site's page asked for the live stream")
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	seq, leave := s.cfg.Hub.Join()
	defer leave()
	st := &stream{w: w, rc: http.NewResponseController(w)}
	if err := s.snapshot(st, seq); err != nil {
		return nil //nolint:nilerr // the viewer is gone; there is nobody to tell
	}
	for {
		ctx, cancel := context.WithTimeout(r.Context(), heartbeatEvery)
		items, newest, gap, err := s.cfg.Hub.Next(ctx, seq)
		cancel()
		switch {
		case r.Context().Err() != nil:
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
