package link

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// day is one local day of a household, from midnight to midnight. It may be
// 23 or 25 hours long.
type day struct {
	start  time.Time // in the household's zone
	length int       // s
	// season is the part of the year: -1 in the middle of January, 1 in the
	// middle of July.
	season  float64
	weekday time.Weekday
}

// dayOf returns the local day of zone that holds t.
func dayOf(t time.Time, zone *time.Location) day {
	y, m, d := t.In(zone).Date()
	start := time.Date(y, m, d, 0, 0, 0, 0, zone)
	next := time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	// Where midnight itself is skipped, time.Date may be an hour off.
	switch {
	case t.Before(start):
		start, next = time.Date(y, m, d-1, 0, 0, 0, 0, zone), start
	case !t.Before(next):
		start, next = next, time.Date(y, m, d+2, 0, 0, 0, 0, zone)
	}
	return day{
		start:   start,
		length:  int(next.Sub(start) / time.Second),
		season:  -math.Cos(2 * math.Pi * float64(start.YearDay()-15) / 365.25),
		weekday: start.Weekday(),
	}
}

// next returns the day after d.
func (d day) next() day { return dayOf(d.end(), d.start.Location()) }

// end returns the instant at which d is over.
func (d day) end() time.Time { return d.start.Add(time.Duration(d.length) * time.Second) }

// weekend reports whether d is a Saturday or Sunday.
func (d day) weekend() bool { return d.weekday == time.Saturday || d.weekday == time.Sunday }

// clock returns how many seconds after d's start its wall clocks show hour
// (7.5 is half past seven); never beyond d.
func (d day) clock(hour float64) int {
	y, m, dd := d.start.Date()
	s := int(math.Round(hour * 3600))
	t := time.Date(y, m, dd, 0, 0, s, 0, d.start.Location())
	return min(max(int(t.Sub(d.start)/time.Second), 0), d.length)
}

// number counts the days of the calendar; it seeds what happens on d.
func (d day) number() uint64 {
	y, m, dd := d.start.Add(12 * time.Hour).Date()
	return uint64(time.Date(y, m, dd, 0, 0, 0, 0, time.UTC).Unix()/86400 + 1<<20)
}

// plan is what an appliance draws on one day: a power that holds until the
// next one. Its energy is therefore exact.
type plan struct {
	day   day
	at    []int32 // s after the day's start, rising, the first is 0
	power []int32 // mW, from at on
	sum   []int64 // mW·s, from the day's start to at
	total int64   // mW·s of the day
}

// index returns which step of p holds at sec.
func (p *plan) index(sec int32) int {
	return sort.Search(len(p.at), func(i int) bool { return p.at[i] > sec }) - 1
}

// until returns the power at an offset from the day's start, and the energy
// drawn until then in mW·ms.
func (p *plan) until(ms int64) (gateway.Power, int64) {
	i := p.index(int32(ms / 1000))
	w := int64(p.power[i])
	return gateway.Power(w), p.sum[i]*1000 + w*(ms-int64(p.at[i])*1000)
}

// seal works out the sums when all steps are there.
func (p *plan) seal() {
	p.sum = make([]int64, len(p.at))
	for i := range p.at {
		end := int32(p.day.length)
		if i+1 < len(p.at) {
			end = p.at[i+1]
		}
		p.sum[i] = p.total
		p.total += int64(p.power[i]) * int64(end-p.at[i])
	}
}

// painter makes a plan from the day's start to its end. Each method goes on
// where the one before it stopped; what would be beyond the day is cut off.
type painter struct {
	*rand.Rand
	day  day
	now  int // s after the day's start
	plan plan
	// scale of all powers of this one appliance: no two are quite alike.
	scale float64
}

// newPainter returns a painter for the given day; the same seed and day give
// the same random numbers.
func newPainter(seed uint64, d day, scale float64) *painter {
	return &painter{
		Rand:  rand.New(rand.NewPCG(seed, d.number())),
		day:   d,
		plan:  plan{day: d},
		scale: scale,
	}
}

// chance is true in p of all cases.
func (p *painter) chance(of float64) bool { return p.Float64() < of }

// between returns a number from a to b.
func (p *painter) between(a, b float64) float64 { return a + (b-a)*p.Float64() }

// about returns an hour of the day within spread hours of hour.
func (p *painter) about(hour, spread float64) int {
	return p.day.clock(p.between(hour-spread, hour+spread))
}

// hold draws watts for a number of seconds.
func (p *painter) hold(seconds int, watts float64) {
	end := min(p.now+seconds, p.day.length)
	if end <= p.now {
		return
	}
	mw := int32(math.Round(max(watts*p.scale, 0) * 1000))
	if n := len(p.plan.power); n == 0 || p.plan.power[n-1] != mw {
		p.plan.at = append(p.plan.at, int32(p.now))
		p.plan.power = append(p.plan.power, mw)
	}
	p.now = end
}

// vary draws about watts for a number of seconds, a new value every grain
// seconds, with a relative deviation of spread.
func (p *painter) vary(seconds, grain int, watts, spread float64) {
	for seconds > 0 && p.now < p.day.length {
		n := min(seconds, grain/2+p.IntN(grain)+1)
		p.hold(n, watts*max(1+spread*p.NormFloat64(), 0.1))
		seconds -= n
	}
}

// swap draws a and b in turn for a number of seconds: a motor that turns and
// rests, a thermostat that opens and closes.
func (p *painter) swap(seconds, onFor int, a float64, offFor int, b float64) {
	for end := p.now + seconds; p.now < min(end, p.day.length); {
		p.hold(min(onFor+p.IntN(onFor/4+1), end-p.now), a*p.between(0.98, 1.02))
		p.hold(min(offFor+p.IntN(offFor/4+1), end-p.now), b*p.between(0.96, 1.04))
	}
}

// idle draws watts until sec; nothing if that is past.
func (p *painter) idle(sec int, watts float64) { p.vary(sec-p.now, 1800, watts, 0.03) }

// done draws watts for what is left of the day and returns the plan.
func (p *painter) done(watts float64) plan {
	p.idle(p.day.length, watts)
	p.plan.seal()
	return p.plan
}
