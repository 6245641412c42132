package api

import (
	"fmt"
	"net/http"

	"github.com/wattle-home/wattle/gateway"
)

// credentialBody is a credential of MQTT as the API shows it; the password is
// shown once.
type credentialBody struct {
	ID       gateway.CredentialID   `json:"id"`
	Name     string                 `json:"name"`
	Kind     gateway.CredentialKind `json:"kind"`
	DeviceID *gateway.DeviceID      `json:"device_id"`
	Read     []string               `json:"read"`
	Write    []string               `json:"write"`
	Username string                 `json:"mqtt_username"`
	Password string                 `json:"mqtt_password,omitempty"`
	Created  *string                `json:"created"`
}

func (s *Server) toCredential(c gateway.Credential) credentialBody {
	b := credentialBody{
		ID: c.ID, Name: c.Name, Kind: c.Kind, Username: c.Username,
		Read: c.Grant.Subscribe, Write: c.Grant.Publish, Created: s.stamp(c.Created),
	}
	if c.Device != 0 {
		b.DeviceID = &c.Device
	}
	if b.Read == nil {
		b.Read = []string{}
	}
	if b.Write == nil {
		b.Write = []string{}
	}
	return b
}

func (s *Server) getCredentials(w http.ResponseWriter, r *http.Request) error {
	cs, err := s.cfg.Credentials.ListCredentials(r.Context())
	if err != nil {
		return err
	}
	out := make([]credentialBody, len(cs))
	for i, c := range cs {
		out[i] = s.toCredential(c)
	}
	return writeJSON(w, http.StatusOK, out)
}

// addCredential makes a credential for a bridge or for another program.
func (s *Server) addCredential(w http.ResponseWriter, r *http.Request) error {
	in := struct {
		Name   string                 `json:"name"`
		Kind   gateway.CredentialKind `json:"kind"`
		Topics []string               `json:"topics"`
		Access string                 `json:"access"`
	}{Access: "readwrite"}
	if err := decode(r, &in); err != nil {
		return err
	}
	if err := checkName("name", in.Name); err != nil {
		return err
	}
	if in.Kind != gateway.KindBridge && in.Kind != gateway.KindClient {
		return invalid("kind", fmt.Sprintf("%q is neither bridge nor client", clip(string(in.Kind))))
	}
	grant, err := grantOf(in.Topics, in.Access)
	if err != nil {
		return err
	}
	secret, hash := NewDeviceSecret()
	c, err := s.cfg.Credentials.AddCredential(r.Context(), gateway.Credential{
		Name: in.Name, Kind: in.Kind, Username: in.Name, Grant: grant,
	}, hash)
	if err != nil {
		return err
	}
	s.changed(r.Context(), Change{Credentials: true})
	s.security(r, "the credential "+c.Name+" was made for a "+string(c.Kind))
	b := s.toCredential(c)
	b.Password = secret
	return writeJSON(w, http.StatusCreated, b)
}

// grantOf reads topic filters and the access to them. A filter that only
// reads may be #; one that writes must say under which topics, and never
// covers what belongs to the gateway.
func grantOf(filters []string, access string) (gateway.Grant, error) {
	if access != "read" && access != "write" && access != "readwrite" {
		return gateway.Grant{}, invalid("access", fmt.Sprintf("%q is not read, write or readwrite",
			clip(access)))
	}
	if len(filters) == 0 || len(filters) > 64 {
		return gateway.Grant{}, invalid("topics", fmt.Sprintf("are %d; want 1 to 64", len(filters)))
	}
	var g gateway.Grant
	for i, f := range filters {
		field := fmt.Sprintf("topics[%d]", i)
		if !gateway.ValidFilter(f) || len(f) > 256 {
			return g, invalid(field, fmt.Sprintf("%q is no topic filter", clip(f)))
		}
		if access != "read" {
			if gateway.MatchTopic(f, "wattle") || f[0] == '+' || f[0] == '$' {
				return g, invalid(field, "is too wide to write to; name the first level, such as zigbee2mqtt/#")
			}
			g.Publish = append(g.Publish, f)
		}
		if access != "write" {
			g.Subscribe = append(g.Subscribe, f)
		}
	}
	// Commands are the gateway's alone.
	g.Deny = []string{"wattle/+/set", "wattle/+/set/#", "wattle/global/#"}
	return g, nil
}

// revokeCredential takes a credential away; its clients are disconnected.
func (s *Server) revokeCredential(w http.ResponseWriter, r *http.Request) error {
	name, err := pathName(r)
	if err != nil {
		return err
	}
	cs, err := s.cfg.Credentials.ListCredentials(r.Context())
	if err != nil {
		return err
	}
	for _, c := range cs {
		if c.Name != name {
			continue
		}
		if err := s.cfg.Credentials.RemoveCredential(r.Context(), c.ID); err != nil {
			return err
		}
		s.changed(r.Context(), Change{Credentials: true, RemovedCredential: c.ID})
		s.security(r, "the credential "+name+" was revoked")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return gateway.NotFoundf("there is no credential %q", clip(name))
}
