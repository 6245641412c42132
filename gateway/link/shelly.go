package link

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// shelly speaks as a Shelly plug of the second generation does, with status
// and RPC notifications and control over MQTT enabled (Shelly's API
// documentation, Gen2: Mqtt, Switch, RPC).
type shelly struct {
	prefix string // the device id
	source string // who moved the relay last

	minute   int64      // Unix minutes of the last sample
	mark     float64    // mWh, the counter when that minute began
	byMinute [3]float64 // mWh of the minutes before it, the last first
	told     gateway.Power
	boot     time.Time
}

// shellyEnergy is aenergy: total in Wh, by_minute in mWh.
type shellyEnergy struct {
	Total    json.Number    `json:"total"`
	ByMinute [3]json.Number `json:"by_minute"`
	MinuteTS int64          `json:"minute_ts"`
}

// shellySwitch is the status of switch:0. In a notification what did not
// change is left out.
type shellySwitch struct {
	ID      int           `json:"id"`
	Source  string        `json:"source,omitempty"`
	Output  *bool         `json:"output,omitempty"`
	APower  *json.Number  `json:"apower,omitempty"`
	Voltage *json.Number  `json:"voltage,omitempty"`
	Freq    *json.Number  `json:"freq,omitempty"`
	Current *json.Number  `json:"current,omitempty"`
	AEnergy *shellyEnergy `json:"aenergy,omitempty"`
	Temp    *shellyTemp   `json:"temperature,omitempty"`
}

// shellyTemp is the temperature in the plug.
type shellyTemp struct {
	C json.Number `json:"tC"`
	F json.Number `json:"tF"`
}

// shellyNotice is a message on events/rpc.
type shellyNotice struct {
	Src    string         `json:"src"`
	Dst    string         `json:"dst"`
	Method string         `json:"method"`
	Params map[string]any `json:"params"`
}

// options implements family.
func (s *shelly) options(o *Options) {
	o.Subscribe = []string{s.prefix + "/command/switch:0", s.prefix + "/rpc"}
	topic := s.prefix + "/online"
	o.Birth = &gateway.Message{Topic: topic, Payload: []byte("true"), QoS: 1, Retain: true}
	o.Will = &gateway.Message{Topic: topic, Payload: []byte("false"), QoS: 1, Retain: true}
}

// hello implements family.
func (s *shelly) hello(d *device) {
	if s.boot.IsZero() {
		s.boot, s.source = d.now(), "init"
		s.minute, s.mark = d.now().Unix()/60, d.energy
	}
	mac := s.prefix[strings.LastIndexByte(s.prefix, '-')+1:]
	s.notify(d, "NotifyFullStatus", map[string]any{
		"switch:0": s.status(d),
		"mqtt":     map[string]any{"connected": true},
		"sys": map[string]any{
			"mac":      strings.ToUpper(mac),
			"unixtime": d.now().Unix(),
			"uptime":   int64(d.now().Sub(s.boot) / time.Second),
		},
		"wifi": map[string]any{"status": "got ip", "ssid": "home", "rssi": -58},
	})
	s.full(d)
}

// measured implements family. A change of power is notified; the whole status
// follows once a minute.
func (s *shelly) measured(d *device, _ []gateway.Reading) {
	minute := d.now().Unix() / 60
	switch {
	case minute > s.minute:
		// Minutes without a sample share what was drawn.
		n := minute - s.minute
		each := (d.energy - s.mark) / float64(n)
		for range min(n, int64(len(s.byMinute))) {
			s.byMinute = [3]float64{each, s.byMinute[0], s.byMinute[1]}
		}
		s.minute, s.mark = minute, d.energy
		s.full(d)
	case d.power != s.told:
		s.partial(d, false)
	}
}

// full tells the whole status.
func (s *shelly) full(d *device) {
	d.tellJSON(s.prefix+"/status/switch:0", 1, false, s.status(d))
	s.told = d.power
}

// partial notifies what changed: the power, and after switching the output.
func (s *shelly) partial(d *device, switched bool) {
	e := d.electric()
	w, a := fixed(d.power.W(), 1), fixed(e.amperes, 3)
	part := shellySwitch{APower: &w, Current: &a}
	if switched {
		on := d.state.On()
		part.Output, part.Source = &on, s.source
	}
	s.notify(d, "NotifyStatus", map[string]any{"switch:0": part})
	s.told = d.power
}

