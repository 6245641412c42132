package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// deviceBody is a device as the API shows it.
type deviceBody struct {
	ID          gateway.DeviceID   `json:"id"`
	UUID        string             `json:"uuid"`
	Alias       string             `json:"alias"`
	Description string             `json:"description"`
	Dialect     string             `json:"dialect"`
	Topic       string             `json:"topic"`
	Channel     string             `json:"channel"`
	Role        gateway.DeviceRole `json:"role"`
	ParentID    *gateway.DeviceID  `json:"parent_id"`
	Room        string             `json:"room"`
	Icon        string             `json:"icon"`
	Tags        []string           `json:"tags"`
	AlwaysOn    bool               `json:"always_on"`
	Relay       *gateway.Relay     `json:"relay"`
	Problem     string             `json:"relay_problem,omitempty"`
	Switchable  bool               `json:"switchable"`
	Created     *string            `json:"created"`
	stateBody
}

// stateBody is what a device does now; null is unknown.
type stateBody struct {
	Online     bool             `json:"online"`
	On         *bool            `json:"on"`
	PowerState *string          `json:"power_state"`
	PowerW     *float64         `json:"power_w"`
	LastSeen   *string          `json:"last_seen"`
	Rejected   gateway.Rejected `json:"rejected"`
}

// staleAfter is how old a reading may be to still be shown as the power now,
// for a device that does not say whether it is there.
const staleAfter = 15 * gateway.Minute

func (s *Server) toState(st gateway.DeviceState) stateBody {
	b := stateBody{Online: st.Online, LastSeen: s.stamp(st.LastSeen), Rejected: st.Rejected}
	if st.Known.Has(gateway.KnownOn) {
		b.On = &st.On
	}
	if st.Known.Has(gateway.KnownPowerState) {
		name := st.PowerState.String()
		b.PowerState = &name
	}
	if st.Known.Has(gateway.KnownPower) && (st.Online || st.ReadingAt > s.now()-staleAfter) {
		w := st.Power.W()
		b.PowerW = &w
	}
	return b
}

func (s *Server) toDevice(d gateway.Device, st gateway.DeviceState) deviceBody {
	b := deviceBody{
		ID: d.ID, UUID: d.UUID, Alias: d.Alias, Description: d.Description, Dialect: d.Dialect,
		Topic: d.Topic, Channel: d.Schedule.Channel, Role: d.Role, Room: d.Room, Icon: d.Icon,
		Tags: d.Tags, AlwaysOn: d.Schedule.AlwaysOn, Relay: d.Relay, Created: s.stamp(d.Created),
		stateBody: s.toState(st),
	}
	if b.Tags == nil {
		b.Tags = []string{}
	}
	if d.Parent != 0 {
		b.ParentID = &d.Parent
	}
	if d.Relay != nil && s.cfg.RelayProblem != nil {
		b.Problem = s.cfg.RelayProblem(d.ID)
	}
	topics, ok := s.cfg.DeviceTopics(d, "")
	if ok && b.Channel == "" {
		b.Channel = topics.Command
	}
	b.Switchable = d.Relay != nil || ok && topics.Command != ""
	return b
}

// device returns the device of the path.
func (s *Server) device(r *http.Request) (gateway.Device, gateway.DeviceState, error) {
	id, err := pathID(r)
	if err != nil {
		return gateway.Device{}, gateway.DeviceState{}, err
	}
	d, st, ok := s.cfg.Devices.Device(gateway.DeviceID(id))
	if !ok {
		return d, st, gateway.NotFoundf("there is no device %d", id)
	}
	return d, st, nil
}

func (s *Server) getDevices(w http.ResponseWriter, r *http.Request) error {
	if err := s.params(r).done(); err != nil {
		return err
	}
	out := []deviceBody{}
	for _, d := range s.cfg.Devices.Devices() {
		_, st, _ := s.cfg.Devices.Device(d.ID)
		out = append(out, s.toDevice(d, st))
	}
	return writeJSON(w, http.StatusOK, out)
}

func (s *Server) getDevice(w http.ResponseWriter, r *http.Request) error {
	d, st, err := s.device(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, s.toDevice(d, st))
}

// deviceInput is the fields of a device that a person sets; nil leaves one as
// it is.
type deviceInput struct {
	Alias       *string                    `json:"alias"`
	Description *string                    `json:"description"`
	Dialect     *string                    `json:"dialect"`
	Topic       *string                    `json:"topic"`
	Role        *gateway.DeviceRole        `json:"role"`
	ParentID    nullable[gateway.DeviceID] `json:"parent_id"`
	Room        *string                    `json:"room"`
	Icon        *string                    `json:"icon"`
	Tags        *[]string                  `json:"tags"`
	AlwaysOn    *bool                      `json:"always_on"`
	Relay       nullable[gateway.Relay]    `json:"relay"`
}

