package api

import (
	"net/http"

	"github.com/wattle-home/wattle/gateway"
)

// eventBody is an event as the API shows it.
type eventBody struct {
	ID       int64             `json:"id"`
	Time     *string           `json:"time"`
	Kind     gateway.EventKind `json:"kind"`
	DeviceID *gateway.DeviceID `json:"device_id"`
	Source   gateway.Source    `json:"source"`
	Text     string            `json:"text"`
}

func (s *Server) toEvent(e gateway.Event) eventBody {
	b := eventBody{ID: e.ID, Time: s.stamp(e.At), Kind: e.Kind, Source: e.Source, Text: e.Text}
	if e.Device != 0 {
		b.DeviceID = &e.Device
	}
	return b
}

// getEvents lists what happened, newest first.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	p := s.params(r)
	q := EventQuery{}
	q.From, q.To = p.span(func() (gateway.Instant, gateway.Instant) {
		return 0, s.now() + gateway.MaxAhead
	})
	q.Kind = gateway.EventKind(p.text("kind", ""))
	q.Device = gateway.DeviceID(p.number("device", 0, 1, 1<<31-1))
	page, perPage := p.page()
	q.Offset, q.Limit = page*perPage, perPage
	if err := p.done(); err != nil {
		return err
	}
	es, total, err := s.cfg.Events.ListEvents(r.Context(), q)
	if err != nil {
		return err
	}
	items := make([]eventBody, len(es))
	for i, e := range es {
		items[i] = s.toEvent(e)
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"items": items, "page": page, "per_page": perPage, "total": total,
	})
}

// getHousehold tells what the household is called and where it is.
func (s *Server) getHousehold(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"name": s.cfg.Name, "timezone": s.cfg.Zone.String(), "demo": s.cfg.Demo, "version": s.cfg.Version,
		"time": s.stamp(s.now()),
	})
}
