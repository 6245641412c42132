package link

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// family is how one dialect speaks. Its methods are called with the device's
// lock held; they send and return.
type family interface {
	// options adds what the dialect subscribes to, and its will.
	options(o *Options)
	// hello introduces the device after each connect.
	hello(d *device)
	// measured tells what was measured since the last time, oldest first; never
	// empty.
	measured(d *device, rs []gateway.Reading)
	// command obeys a message. It moves the relay by d.set.
	command(d *device, m gateway.Message)
}

// familyOf returns how an appliance speaks. broadcast may be "".
func familyOf(a Appliance, broadcast string) (family, error) {
	switch a.Dialect {
	case "native":
		return &native{prefix: "wattle/" + a.Topic, broadcast: broadcast}, nil
	case "tasmota":
		return &tasmota{topic: a.Topic}, nil
	case "shelly-gen2":
		return &shelly{prefix: a.Topic}, nil
	}
	return nil, gateway.Invalidf("dialect %q: no device here speaks it", a.Dialect)
}

// device is an appliance at work.
type device struct {
	Appliance
	family family
	clock  *houseClock
	now    func() time.Time
	zone   *time.Location
	fitted time.Time // when the meter began to count
	logger *slog.Logger
	client *Client
	// ownTime says that readings carry the household's time. Else the counter
	// rises by what the power amounts to in real time.
	ownTime bool

	step time.Duration // of the household's time, between two samples

	mu    sync.Mutex // protects the rest
	meter *Meter
	state gateway.PowerState
	next  time.Time // of the household, when the next sample is due

	house  time.Time      // the household's time of the last look at the meter
	shown  gateway.Energy // what the model's meter showed then
	power  gateway.Power  // what the device drew then
	energy float64        // mWh, what the device's own counter showed then

	midnight  time.Time // the last one in the household
	atZero    float64   // mWh, the counter at midnight
	yesterday float64   // mWh, the energy of the day before
}

// run lets one appliance live until ctx ends.
func (cfg *Simulation) run(ctx context.Context, i int, a Appliance, clock *houseClock) error {
	f, err := familyOf(a, cfg.Broadcast)
	if err != nil {
		return err
	}
	d := &device{
		Appliance: a,
		family:    f,
		clock:     clock,
		now:       cfg.Now,
		zone:      cfg.Household.Zone(),
		fitted:    cfg.Household.Fitted(),
		logger:    cfg.Logger.With("appliance", a.Alias),
		ownTime:   a.Dialect == "native",
		meter:     cfg.Household.Meter(i),
		state:     gateway.D0,
		step:      cfg.Step,
		// The appliances of a household do not measure all at once.
		next: clock.from.Truncate(time.Second).Add(cfg.Step / 16 * time.Duration(i%16+1)),
	}
	d.begin(clock.from)
	o := Options{
		Broker:   cfg.Broker,
		ClientID: a.ClientID,
		Logger:   d.logger,
		Connected: func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.sample()
			f.hello(d)
		},
		Received: func(m gateway.Message) {
			d.mu.Lock()
			defer d.mu.Unlock()
			f.command(d, m)
		},
	}
	if cfg.Credential != nil {
		o.Username, o.Password = cfg.Credential(a)
	}
	f.options(&o)
	if d.client, err = NewClient(o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { d.measure(ctx) })
	err = d.client.Run(ctx)
	cancel()
	wg.Wait()
	return err
}

// begin sets the counters to what they are at the household's time t.
func (d *device) begin(t time.Time) {
	today := dayOf(t, d.zone)
	d.midnight = today.start
	_, before := d.meter.Read(dayOf(today.start.Add(-time.Hour), d.zone).start)
	_, atZero := d.meter.Read(today.start)
	d.atZero, d.yesterday = float64(atZero), float64(atZero-before)
	d.house = t
	d.power, d.shown = d.meter.Read(t)
	d.energy = float64(d.shown)
}

