package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// getSchedule tells when a device may run.
func (s *Server) getSchedule(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	return s.writeSchedule(w, d.Schedule)
}

func (s *Server) writeSchedule(w http.ResponseWriter, sch gateway.Schedule) error {
	text, err := s.cfg.Planner.Format(sch)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // the client went away; nothing to do
	return nil
}

// setSchedule replaces a device's schedule. A faulty one changes nothing. The
// channel says where on MQTT commands go, so only an owner changes it.
func (s *Server) setSchedule(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	text, err := readJSON(r)
	if err != nil {
		return err
	}
	was := d
	if d.Schedule, err = s.cfg.Planner.Parse(text); err != nil {
		return err
	}
	if err := s.checkChannel(r, was, d.Schedule.Channel); err != nil {
		return err
	}
	if d, err = s.cfg.Store.UpdateDevice(r.Context(), d); err != nil {
		return err
	}
	s.changed(r.Context(), Change{Device: &d})
	s.event(r.Context(), gateway.Event{
		Kind: gateway.EventScheduleSet, Device: d.ID, Source: source(r),
		Text: "the schedule of " + d.Alias + " was set",
	})
	return s.writeSchedule(w, d.Schedule)
}

// checkChannel tells why who asks may not give d another channel.
func (s *Server) checkChannel(r *http.Request, d gateway.Device, channel string) error {
	if channel == d.Schedule.Channel {
		return nil
	}
	if !principalOf(r).Role.Allows(owner) {
		return forbidden(fmt.Sprintf("only an owner may change the channel; it is %q now",
			clip(d.Schedule.Channel)))
	}
	if channel == "" || s.cfg.CheckChannel == nil {
		return nil
	}
	return s.cfg.CheckChannel(d, channel)
}

// occurrenceBody is a change of what is wanted.
type occurrenceBody struct {
	Time       *string        `json:"time"`
	Action     gateway.Action `json:"action"`
	PowerState *string        `json:"power_state,omitempty"`
	Source     string         `json:"source"`
}

// occurrenceSpan is the longest span that is listed at once.
const occurrenceSpan = 400 * 24 * time.Hour

// getOccurrences lists each change of what is wanted in a span.
func (s *Server) getOccurrences(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	p := s.params(r)
	from, to := p.span(nil)
	if len(p.faults) == 0 && to.Time().Sub(from.Time()) > occurrenceSpan {
		p.fault("to", "is more than 400 days after from")
	}
	if err := p.done(); err != nil {
		return err
	}
	items := []occurrenceBody{}
	for _, o := range s.cfg.Planner.Occurrences(d.Schedule, from.Time(), to.Time()) {
		b := occurrenceBody{Time: s.stamp(gateway.InstantOf(o.At)), Action: o.Action, Source: o.Source}
		if o.Action == gateway.ActionPowerState {
			name := o.PowerState.String()
			b.PowerState = &name
		}
		items = append(items, b)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"items": items})
}

// getWanted tells what the schedule wants of a device at an instant.
func (s *Server) getWanted(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	p := s.params(r)
	at, ok := p.instant("at")
	if !ok {
		at = s.now()
	}
	if err := p.done(); err != nil {
		return err
	}
	out := struct {
		On         *bool   `json:"on"`
		PowerState *string `json:"power_state"`
		Source     string  `json:"source"`
		Until      *string `json:"until"`
		Text       string  `json:"text"`
	}{Source: "default", Text: "nothing is wanted"}
	if want, ok := s.cfg.Planner.Wanted(d.Schedule, at.Time()); ok {
		on := want.Action == gateway.ActionOn || want.PowerState.On()
		out.On, out.Source, out.Text = &on, want.Source, "the schedule wants it "+onOff(on)
		if want.Action == gateway.ActionPowerState {
			name := want.PowerState.String()
			out.PowerState, out.Text = &name, "the power schedule wants "+name
		}
		if !want.Until.IsZero() {
			out.Until = s.stamp(gateway.InstantOf(want.Until))
			out.Text += " until " + want.Until.In(s.cfg.Zone).Format("Mon 15:04")
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

// onOff says on in a word.
func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
