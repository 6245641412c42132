package link

import "time"

// The models below follow published measurements of single appliances, in
// rounded figures: duty cycles and defrosting of refrigerators and freezers,
// programmes of washing machines and dishwashers, evening use of television
// and lamps as the public data sets of household loads show them (REFIT,
// UK-DALE, tracebase, HES). They are models of use, not copies of a trace.

// habits are what sets one household apart from another.
type habits struct {
	wake    float64 // hour at which the kitchen comes to life on a weekday
	bed     float64 // hour at which the last light goes out on a weekday
	people  float64 // 1 for a couple; scales how often machines run
	homeday bool    // somebody works at home on weekdays
}

// kind is a model of one sort of appliance.
type kind struct {
	alias    string
	room     string
	icon     string
	dialect  string
	topic    string
	standby  float64 // W that it draws when switched off by its own electronics
	alwaysOn bool
	paint    func(p *painter, h habits) plan
}

// kinds are the appliances of every household, in their order.
func kinds() []kind {
	return []kind{
		{"Fridge", "Kitchen", "fridge", "tasmota", "fridge", 0, true, paintFridge},
		{"Freezer", "Cellar", "freezer", "shelly-gen2", "shellyplusplugs", 0, true, paintFreezer},
		{
			"Washing machine", "Laundry", "washing-machine", "tasmota", "washing-machine", 0, false,
			paintWasher,
		},
		{
			"Dishwasher", "Kitchen", "dishwasher", "shelly-gen2", "shellyplusplugs", 0, false,
			paintDishwasher,
		},
		{"Television", "Living room", "tv", "shelly-gen2", "shellyplugsg3", 0, false, paintTelevision},
		{"Workstation", "Study", "pc", "native", "workstation", 0.9, false, paintWorkstation},
		{"Router", "Hall", "router", "native", "router", 0, true, paintRouter},
		{"Kettle", "Kitchen", "kettle", "tasmota", "kettle", 0, false, paintKettle},
		{"Water heater", "Bathroom", "heater", "native", "water-heater", 0.4, false, paintHeater},
		{"Reading lamp", "Living room", "lamp", "tasmota", "reading-lamp", 0, false, paintLamp},
		{"Oven", "Kitchen", "oven", "native", "oven", 0.8, false, paintOven},
		{
			"Ventilation", "Attic", "plug", "shelly-gen2", "shelly1pmminig3", 0, false,
			paintVentilation,
		},
	}
}

// cool runs a compressor until sec: watts for a part duty of each cycle of
// about minutes, a start that draws more, and idle watts between.
func cool(p *painter, sec int, minutes, duty, watts, idle float64) {
	for p.now < min(sec, p.day.length) {
		cycle := minutes * 60 * p.between(0.85, 1.15)
		on := int(cycle * duty * p.between(0.92, 1.08))
		p.hold(min(60, sec-p.now), watts*1.18)
		p.vary(min(on-60, sec-p.now), 150, watts, 0.02)
		p.hold(min(int(cycle)-on, sec-p.now), idle)
	}
}

// paintFridge: a no-frost fridge of 85 W, on for 36 % of the time, more in
// summer and around meals, with a defrost heater once in the night.
func paintFridge(p *painter, h habits) plan {
	duty := 0.36 + 0.05*p.day.season
	p.hold(p.IntN(1800), 1.2) // where in its cycle midnight found it
	cool(p, p.about(3, 0.7), 52, duty-0.03, 85, 1.2)
	p.vary(720, 120, 165, 0.01)
	p.hold(420, 3)
	p.vary(1500, 150, 88, 0.02)
	meals := p.day.clock(h.wake)
	cool(p, meals, 52, duty-0.03, 85, 1.2)
	cool(p, p.day.clock(21), 48, duty+0.04*h.people, 85, 1.4)
	cool(p, p.day.length, 52, duty, 85, 1.2)
	return p.done(1.2)
}

// paintFreezer: a chest freezer of 102 W, on for 40 % of the time.
func paintFreezer(p *painter, _ habits) plan {
	p.hold(p.IntN(1500), 0.5)
	cool(p, p.day.length, 41, 0.40+0.03*p.day.season, 102, 0.5)
	return p.done(0.5)
}