// apply changes d and returns all that is wrong with the input.
func (s *Server) apply(in deviceInput, d *gateway.Device) error {
	e := &gateway.Error{Code: gateway.CodeInvalid, Message: "the device is not valid"}
	bad := func(field, detail string) {
		e.Fields = append(e.Fields, gateway.FieldError{Field: field, Detail: detail})
	}
	text := func(field string, from *string, to *string, most int, lines bool) {
		if from == nil {
			return
		}
		if fault := gateway.CheckText(*from, most, lines); fault != "" {
			bad(field, fault)
		}
		*to = strings.TrimSpace(*from)
	}
	text("alias", in.Alias, &d.Alias, 200, false)
	text("description", in.Description, &d.Description, 2000, true)
	text("room", in.Room, &d.Room, 100, false)
	text("icon", in.Icon, &d.Icon, 40, false)
	text("dialect", in.Dialect, &d.Dialect, 40, false)
	if in.Topic != nil {
		d.Topic = *in.Topic
	}
	if d.Alias == "" {
		bad("alias", "is missing")
	}
	s.applyTopic(d, bad)
	if in.Role != nil {
		d.Role = *in.Role
		if !d.Role.Valid() {
			bad("role", fmt.Sprintf("%q is not consumer, grid, solar or battery", clip(string(d.Role))))
		}
	}
	if in.ParentID.given() {
		d.Parent = 0
		if id := in.ParentID.value("parent_id", bad); id != nil {
			d.Parent = *id
		}
		if fault := s.checkParent(*d); fault != "" {
			bad("parent_id", fault)
		}
	}
	if in.Tags != nil {
		d.Tags = slices.Clone(*in.Tags)
		if len(d.Tags) > 20 {
			bad("tags", "are more than 20")
		}
		for i, tag := range d.Tags {
			if fault := gateway.CheckText(tag, 40, false); fault != "" || tag == "" {
				bad(fmt.Sprintf("tags[%d]", i), "is empty, too long or cannot be shown")
			}
		}
	}
	if in.AlwaysOn != nil {
		d.Schedule.AlwaysOn = *in.AlwaysOn
	}
	if in.Relay.given() {
		d.Relay = in.Relay.value("relay", bad)
		applyRelay(d.Relay, bad)
	}
	if len(e.Fields) > 0 {
		return e
	}
	return nil
}

// applyTopic checks dialect and topic. A device without a dialect has no
// topic; one with a dialect is named after its alias unless told otherwise.
func (s *Server) applyTopic(d *gateway.Device, bad func(field, detail string)) {
	if d.Dialect == "" {
		if d.Topic != "" {
			bad("topic", "needs a dialect")
		}
		return
	}
	if d.Topic == "" {
		d.Topic = slug(d.Alias)
	}
	switch {
	case d.Topic == "":
		bad("topic", "is missing, and the alias gives none")
	case !gateway.ValidTopic(d.Topic) || gateway.CheckText(d.Topic, 128, false) != "":
		bad("topic", "holds a wildcard or characters that cannot be shown")
	case len(d.Topic) > 128 || strings.Count(d.Topic, "/") > 6:
		bad("topic", "is longer than 128 bytes or deeper than 7 levels")
	case strings.HasPrefix(d.Topic, "$"), strings.HasPrefix(d.Topic, "/"),
		strings.HasSuffix(d.Topic, "/"):
		bad("topic", "begins with $ or /, or ends with /")
	case d.Dialect == "native" && (strings.Contains(d.Topic, "/") || d.Topic == "global"):
		bad("topic", "of a native device is one level, and not global")
	}
	if _, ok := s.cfg.DeviceTopics(*d, ""); !ok {
		bad("dialect", fmt.Sprintf("%q is not known", clip(d.Dialect)))
	}
}

// checkParent tells why a device cannot be measured below its parent.
func (s *Server) checkParent(d gateway.Device) string {
	for id, seen := d.Parent, 0; id != 0; seen++ {
		if id == d.ID || seen > len(s.cfg.Devices.Devices()) {
			return "makes a loop"
		}
		p, _, ok := s.cfg.Devices.Device(id)
		if !ok {
			return fmt.Sprintf("there is no device %d", id)
		}
		id = p.Parent
	}
	return ""
}

// applyRelay fills in the defaults of a relay and checks it.
func applyRelay(r *gateway.Relay, bad func(field, detail string)) {
	if r == nil {
		return
	}
	if r.Initial == "" {
		r.Initial = "off"
	}
	if r.Safe == "" {
		r.Safe = "off"
	}
	if r.Line == "" || gateway.CheckText(r.Line, 60, false) != "" {
		bad("relay.line", "is missing; it is chip:offset, such as gpiochip0:17")
	}
	if r.Initial != "on" && r.Initial != "off" {
		bad("relay.initial", "is neither on nor off")
	}
	if r.Safe != "on" && r.Safe != "off" && r.Safe != "hold" {
		bad("relay.safe", "is not on, off or hold")
	}
}

