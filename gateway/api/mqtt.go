package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/wattle-home/wattle/gateway"
)

// mqttBody is how a device connects; the password is shown once.
type mqttBody struct {
	Username  string   `json:"username"`
	Password  string   `json:"password"`
	Topics    []string `json:"topics"`
	Channel   string   `json:"channel"`
	Broadcast string   `json:"broadcast,omitempty"`
}

// addDeviceCredential makes the credential of a device that has none, under a
// user name or, with "", one made from its alias. A device that has one keeps
// it: the result is nil.
func (s *Server) addDeviceCredential(
	ctx context.Context, d gateway.Device, username string,
) (*mqttBody, error) {
	existing, err := s.cfg.Credentials.ListCredentials(ctx)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(existing, func(c gateway.Credential) bool { return c.Device == d.ID }) {
		return nil, nil
	}
	if username == "" {
		username = freeName(d, existing)
	}
	secret, hash := NewDeviceSecret()
	c, err := s.cfg.Credentials.AddCredential(ctx, gateway.Credential{
		Name: username, Kind: gateway.KindDevice, Username: username, Device: d.ID,
	}, hash)
	if err != nil {
		return nil, err
	}
	topics, _ := s.cfg.DeviceTopics(d, s.memberName(ctx, d.Member))
	return &mqttBody{
		Username: c.Username, Password: secret, Topics: topics.Publish,
		Channel: topics.Command, Broadcast: topics.Broadcast,
	}, nil
}

// freeName makes a user name for a device from its alias, with its id behind
// if another has it.
func freeName(d gateway.Device, existing []gateway.Credential) string {
	name := slug(d.Alias)
	if name == "" {
		name = "device"
	}
	taken := func(c gateway.Credential) bool { return c.Username == name }
	if slices.ContainsFunc(existing, taken) {
		return fmt.Sprintf("%s-%d", name, d.ID)
	}
	return name
}

// memberName returns whose broadcast channel a device listens to: its
// member's, or if nobody added it the first owner's.
func (s *Server) memberName(ctx context.Context, id gateway.MemberID) string {
	members, err := s.cfg.Members.Members(ctx)
	if err != nil {
		return ""
	}
	for _, m := range members {
		if m.ID == id || id == 0 && m.Role == gateway.RoleOwner {
			return m.Name
		}
	}
	return ""
}

// renewDeviceCredential gives a device a fresh secret in place of the old one,
// whose clients are disconnected. The user name stays.
func (s *Server) renewDeviceCredential(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	if d.Dialect == "" {
		return gateway.Conflictf("%s speaks no MQTT; give it a dialect first", d.Alias)
	}
	// Once the old one is gone the new one must follow.
	ctx := context.WithoutCancel(r.Context())
	old, err := s.removeDeviceCredential(ctx, d.ID)
	if err != nil {
		return err
	}
	out, err := s.addDeviceCredential(ctx, d, old.Username)
	s.changed(ctx, Change{Credentials: true, RemovedCredential: old.ID})
	if err != nil {
		return fmt.Errorf("making the new credential of device %d, whose old one is gone: %w", d.ID, err)
	}
	if out == nil {
		return gateway.Conflictf("the credential of %s was renewed by somebody else just now", d.Alias)
	}
	s.security(r, "the credential of "+d.Alias+" was renewed")
	return writeJSON(w, http.StatusCreated, out)
}

// removeDeviceCredential removes the credential of a device and returns it;
// the zero value if there is none.
func (s *Server) removeDeviceCredential(
	ctx context.Context, id gateway.DeviceID,
) (gateway.Credential, error) {
	cs, err := s.cfg.Credentials.ListCredentials(ctx)
	if err != nil {
		return gateway.Credential{}, err
	}
	i := slices.IndexFunc(cs, func(c gateway.Credential) bool { return c.Device == id })
	if i < 0 {
		return gateway.Credential{}, nil
	}
	err = s.cfg.Credentials.RemoveCredential(ctx, cs[i].ID)
	if err != nil && gateway.CodeOf(err) != gateway.CodeNotFound {
		return gateway.Credential{}, err
	}
	return cs[i], nil
}
