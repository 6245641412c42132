package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/wattle-home/wattle/gateway"
)

// readingBody is a reading as the API shows it; null is not measured.
type readingBody struct {
	Time     *string  `json:"time"`
	PowerW   *float64 `json:"power_w"`
	EnergyWh *float64 `json:"energy_wh"`
}

func (s *Server) toReading(rd gateway.Reading) readingBody {
	b := readingBody{Time: s.stamp(rd.At)}
	if rd.Has&gateway.HasPower != 0 {
		v := rd.Power.W()
		b.PowerW = &v
	}
	if rd.Has&gateway.HasEnergy != 0 {
		v := rd.Energy.Wh()
		b.EnergyWh = &v
	}
	return b
}

// getDeviceData lists the readings of a span, oldest first.
func (s *Server) getDeviceData(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	p := s.params(r)
	from, to := p.span(func() (gateway.Instant, gateway.Instant) {
		return 0, s.now() + gateway.MaxAhead
	})
	page, perPage := p.page()
	if err := p.done(); err != nil {
		return err
	}
	rs, total, err := s.cfg.History.Page(r.Context(), d.ID, from, to, page*perPage, perPage)
	if err != nil {
		return err
	}
	body := append(s.texts.take(64+80*len(rs)), `{"items":`...)
	body = appendReadings(body, newStamper(s.cfg.Zone), rs)
	body = fmt.Appendf(body, `,"page":%d,"per_page":%d,"total":%d}`+"\n", page, perPage, total)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client went away; nothing to do
	s.texts.put(body)
	return nil
}

// readingInput is a reading that comes in.
type readingInput struct {
	Time     *timeText `json:"time"`
	PowerW   *float64  `json:"power_w"`
	EnergyWh *float64  `json:"energy_wh"`
}

// rejectedBody is a reading of a list that was not taken.
type rejectedBody struct {
	Index int    `json:"index"`
	Error string `json:"error"`
}

// addDeviceData stores a reading or a list of them. A faulty one is named by
// its index; the others are stored.
func (s *Server) addDeviceData(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	var body json.RawMessage
	if err := decode(r, &body); err != nil {
		return err
	}
	var items []json.RawMessage
	switch trimmed := bytes.TrimSpace(body); trimmed[0] {
	case '[':
		if err := json.Unmarshal(trimmed, &items); err != nil {
			return jsonError(err)
		}
	case '{':
		items = []json.RawMessage{trimmed}
	default:
		return invalid("body", "is neither a reading nor a list of readings")
	}
	rejected := []rejectedBody{}
	accepted := make([]gateway.Reading, 0, len(items))
	for i, item := range items {
		rd, err := s.readReading(item)
		if err != nil {
			rejected = append(rejected, rejectedBody{i, err.Error()})
			continue
		}
		rd.Device = d.ID
		accepted = append(accepted, rd)
	}
	if err := s.cfg.AddReadings(r.Context(), accepted); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"accepted": len(accepted), "rejected": rejected})
}

// readReading reads and checks one reading.
func (s *Server) readReading(item []byte) (gateway.Reading, error) {
	var in readingInput
	if err := decodeStrict(io.LimitReader(bytes.NewReader(item), bodyLimit), &in); err != nil {
		return gateway.Reading{}, err
	}
	rd := gateway.Reading{At: s.now()}
	if in.Time != nil {
		t, err := parseTime(string(*in.Time), s.cfg.Zone)
		if err != nil {
			return rd, invalid("time", err.Error())
		}
		rd.At = gateway.InstantOf(t)
	}
	if in.PowerW != nil {
		p, ok := gateway.Watts(*in.PowerW)
		if !ok {
			return rd, invalid("power_w", "is too large")
		}
		rd.Power, rd.Has = p, gateway.HasPower
	}
	if in.EnergyWh != nil {
		e, ok := gateway.WattHours(*in.EnergyWh)
		if !ok {
			return rd, invalid("energy_wh", "is too large")
		}
		rd.Energy, rd.Has = e, rd.Has|gateway.HasEnergy
	}
	return rd, rd.Check(s.now())
}
