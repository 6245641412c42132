package api

import (
	"net/http"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// memberBody is a member as the API shows it.
type memberBody struct {
	ID      gateway.MemberID `json:"id"`
	Name    string           `json:"name"`
	Role    gateway.Role     `json:"role"`
	Created *string          `json:"created"`
}

func (s *Server) toMember(m gateway.Member) memberBody {
	return memberBody{m.ID, m.Name, m.Role, s.stamp(m.Created)}
}

func (s *Server) getMembers(w http.ResponseWriter, r *http.Request) error {
	ms, err := s.cfg.Members.Members(r.Context())
	if err != nil {
		return err
	}
	out := make([]memberBody, len(ms))
	for i, m := range ms {
		out[i] = s.toMember(m)
	}
	return writeJSON(w, http.StatusOK, out)
}

// addMember adds a person with a login.
func (s *Server) addMember(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Name     string       `json:"name"`
		Role     gateway.Role `json:"role"`
		Password string       `json:"password"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	in.Name = strings.TrimSpace(in.Name)
	if err := checkName("name", in.Name); err != nil {
		return err
	}
	if err := checkRole(in.Role); err != nil {
		return err
	}
	hash, err := s.hasher.Hash(in.Password)
	if err != nil {
		return err
	}
	m, err := s.cfg.Members.AddMember(r.Context(), in.Name, in.Role, hash)
	if err != nil {
		return err
	}
	s.changed(r.Context(), Change{Credentials: true}) // a broadcast channel comes with a member
	s.security(r, "the member "+m.Name+" was added as "+string(m.Role))
	return writeJSON(w, http.StatusCreated, s.toMember(m))
}

// setPassword changes a password and ends the member's sessions.
func (s *Server) setPassword(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	m, _, err := s.cfg.Members.MemberByName(r.Context(), name)
	if err != nil {
		return err
	}
	var in struct {
		Password string `json:"password"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	hash, err := s.hasher.Hash(in.Password)
	if err != nil {
		return err
	}
	if err := s.cfg.Members.SetPassword(r.Context(), m.ID, hash); err != nil {
		return err
	}
	s.security(r, "the password of "+m.Name+" was changed")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) removeMember(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	if err := s.cfg.Members.RemoveMember(r.Context(), name); err != nil {
		return err
	}
	s.changed(r.Context(), Change{Credentials: true})
	s.security(r, "the member "+name+" was removed")
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// security records a change of who may do what.
func (s *Server) security(r *http.Request, text string) {
	s.event(r.Context(), gateway.Event{Kind: gateway.EventSecurity, Source: source(r), Text: text})
}
