package link

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Appliance is what is known of one appliance of a household.
type Appliance struct {
	Alias    string
	Room     string
	Icon     string
	Dialect  string // native, tasmota or shelly-gen2
	Topic    string // its name within the dialect; for Shelly the prefix
	ClientID string // the MQTT client id that its family uses
	AlwaysOn bool   // not to be switched off with the household
	// Standby is what it draws when it is told to be off and has its own
	// electronics; 0 behind a plug, whose relay cuts it off.
	Standby gateway.Power
}

// Household is a model of a home: what each appliance draws at any instant,
// and what its meter shows. It is a pure function of the household's number,
// the zone, the day its meters were fitted and the instant, and is safe for
// concurrent use.
type Household struct {
	zone       *time.Location
	habits     habits
	kinds      []kind
	appliances []Appliance
	seeds      []uint64
	scales     []float64
	fitted     day
	base       []gateway.Energy // the meters' counters when fitted
}

// NewHousehold returns the household of that number in the zone, which must
// not be nil. Another number gives other people with the same appliances;
// beyond 1, names and topics carry the number, so that several households
// can talk to one broker. Its meters were fitted at the beginning of 2026; see
// NewFitted.
func NewHousehold(number int, zone *time.Location) *Household {
	return NewFitted(number, zone, time.Date(2026, 1, 1, 0, 0, 0, 0, zone))
}

// NewFitted is like NewHousehold; the meters were fitted on the local day of
// fitted, with counters that already showed something. To work out a counter
// takes a time that grows with the days since: some 10 ms a year for each
// appliance, on a PC. Who makes a history may as well have its beginning as
// fitted; the counters of two days of fitting differ.
func NewFitted(number int, zone *time.Location, fitted time.Time) *Household {
	r := rand.New(rand.NewPCG(uint64(number), 0x77617474))
	h := &Household{zone: zone, kinds: kinds(), fitted: dayOf(fitted, zone)}
	h.habits = habits{
		wake:    6.3 + r.Float64(),
		bed:     22.6 + r.Float64(),
		people:  0.8 + 0.6*r.Float64(),
		homeday: number == 1 || r.Float64() < 0.4,
	}
	for _, k := range h.kinds {
		a := Appliance{
			Alias: k.alias, Room: k.room, Icon: k.icon, Dialect: k.dialect,
			Topic: k.topic, AlwaysOn: k.alwaysOn,
			Standby: gateway.Power(k.standby * float64(gateway.Watt)),
		}
		mac := 0xa8032ab00000 | r.Uint64N(1<<20)
		if number != 1 {
			a.Alias = fmt.Sprintf("%s %d", a.Alias, number)
			a.Topic = fmt.Sprintf("%s-%d", a.Topic, number)
		}
		switch k.dialect {
		case "shelly-gen2":
			a.Topic = fmt.Sprintf("%s-%012x", k.topic, mac)
			a.ClientID = a.Topic
		case "tasmota":
			a.ClientID = fmt.Sprintf("DVES_%06X", mac&0xffffff)
		default:
			a.ClientID = a.Topic
		}
		h.appliances = append(h.appliances, a)
		h.seeds = append(h.seeds, r.Uint64())
		h.scales = append(h.scales, 0.92+0.16*r.Float64())
		h.base = append(h.base, gateway.Energy(r.Int64N(int64(900*gateway.KilowattHour)))+
			60*gateway.KilowattHour)
	}
	return h
}

// Appliances returns the household's appliances; an appliance is named by its
// index in this list. The list must not be changed.
func (h *Household) Appliances() []Appliance { return h.appliances }

// Zone returns the household's zone.
func (h *Household) Zone() *time.Location { return h.zone }

// Fitted returns the local midnight from which the meters count.
func (h *Household) Fitted() time.Time { return h.fitted.start }

// Watts returns what an appliance draws at t. To ask for many instants of one
// appliance a Meter is faster.
func (h *Household) Watts(appliance int, t time.Time) gateway.Power {
	d := dayOf(t, h.zone)
	p := h.plan(appliance, d)
	w, _ := p.until(t.Sub(d.start).Milliseconds())
	return w
}

// plan returns what an appliance does on a day.
func (h *Household) plan(appliance int, d day) plan {
	return h.kinds[appliance].paint(newPainter(h.seeds[appliance], d, h.scales[appliance]), h.habits)
}

// Meter reads one appliance of a household. It keeps the day that it was
// asked for last, so that asking in time order costs little. It is not safe
// for concurrent use.
type Meter struct {
	h         *Household
	appliance int
	plan      plan
	before    int64 // mW·s from fitted to the plan's day; negative before it
}

// Meter returns a meter for an appliance. It shows what every other meter of
// that appliance shows.
func (h *Household) Meter(appliance int) *Meter {
	return &Meter{h: h, appliance: appliance, plan: h.plan(appliance, h.fitted)}
}

// Read returns the power at t and the counter's value then. The counter is
// the exact integral of the power; it never falls, and is 0 before there was
// a meter.
func (m *Meter) Read(t time.Time) (gateway.Power, gateway.Energy) {
	for !t.Before(m.plan.day.end()) {
		m.before += m.plan.total
		m.plan = m.h.plan(m.appliance, m.plan.day.next())
	}
	for t.Before(m.plan.day.start) {
		m.plan = m.h.plan(m.appliance, dayOf(m.plan.day.start.Add(-time.Hour), m.h.zone))
		m.before -= m.plan.total
	}
	w, mwms := m.plan.until(t.Sub(m.plan.day.start).Milliseconds())
	e := m.h.base[m.appliance] + gateway.Energy((m.before*1000+mwms)/gateway.MilliwattMilliseconds)
	return w, max(e, 0)
}

// History calls fn with a reading of every appliance at from, from + step and
// so on until to (exclusive), in time order. Device is left 0. It ends with
// fn's first error. A step that is not positive is an error.
//
// What Simulate publishes from to on continues the counters.
func (h *Household) History(
	from, to time.Time, step time.Duration, fn func(appliance int, r gateway.Reading) error,
) error {
	if step < time.Millisecond {
		return gateway.Invalidf("history step %s: want 1ms or more", step)
	}
	meters := make([]*Meter, len(h.appliances))
	for i := range meters {
		meters[i] = h.Meter(i)
	}
	for t := from; t.Before(to); t = t.Add(step) {
		at := gateway.InstantOf(t)
		for i, m := range meters {
			w, e := m.Read(t)
			r := gateway.Reading{
				At: at, Power: w, Energy: e, Has: gateway.HasPower | gateway.HasEnergy,
			}
			if err := fn(i, r); err != nil {
				return err
			}
		}
	}
	return nil
}
