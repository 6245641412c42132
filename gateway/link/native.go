package link

import (
	"encoding/json"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// native speaks wattle's own dialect.
type native struct {
	prefix    string // wattle/NAME
	broadcast string // the member's broadcast channel, or ""
	told      gateway.Instant
}

// nativeReading is a reading on the wire.
type nativeReading struct {
	Time   string       `json:"time"`
	Power  *json.Number `json:"power_w,omitempty"`
	Energy *json.Number `json:"energy_wh,omitempty"`
}

// toNative returns r as it is sent.
func toNative(r gateway.Reading) nativeReading {
	n := nativeReading{Time: r.At.Time().Format(time.RFC3339Nano)}
	if r.Has&gateway.HasPower != 0 {
		w := fixed(r.Power.W(), 3)
		n.Power = &w
	}
	if r.Has&gateway.HasEnergy != 0 {
		e := fixed(r.Energy.Wh(), 3)
		n.Energy = &e
	}
	return n
}

// nativeReadings returns the message with rs: one reading bare, several as a
// list.
func nativeReadings(prefix string, rs []gateway.Reading) (gateway.Message, error) {
	list := make([]nativeReading, len(rs))
	for i, r := range rs {
		list[i] = toNative(r)
	}
	var v any = list
	if len(list) == 1 {
		v = list[0]
	}
	b, err := json.Marshal(v)
	return gateway.Message{Topic: prefix + "/reading", Payload: b, QoS: 1}, err
}

// nativePresence returns the messages that a device has come and has gone.
func nativePresence(prefix string) (birth, will *gateway.Message) {
	topic := prefix + "/availability"
	return &gateway.Message{Topic: topic, Payload: []byte("online"), QoS: 1, Retain: true},
		&gateway.Message{Topic: topic, Payload: []byte("offline"), QoS: 1, Retain: true}
}

// options implements family.
func (n *native) options(o *Options) {
	o.Subscribe = []string{n.prefix + "/set"}
	if n.broadcast != "" {
		o.Subscribe = append(o.Subscribe, n.broadcast)
	}
	o.Birth, o.Will = nativePresence(n.prefix)
}

// hello implements family.
func (n *native) hello(d *device) {
	n.state(d)
	if r := d.look(d.house); r.At > n.told {
		n.measured(d, []gateway.Reading{r})
	}
}

// state tells the power state.
func (n *native) state(d *device) {
	d.tellJSON(n.prefix+"/state", 1, true, struct {
		On         bool               `json:"on"`
		PowerState gateway.PowerState `json:"power_state"`
	}{d.state.On(), d.state})
}

// measured implements family. Readings carry their time and are kept while
// there is no connection.
func (n *native) measured(d *device, rs []gateway.Reading) {
	m, err := nativeReadings(n.prefix, rs)
	if err != nil {
		d.logger.Error("encoding readings", "error", err)
		return
	}
	d.client.Send(m)
	n.told = rs[len(rs)-1].At
}

// command implements family.
func (n *native) command(d *device, m gateway.Message) {
	var c struct {
		Kind       string             `json:"kind"`
		PowerState gateway.PowerState `json:"power_state"`
	}
	if err := json.Unmarshal(m.Payload, &c); err != nil {
		d.logger.Warn("command not understood", "topic", m.Topic, "error", err)
		return
	}
	var r gateway.Reading
	switch {
	case m.Topic == n.broadcast && d.AlwaysOn:
		return
	case c.Kind == "startup":
		r = d.set(gateway.D0)
	case c.Kind == "shutdown":
		r = d.set(d.off())
	case c.Kind == "power_state" && c.PowerState != gateway.PowerUnknown:
		r = d.set(c.PowerState)
	case c.Kind == "message":
		return
	default:
		d.logger.Warn("command not understood", "topic", m.Topic, "kind", c.Kind)
		return
	}
	n.state(d)
	n.measured(d, []gateway.Reading{r})
}