// paintWasher: cotton programmes, mostly at the end of the week.
func paintWasher(p *painter, h habits) plan {
	rate, hour := 0.34, 17.5
	if p.day.weekend() {
		rate = 0.8
	}
	if p.day.weekend() || h.homeday {
		hour = 10
	}
	if p.chance(min(rate*h.people, 0.95)) {
		p.idle(p.about(hour, 1), 0.6)
		wash(p)
		if p.day.weekend() && p.chance(0.45*h.people) {
			p.idle(p.now+int(p.between(600, 4800)), 0.6)
			wash(p)
		}
	}
	return p.done(0.6)
}

// wash is one programme: fill, heat to 40 or 60 degrees, turn, rinse, spin.
func wash(p *painter) {
	p.swap(360, 30, 140, 15, 45)
	minutes := 11.0
	if p.chance(0.3) {
		minutes = 21
	}
	p.vary(int(minutes*60*p.between(0.9, 1.1)), 45, 2050, 0.01)
	p.swap(int(p.between(30, 44)*60), 40, 165, 20, 40)
	for range 2 {
		p.hold(150, 22)
		p.swap(420, 30, 155, 20, 38)
		p.vary(90, 15, 330, 0.15)
	}
	p.vary(240, 20, 290, 0.1)
	p.vary(330, 20, 470, 0.08)
	p.hold(120, 9)
}

// paintDishwasher: once on most days, after supper.
func paintDishwasher(p *painter, h habits) plan {
	if p.chance(min(0.68*h.people, 0.96)) {
		p.idle(p.about(20.3, 0.8), 0.5)
		p.swap(540, 240, 62, 30, 18)
		p.vary(int(p.between(840, 1080)), 60, 2010, 0.008)
		p.swap(1620, 400, 68, 40, 25)
		p.hold(110, 26)
		p.swap(560, 240, 63, 30, 20)
		p.vary(int(p.between(720, 900)), 60, 2000, 0.008)
		p.vary(1500, 300, 14, 0.1)
	}
	return p.done(0.5)
}

// paintTelevision: evenings, and some afternoons at the weekend.
func paintTelevision(p *painter, h habits) plan {
	watch := func(from, to int) {
		p.idle(from, 0.7)
		if p.now < to {
			p.vary(to-p.now, 45, 91, 0.06)
		}
	}
	if p.day.weekend() && p.chance(0.6) {
		from := p.about(14.5, 1)
		watch(from, from+int(p.between(3600, 9000)))
	}
	if p.chance(0.92) {
		watch(p.about(19.2, 0.6), p.about(h.bed-0.5, 0.4))
	}
	return p.done(0.7)
}

// paintWorkstation: working hours with a pause, and some hours at the
// weekend; asleep in between.
func paintWorkstation(p *painter, h habits) plan {
	work := func(from, to int, mean float64) {
		p.idle(from, 2.4)
		for p.now < min(to, p.day.length) {
			w := mean * p.between(0.8, 1.15)
			if p.chance(0.12) { // something computes
				w = p.between(135, 178)
			}
			p.vary(min(p.IntN(900)+300, to-p.now), 60, w, 0.05)
		}
	}
	switch {
	case p.day.weekend():
		if p.chance(0.75) {
			work(p.about(10.2, 0.5), p.about(13, 0.5), 84)
		}
		if p.chance(0.7) {
			work(p.about(15.5, 0.7), p.about(18.3, 0.5), 96)
		}
	case h.homeday:
		work(p.about(8.3, 0.3), p.about(12.2, 0.2), 92)
		work(p.about(13, 0.2), p.about(17.4, 0.5), 97)
	default:
		work(p.about(17.6, 0.4), p.about(18.6, 0.3), 88)
	}
	if p.chance(0.4) {
		from := p.about(20.5, 0.6)
		work(from, from+int(p.between(2400, 6600)), 104)
	}
	return p.done(2.4)
}

// paintRouter: never off, a little busier in the evening.
func paintRouter(p *painter, _ habits) plan {
	p.vary(p.day.clock(7), 300, 8.8, 0.012)
	p.vary(p.day.clock(18)-p.now, 200, 9.3, 0.02)
	p.vary(p.day.clock(23.3)-p.now, 150, 10.1, 0.03)
	return p.done(8.8)
}