// measure takes a sample each step until ctx ends.
func (d *device) measure(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		d.mu.Lock()
		d.sample()
		next := d.next
		d.mu.Unlock()
		timer.Reset(max(d.clock.pause(next, d.now()), leastPause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample measures at each step that has come, and tells.
func (d *device) sample() {
	now := d.clock.at(d.now())
	var rs []gateway.Reading
	for ; !d.next.After(now); d.next = d.next.Add(d.step) {
		rs = append(rs, d.look(d.next))
		if len(rs) == mostReadings {
			d.family.measured(d, rs)
			rs = nil
		}
	}
	if len(rs) > 0 {
		d.family.measured(d, rs)
	}
}

// look brings the device to the household's time t, or leaves it where it is
// if that is past, and returns what it measures.
func (d *device) look(t time.Time) gateway.Reading {
	if t.After(d.house) {
		w, shown := d.meter.Read(t)
		hours := t.Sub(d.house).Hours()
		drawn := d.draws(float64(shown-d.shown), hours)
		if wall := d.now(); !d.ownTime && d.clock.at(wall).Before(wall) {
			drawn /= d.clock.speed
		}
		d.energy += drawn
		d.house, d.shown = t, shown
		d.power = gateway.Power(math.Round(d.draws(float64(w), 1)))
		if today := dayOf(t, d.zone).start; today.After(d.midnight) {
			d.midnight = today
			d.yesterday, d.atZero = d.energy-d.atZero, d.energy
		}
	}
	return gateway.Reading{
		At: gateway.InstantOf(d.house), Power: d.power, Energy: gateway.Energy(d.energy),
		Has: gateway.HasPower | gateway.HasEnergy,
	}
}

// draws returns what is drawn in the device's power state of what the model
// would draw, both in mWh over hours (or in mW, over one).
func (d *device) draws(model, hours float64) float64 {
	switch standby := float64(d.Standby) * hours; d.state {
	case gateway.D0:
		return model
	case gateway.D1:
		return 0.6 * model
	case gateway.D2:
		return 2 * standby
	case gateway.D3hot:
		return standby
	default:
		return 0
	}
}

// set moves the device into a power state and returns what it measures right
// after.
func (d *device) set(s gateway.PowerState) gateway.Reading {
	d.sample() // what is due was measured in the state before
	d.look(d.clock.at(d.now()))
	d.state = s
	w, _ := d.meter.Read(d.house)
	d.power = gateway.Power(math.Round(d.draws(float64(w), 1)))
	return d.look(d.house)
}

// off is the power state of this device when it is switched off.
func (d *device) off() gateway.PowerState {
	if d.Standby > 0 {
		return gateway.D3hot
	}
	return gateway.D3cold
}

// relay sets a device that only knows on and off.
func (d *device) relay(on bool) gateway.Reading {
	if on {
		return d.set(gateway.D0)
	}
	return d.set(d.off())
}

// tell sends what is of no use later: it is dropped without a connection.
func (d *device) tell(m gateway.Message) {
	if d.client.Online() {
		d.client.Send(m)
	}
}

// tellJSON tells v, which must be made of types that JSON can hold.
func (d *device) tellJSON(topic string, qos byte, retain bool, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		d.logger.Error("encoding a message", "topic", topic, "error", err)
		return
	}
	d.tell(gateway.Message{Topic: topic, Payload: b, QoS: qos, Retain: retain})
}

// today returns the energy since midnight in mWh.
func (d *device) today() float64 { return max(d.energy-d.atZero, 0) }

// electric is what a metering plug measures beside the power.
type electric struct {
	volts, amperes, apparent, reactive, factor float64
}

// electric derives the other figures of mains from the power.
func (d *device) electric() electric {
	w := d.power.W()
	e := electric{volts: 230.4 + 2.1*math.Sin(float64(d.house.Unix()%86400)/2400)}
	switch {
	case w <= 0:
		return e
	case w < 20:
		e.factor = 0.58
	case w < 1000:
		e.factor = 0.93
	default:
		e.factor = 0.99
	}
	e.apparent = w / e.factor
	e.reactive = math.Sqrt(e.apparent*e.apparent - w*w)
	e.amperes = e.apparent / e.volts
	return e
}

// fixed is a JSON number with so many decimals, as firmware prints it.
func fixed(v float64, decimals int) json.Number {
	return json.Number(strconv.FormatFloat(v, 'f', decimals, 64))
}

// onOff returns a power state as Tasmota spells it.
func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}
