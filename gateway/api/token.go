package api

import (
	"net/http"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// tokenBody is a token as the API shows it; the key is shown once.
type tokenBody struct {
	ID      int64        `json:"id"`
	Name    string       `json:"name"`
	Role    gateway.Role `json:"role"`
	Created *string      `json:"created"`
	Expires *string      `json:"expires"`
	Token   string       `json:"token,omitempty"`
}

func (s *Server) toToken(t gateway.Token) tokenBody {
	return tokenBody{
		ID: t.ID, Name: t.Name, Role: t.Role,
		Created: s.stamp(t.Created), Expires: s.stamp(t.Expires),
	}
}

func (s *Server) getTokens(w http.ResponseWriter, r *http.Request) error {
	ts, err := s.cfg.Tokens.Tokens(r.Context())
	if err != nil {
		return err
	}
	out := make([]tokenBody, len(ts))
	for i, t := range ts {
		out[i] = s.toToken(t)
	}
	return writeJSON(w, http.StatusOK, out)
}

// createToken makes a key for a program; its role is its scope.
func (s *Server) createToken(w http.ResponseWriter, r *http.Request) error {
	in := struct {
		Name    string       `json:"name"`
		Role    gateway.Role `json:"role"`
		Expires string       `json:"expires"`
	}{Role: gateway.RoleViewer}
	if err := decode(r, &in); err != nil {
		return err
	}
	if err := checkName("name", in.Name); err != nil {
		return err
	}
	if err := checkRole(in.Role); err != nil {
		return err
	}
	t := gateway.Token{Name: in.Name, Role: in.Role, Member: principalOf(r).ID, Created: s.now()}
	if in.Expires != "" {
		life, err := time.ParseDuration(in.Expires)
		if err != nil || life <= 0 {
			return invalid("expires", "is not a duration such as 720h")
		}
		t.Expires = t.Created + gateway.Instant(life.Milliseconds())
	}
	key, hash := newSecret(tokenBits)
	t, err := s.cfg.Tokens.AddToken(r.Context(), t, hash)
	if err != nil {
		return err
	}
	s.security(r, "the token "+t.Name+" was made with the role "+string(t.Role))
	b := s.toToken(t)
	b.Token = key
	return writeJSON(w, http.StatusCreated, b)
}

func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	if err := s.cfg.Tokens.RevokeToken(r.Context(), name); err != nil {
		return err
	}
	s.security(r, "the token "+name+" was revoked")
	w.WriteHeader(http.StatusNoContent)
	return nil
}