// paintKettle: 2.2 kW for two to four minutes; breakfast, tea, evening.
func paintKettle(p *painter, h habits) plan {
	boil := func(hour, spread float64) {
		if at := p.about(hour, spread); at > p.now {
			p.hold(at-p.now, 0)
			p.vary(int(p.between(110, 235)), 30, 2210, 0.004)
		}
	}
	wake := h.wake + 0.3
	if p.day.weekend() {
		wake += 1.6
	}
	boil(wake, 0.25)
	if p.chance(0.7 * h.people) {
		boil(wake+0.8, 0.3)
	}
	if p.day.weekend() || h.homeday {
		if p.chance(0.7) {
			boil(13.2, 0.4)
		}
		boil(15.8, 0.6)
	}
	if p.chance(0.75) {
		boil(18.1, 0.5)
	}
	if p.chance(0.6 - 0.2*p.day.season) {
		boil(21, 0.6)
	}
	p.hold(p.day.length, 0)
	return p.done(0)
}

// paintHeater: a storage heater of 2 kW that loads in the night, longer when
// the water comes in cold, and makes up for losses by day.
func paintHeater(p *painter, h habits) plan {
	heat := func(sec int, minutes float64) {
		p.idle(sec, 0.4)
		p.vary(int(minutes*60), 90, 1985, 0.006)
	}
	load := (118 - 26*p.day.season) * (0.75 + 0.25*h.people)
	heat(p.about(0.6, 0.15), load*p.between(0.85, 1.1))
	heat(max(p.now+2400, p.about(5.2, 0.2)), p.between(8, 14))
	heat(p.about(h.wake+1.4, 0.3), p.between(9, 16))
	heat(p.about(14.2, 0.8), p.between(8, 13))
	if p.chance(0.6) {
		heat(p.about(20.6, 0.7), p.between(10, 22))
	}
	return p.done(0.4)
}

// paintLamp: from dusk to bedtime, and on dark mornings.
func paintLamp(p *painter, h habits) plan {
	dawn, dusk := 6.4-1.9*p.day.season, 18.4+2.6*p.day.season
	lit := func(from, to int, watts float64) {
		if to > from && to > p.now {
			p.hold(from-p.now, 0)
			p.vary(to-p.now, 600, watts, 0.01)
		}
	}
	lit(p.about(h.wake, 0.15), p.day.clock(min(dawn+0.8, h.wake+1.5)), 9.2)
	lit(p.about(dusk, 0.3), p.about(h.bed-1.6, 0.2), 13.6)
	lit(p.now, p.about(h.bed, 0.3), 9.2)
	p.hold(p.day.length, 0)
	return p.done(0)
}

// paintOven: preheats with 2.4 kW, then its thermostat opens and closes.
func paintOven(p *painter, h habits) plan {
	bake := func(sec int) {
		p.idle(sec, 1.4)
		p.vary(int(p.between(480, 720)), 60, 2390, 0.006)
		p.swap(int(p.between(1500, 3300)), 70, 2290, 110, 42)
		p.vary(300, 60, 24, 0.05)
	}
	if p.day.weekday == time.Sunday && p.chance(0.65) {
		bake(p.about(11.6, 0.5))
	}
	if p.chance(min(0.34*h.people, 0.7)) {
		bake(p.about(18, 0.5))
	}
	return p.done(1.4)
}

// paintVentilation: a heat recovery unit on its low step, on the high one
// while people shower and cook.
func paintVentilation(p *painter, h habits) plan {
	p.vary(p.about(h.wake, 0.2), 240, 24, 0.015)
	p.vary(int(p.between(2700, 4500)), 90, 52, 0.02)
	p.vary(p.about(17.8, 0.4)-p.now, 180, 31, 0.02)
	p.vary(int(p.between(3600, 6000)), 90, 52, 0.02)
	p.vary(p.day.clock(h.bed)-p.now, 180, 31, 0.02)
	p.vary(p.day.length-p.now, 240, 24, 0.015)
	return p.done(24)
}