// notify sends a notification; ts is added.
func (s *shelly) notify(d *device, method string, params map[string]any) {
	params["ts"] = fixed(float64(d.now().UnixMilli())/1000, 2)
	d.tellJSON(s.prefix+"/events/rpc", 1, false, shellyNotice{
		Src: s.prefix, Dst: s.prefix + "/events", Method: method, Params: params,
	})
}

// status returns the whole status of the switch.
func (s *shelly) status(d *device) shellySwitch {
	e := d.electric()
	on := d.state.On()
	w, v, hz, a := fixed(d.power.W(), 1), fixed(e.volts, 1), fixed(50, 1), fixed(e.amperes, 3)
	celsius := 31 + d.power.W()/180
	energy := &shellyEnergy{Total: fixed(d.energy/1000, 3), MinuteTS: s.minute * 60}
	for i, mwh := range s.byMinute {
		energy.ByMinute[i] = fixed(mwh, 3)
	}
	return shellySwitch{
		Source: s.source, Output: &on, APower: &w, Voltage: &v, Freq: &hz, Current: &a,
		AEnergy: energy,
		Temp:    &shellyTemp{fixed(celsius, 1), fixed(celsius*1.8+32, 1)},
	}
}

// command implements family.
func (s *shelly) command(d *device, m gateway.Message) {
	if m.Topic == s.prefix+"/rpc" {
		s.rpc(d, m.Payload)
		return
	}
	switch string(m.Payload) {
	case "on":
		s.move(d, true)
	case "off":
		s.move(d, false)
	case "toggle":
		s.move(d, !d.state.On())
	case "status_update":
		s.full(d)
	default:
		d.tell(gateway.Message{
			Topic: s.prefix + "/error/switch:0", Payload: []byte("Invalid command"), QoS: 1,
		})
	}
}

// move switches the relay and tells. It returns whether it was on before.
func (s *shelly) move(d *device, on bool) (was bool) {
	was = d.state.On()
	s.source = "MQTT"
	d.relay(on)
	s.partial(d, true)
	s.full(d)
	return was
}

// shellyReply is the answer to a call.
type shellyReply struct {
	ID     json.RawMessage `json:"id"`
	Src    string          `json:"src"`
	Dst    string          `json:"dst"`
	Result any             `json:"result,omitempty"`
	Error  *shellyError    `json:"error,omitempty"`
}

// shellyError says why a call failed.
type shellyError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// rpc answers a call on <its src>/rpc. What is no call gets no answer.
func (s *shelly) rpc(d *device, payload []byte) {
	var call struct {
		ID     json.RawMessage `json:"id"`
		Src    string          `json:"src"`
		Method string          `json:"method"`
		Params struct {
			ID int   `json:"id"`
			On *bool `json:"on"`
		} `json:"params"`
	}
	if err := json.Unmarshal(payload, &call); err != nil {
		d.logger.Warn("command not understood", "topic", s.prefix+"/rpc", "error", err)
		return
	}
	reply := shellyReply{ID: call.ID, Src: s.prefix, Dst: call.Src}
	switch {
	case call.Params.ID != 0:
		reply.Error = &shellyError{-105, "Argument 'id', value out of range!"}
	case call.Method == "Switch.Set" && call.Params.On == nil:
		reply.Error = &shellyError{-103, "Missing required argument 'on'!"}
	case call.Method == "Switch.Set":
		reply.Result = map[string]bool{"was_on": s.move(d, *call.Params.On)}
	case call.Method == "Switch.Toggle":
		reply.Result = map[string]bool{"was_on": s.move(d, !d.state.On())}
	case call.Method == "Switch.GetStatus":
		reply.Result = s.status(d)
	default:
		reply.Error = &shellyError{404, "No handler for " + call.Method}
	}
	// A call without id and source is a notification: nobody wants an answer.
	if len(call.ID) > 0 && call.Src != "" && gateway.ValidTopic(call.Src+"/rpc") {
		d.tellJSON(call.Src+"/rpc", 1, false, reply)
	}
}