// checkRelay tells why d cannot have its relay if it is another than before.
func (s *Server) checkRelay(was *gateway.Relay, d gateway.Device) error {
	same := was != nil && d.Relay != nil && *was == *d.Relay
	if d.Relay == nil || same || s.cfg.CheckRelay == nil {
		return nil
	}
	return s.cfg.CheckRelay(d.ID, *d.Relay)
}

// newDeviceBody is a device that may have got a credential.
type newDeviceBody struct {
	deviceBody
	MQTT *mqttBody `json:"mqtt,omitempty"`
}

// addDevice adds a device and, if it speaks MQTT, its credential.
func (s *Server) addDevice(w http.ResponseWriter, r *http.Request) error {
	in := deviceInput{}
	if err := decode(r, &in); err != nil {
		return err
	}
	d := gateway.Device{Role: gateway.RoleConsumer, Dialect: "native", Member: principalOf(r).ID}
	if err := s.apply(in, &d); err != nil {
		return err
	}
	if err := s.checkRelay(nil, d); err != nil {
		return err
	}
	d, err := s.cfg.Store.AddDevice(r.Context(), d)
	if err != nil {
		return err
	}
	var out newDeviceBody
	// The device is there: who hangs up now leaves it whole.
	ctx := context.WithoutCancel(r.Context())
	if d.Dialect != "" {
		if out.MQTT, err = s.addDeviceCredential(ctx, d, ""); err != nil {
			// Without its credential the device would be of no use: take it back.
			if undo := s.cfg.Store.DeleteDevice(ctx, d.ID); undo != nil {
				s.cfg.Logger.ErrorContext(ctx, "removing a half-added device", "device", d.ID,
					"err", undo)
				s.changed(ctx, Change{Device: &d}) // it stays, so it is shown
			}
			return err
		}
	}
	s.changed(ctx, Change{Device: &d, Credentials: out.MQTT != nil})
	s.event(r.Context(), gateway.Event{
		Kind: gateway.EventDeviceAdded, Device: d.ID, Source: source(r), Text: d.Alias + " was added",
	})
	out.deviceBody = s.toDevice(d, gateway.DeviceState{})
	w.Header().Set("Location", fmt.Sprintf("%s/devices/%d", base, d.ID))
	return writeJSON(w, http.StatusCreated, out)
}

// updateDevice changes the fields that are given. A device that learns MQTT by
// it gets its credential, as a new one does.
func (s *Server) updateDevice(w http.ResponseWriter, r *http.Request) error {
	was, st, err := s.device(r)
	if err != nil {
		return err
	}
	var in deviceInput
	if err := decode(r, &in); err != nil {
		return err
	}
	d := was
	if err := s.apply(in, &d); err != nil {
		return err
	}
	if err := s.checkRelay(was.Relay, d); err != nil {
		return err
	}
	if d, err = s.cfg.Store.UpdateDevice(r.Context(), d); err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context()) // the change is there
	var out newDeviceBody
	if was.Dialect == "" && d.Dialect != "" {
		if out.MQTT, err = s.addDeviceCredential(ctx, d, ""); err != nil {
			s.takeBack(ctx, was, d)
			return err
		}
	}
	s.changed(ctx, Change{Device: &d, Credentials: out.MQTT != nil})
	s.event(ctx, gateway.Event{
		Kind: gateway.EventDeviceChanged, Device: d.ID, Source: source(r), Text: d.Alias + " was changed",
	})
	out.deviceBody = s.toDevice(d, st)
	return writeJSON(w, http.StatusOK, out)
}

// takeBack makes of a device that was changed half what it was.
func (s *Server) takeBack(ctx context.Context, was, is gateway.Device) {
	was.Version = is.Version
	d, err := s.cfg.Store.UpdateDevice(ctx, was)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "taking a half change of a device back", "device", is.ID,
			"err", err)
		d = is
	}
	s.changed(ctx, Change{Device: &d})
}

// deleteDevice removes a device with its readings and credential. Once begun
// it is done, though who asked leaves: many readings take a while.
func (s *Server) deleteDevice(w http.ResponseWriter, r *http.Request) error {
	d, _, err := s.device(r)
	if err != nil {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	if err := s.cfg.Store.DeleteDevice(ctx, d.ID); err != nil {
		// The device goes first and its readings after it. If only those are
		// left it is gone for everyone, and the store removes them later.
		_, there := s.cfg.Store.Device(ctx, d.ID)
		if gateway.CodeOf(there) != gateway.CodeNotFound {
			return err
		}
		s.cfg.Logger.WarnContext(ctx, "deleting the readings of a device", "device", d.ID, "err", err)
	}
	s.changed(ctx, Change{RemovedDevice: d.ID, Credentials: true})
	s.event(r.Context(), gateway.Event{
		Kind: gateway.EventDeviceRemoved, Source: source(r), Text: d.Alias + " was removed",
	})
	w.WriteHeader(http.StatusNoContent)
	return nil
}
