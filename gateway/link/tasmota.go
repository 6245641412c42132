package link

import (
	"fmt"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// tasmota speaks as Tasmota's firmware does, with its default FullTopic
// (tasmota/docs MQTT.md and Commands.md; devices/Sonoff-Pow.md for ENERGY).
type tasmota struct {
	topic    string
	began    time.Time
	told     float64 // mWh, the counter when it was told last, for Period
	reported bool    // told is set
}

// tasmotaTime is how Tasmota prints a time: local, without offset.
const tasmotaTime = "2006-01-02T15:04:05"

// tasmotaEnergy is ENERGY of a metering plug with WattRes 1.
type tasmotaEnergy struct {
	TotalStartTime string
	Total          any // kWh
	Yesterday      any
	Today          any
	Period         any // Wh since the last telemetry
	Power          any // W
	ApparentPower  any // VA
	ReactivePower  any // var
	Factor         any
	Voltage        any
	Current        any
}

// tasmotaSensor is the payload of SENSOR; its Time is local, without offset.
type tasmotaSensor struct {
	Time   string
	ENERGY tasmotaEnergy
}

// tasmotaState is the payload of STATE.
type tasmotaState struct {
	Time      string
	Uptime    string
	UptimeSec int64
	Heap      int
	SleepMode string
	Sleep     int
	LoadAvg   int
	MqttCount int
	POWER     string
	Wifi      tasmotaWifi
}

// tasmotaWifi is a part of STATE.
type tasmotaWifi struct {
	AP        int
	SSId      string
	BSSId     string
	Channel   int
	Mode      string
	RSSI      int // percent
	Signal    int // dBm
	LinkCount int
	Downtime  string
}

// options implements family.
func (t *tasmota) options(o *Options) {
	// POWER and the other commands; only they reach a device.
	o.Subscribe = []string{"cmnd/" + t.topic + "/#"}
	lwt := "tele/" + t.topic + "/LWT"
	o.Birth = &gateway.Message{Topic: lwt, Payload: []byte("Online"), Retain: true}
	o.Will = &gateway.Message{Topic: lwt, Payload: []byte("Offline"), QoS: 1, Retain: true}
}

// hello implements family.
func (t *tasmota) hello(d *device) {
	if t.began.IsZero() {
		t.began = d.now()
	}
	t.power(d)
	t.telemetry(d)
}

// measured implements family. The arrival time counts, so that only the last
// sample is of interest.
func (t *tasmota) measured(d *device, _ []gateway.Reading) { t.telemetry(d) }

// telemetry tells STATE and SENSOR, as each TelePeriod does.
func (t *tasmota) telemetry(d *device) {
	now := d.now()
	up := now.Sub(t.began).Truncate(time.Second)
	d.tellJSON("tele/"+t.topic+"/STATE", 0, false, tasmotaState{
		Time: t.time(d), Uptime: uptime(up), UptimeSec: int64(up / time.Second),
		Heap: 25, SleepMode: "Dynamic", Sleep: 50, LoadAvg: 19, MqttCount: 1,
		POWER: onOff(d.state.On()),
		Wifi: tasmotaWifi{
			AP: 1, SSId: "home", BSSId: "02:00:5E:10:00:01", Channel: 6, Mode: "11n",
			RSSI: 78, Signal: -61, LinkCount: 1, Downtime: "0T00:00:03",
		},
	})
	d.tellJSON("tele/"+t.topic+"/SENSOR", 0, false, t.sensor(d))
	t.told, t.reported = d.energy, true
}

// sensor returns what the meter shows.
func (t *tasmota) sensor(d *device) tasmotaSensor {
	e := d.electric()
	period := 0.0
	if t.reported {
		period = d.energy - t.told
	}
	return tasmotaSensor{t.time(d), tasmotaEnergy{
		TotalStartTime: d.fitted.Format(tasmotaTime),
		Total:          fixed(d.energy/1e6, 3),
		Yesterday:      fixed(d.yesterday/1e6, 3),
		Today:          fixed(d.today()/1e6, 3),
		Period:         fixed(period/1000, 0),
		Power:          fixed(d.power.W(), 1),
		ApparentPower:  fixed(e.apparent, 1),
		ReactivePower:  fixed(e.reactive, 1),
		Factor:         fixed(e.factor, 2),
		Voltage:        fixed(e.volts, 0),
		Current:        fixed(e.amperes, 3),
	}}
}

// time returns the device's clock as it prints it.
func (t *tasmota) time(d *device) string {
	return d.now().In(d.zone).Format(tasmotaTime)
}

// power tells the relay's state, as each change and each question does.
func (t *tasmota) power(d *device) {
	word := onOff(d.state.On())
	d.tellJSON("stat/"+t.topic+"/RESULT", 0, false, map[string]string{"POWER": word})
	d.tell(gateway.Message{Topic: "stat/" + t.topic + "/POWER", Payload: []byte(word)})
}

// command implements family: POWER (also POWER1) and Status 8; other words
// are answered as the firmware does.
func (t *tasmota) command(d *device, m gateway.Message) {
	payload := strings.ToUpper(strings.TrimSpace(string(m.Payload)))
	switch strings.ToUpper(strings.TrimPrefix(m.Topic, "cmnd/"+t.topic+"/")) {
	case "POWER", "POWER1":
		switch payload {
		case "":
			t.power(d)
			return
		case "ON", "1", "TRUE":
			d.relay(true)
		case "OFF", "0", "FALSE":
			d.relay(false)
		case "TOGGLE", "2":
			d.relay(!d.state.On())
		default:
			t.unknown(d, "Error")
			return
		}
		t.power(d)
		t.telemetry(d) // PowerDelta: a change is told at once
	case "STATUS":
		if payload != "8" && payload != "10" {
			t.unknown(d, "Error")
			return
		}
		d.tellJSON("stat/"+t.topic+"/STATUS"+payload, 0, false,
			map[string]any{"StatusSNS": t.sensor(d)})
	default:
		t.unknown(d, "Unknown")
	}
}

// unknown answers a command that is not understood.
func (t *tasmota) unknown(d *device, word string) {
	d.tellJSON("stat/"+t.topic+"/RESULT", 0, false, map[string]string{"Command": word})
}

// uptime returns a duration as Tasmota prints it: days, T, hours and so on.
func uptime(up time.Duration) string {
	s := int64(up / time.Second)
	return fmt.Sprintf("%dT%02d:%02d:%02d", s/86400, s/3600%24, s/60%60, s%60)
}
