package api

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/wattle-home/wattle/gateway"
)

// commandBody is a command as the API shows it.
type commandBody struct {
	ID         string                `json:"id"`
	DeviceID   gateway.DeviceID      `json:"device_id"`
	Action     gateway.Action        `json:"action"`
	PowerState *string               `json:"power_state"`
	Urgent     bool                  `json:"urgent"`
	Status     gateway.CommandStatus `json:"status"`
	Tries      int                   `json:"tries"`
	Reason     string                `json:"reason,omitempty"`
	Created    *string               `json:"created"`
	Updated    *string               `json:"updated"`
	Source     gateway.Source        `json:"source"`
}

func (s *Server) toCommand(c gateway.Command) commandBody {
	b := commandBody{
		ID: c.ID, DeviceID: c.Device, Action: c.Action, Urgent: c.Urgent, Status: c.Status,
		Tries: c.Tries, Reason: c.Reason, Created: s.stamp(c.Created), Updated: s.stamp(c.Updated),
		Source: c.Source,
	}
	if c.Action == gateway.ActionPowerState {
		name := c.PowerState.String()
		b.PowerState = &name
	}
	return b
}

// commandDevice puts a command through the dispatch queue.
func (s *Server) commandDevice(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	var in struct {
		Action     gateway.Action `json:"action"`
		PowerState string         `json:"power_state"`
		Urgent     bool           `json:"urgent"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	req := gateway.Request{Device: d.ID, Action: in.Action, Urgent: in.Urgent, Source: source(r)}
	if in.PowerState != "" {
		if req.PowerState, err = gateway.ParsePowerState(in.PowerState); err != nil {
			return invalid("power_state", err.Error())
		}
	}
	if err := req.Check(); err != nil {
		return err
	}
	if s.cfg.Commands == nil {
		return gateway.Unavailablef("%v", errNotRunning)
	}
	c, err := s.cfg.Commands.Submit(req)
	if err != nil {
		return err
	}
	w.Header().Set("Location", base+"/commands/"+c.ID)
	return writeJSON(w, http.StatusAccepted, s.toCommand(c))
}

// getCommand tells what became of a command.
func (s *Server) getCommand(w http.ResponseWriter, r *http.Request) error {
	id := mux.Vars(r)["id"]
	if s.cfg.Commands != nil {
		if c, ok := s.cfg.Commands.Command(id); ok {
			return writeJSON(w, http.StatusOK, s.toCommand(c))
		}
	}
	c, err := s.cfg.Events.Command(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.toCommand(c))
}

func (s *Server) globalStartup(w http.ResponseWriter, r *http.Request) error {
	return s.broadcast(w, r, "startup", gateway.EventStartup)
}

func (s *Server) globalShutdown(w http.ResponseWriter, r *http.Request) error {
	return s.broadcast(w, r, "shutdown", gateway.EventShutdown)
}

// broadcast asks all devices of a member, or of everyone, to start or to stop.
func (s *Server) broadcast(
	w http.ResponseWriter, r *http.Request, kind string, event gateway.EventKind,
) error {
	in := struct {
		Member string `json:"member"`
	}{}
	if r.ContentLength != 0 {
		if err := decode(r, &in); err != nil {
			return err
		}
	}
	if in.Member != "" {
		if _, _, err := s.cfg.Members.MemberByName(r.Context(), in.Member); err != nil {
			return err
		}
	}
	if s.cfg.Commands == nil {
		return gateway.Unavailablef("%v", errNotRunning)
	}
	src := source(r)
	src.Kind = kind
	if err := s.cfg.Commands.Household(kind, in.Member, src); err != nil {
		return err
	}
	s.event(r.Context(), gateway.Event{Kind: event, Source: source(r), Text: "household " + kind})
	return writeJSON(w, http.StatusAccepted, map[string]string{"kind": kind, "member": in.Member})
}
