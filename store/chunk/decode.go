package chunk

import (
	"slices"

	"github.com/wattle-home/wattle/gateway"
)

// Decoder unpacks chunks. The zero value is ready. It keeps its scratch
// memory, about 40 bytes for each reading of the largest chunk, and serves one
// goroutine at a time.
type Decoder struct {
	c     columns
	vals  []int64
	beats []lost
}

// lost is a pause of several beats.
type lost struct {
	at    int // the reading after it
	beats int64
}

// Append appends the readings of a chunk, in order of time, to dst. If the
// chunk is damaged it returns dst as it was, and an error that wraps
// ErrDamaged.
func (d *Decoder) Append(dst []gateway.Reading, data []byte) ([]gateway.Reading, error) {
	r := open(data)
	h := readHeader(&r)
	if r.err != nil {
		return dst, r.err
	}
	if cap(d.vals) < h.Count {
		d.vals = make([]int64, max(h.Count, 1024))
	}
	all := slices.Grow(dst, h.Count)[:len(dst)+h.Count]
	rs := all[len(dst):]
	g := d.times(&r, rs, h)
	powers, counters := fields(&r, rs, h.Device)
	if powers > 0 {
		d.power(&r, rs, powers)
	}
	if counters > 0 {
		d.energy(&r, rs, g, counters, powers == h.Count)
	}
	if len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return dst, r.err
	}
	return all, nil
}

// times reads the stamps into rs and leaves the pauses in d.beats.
func (d *Decoder) times(r *reader, rs []gateway.Reading, h Header) grid {
	g := grid{unit: int64(r.uvarint()), step: int64(r.uvarint())}
	d.beats = d.beats[:0]
	at := 1
	for range r.count("pauses", len(rs)) {
		at += r.count("readings to a pause", len(rs))
		d.beats = append(d.beats, lost{at: at, beats: int64(r.uvarint())})
		if r.err != nil {
			return g
		}
	}
	x := d.vals[:len(rs)]
	d.c.read(r, x)
	if r.err != nil {
		return g
	}
	pauses := d.beats
	beat, last := int64(0), int64(h.First)
	for i := range rs {
		if len(pauses) > 0 && pauses[0].at == i {
			beat += (pauses[0].beats - 1) * g.step
			pauses = pauses[1:]
		}
		at := int64(h.First) + (beat>>stepShift+x[i])*g.unit
		if at <= last && i > 0 {
			r.fail("reading %d is not after the one before", i)
			return g
		}
		rs[i].At = gateway.Instant(at)
		last = at
		beat += g.step
	}
	if rs[0].At != h.First || rs[len(rs)-1].At != h.Last {
		r.fail("its readings are from %d to %d instead of %d to %d",
			rs[0].At, last, h.First, h.Last)
	}
	return g
}

// fields sets which fields rs have, and what else is the same for many, and
// returns how many have a power and how many a counter.
func fields(
	r *reader, rs []gateway.Reading, device gateway.DeviceID,
) (powers, counters int) {
	for len(rs) > 0 && r.err == nil {
		head := r.uvarint()
		has := gateway.ReadingFields(head & 3)
		if head>>2 == 0 || head>>2 > uint64(len(rs)) || has == 0 {
			r.fail("a run of %d readings with fields %d", head>>2, has)
			return 0, 0
		}
		run := int(head >> 2)
		for i := range rs[:run] {
			rs[i].Device, rs[i].Has = device, has
			rs[i].Power, rs[i].Energy = 0, 0
		}
		if has&gateway.HasPower != 0 {
			powers += run
		}
		if has&gateway.HasEnergy != 0 {
			counters += run
		}
		rs = rs[run:]
	}
	return powers, counters
}

// power reads the power of the readings that have one, n of them.
func (d *Decoder) power(r *reader, rs []gateway.Reading, n int) {
	unit := int64(r.uvarint())
	x := d.vals[:n]
	d.c.read(r, x)
	if r.err != nil {
		return
	}
	if len(x) == len(rs) {
		for i := range rs {
			rs[i].Power = gateway.Power(x[i] * unit)
		}
		return
	}
	for i := range rs {
		if rs[i].Has&gateway.HasPower != 0 {
			rs[i].Power = gateway.Power(x[0] * unit)
			x = x[1:]
		}
	}
}

// energy reads the counter of the readings that have one, n of them; powered
// says that all have a power.
func (d *Decoder) energy(r *reader, rs []gateway.Reading, g grid, n int, powered bool) {
	unit := int64(r.uvarint())
	sum := integral{how: r.byte(), unit: 1}
	if sum.how >= predictors {
		r.fail("a counter of kind %d", sum.how)
	}
	if sum.how&3 != ofNone {
		sum.acc = r.uvarint()
		sum.unit = uint64(unit) * perMilliwattHour
		if int64(sum.unit) <= 0 {
			r.fail("a counter in units of %d", unit)
		}
	}
	x := d.vals[:n]
	d.c.read(r, x)
	if r.err != nil {
		return
	}
	switch {
	case sum.how&3 == ofNone:
		for i := range rs {
			if rs[i].Has&gateway.HasEnergy != 0 {
				rs[i].Energy = gateway.Energy(x[0] * unit)
				x = x[1:]
			}
		}
	case len(x) == len(rs) && powered && sum.how&onBeat == 0:
		sum.byStamps(rs, x, unit)
	case len(x) == len(rs) && powered && len(d.beats) == 0:
		sum.byBeats(rs, x, unit, g.length())
	default:
		d.follow(sum, rs, x, unit, g)
	}
}

// byStamps sets the counters of rs, which all have one and a power.
func (s integral) byStamps(rs []gateway.Reading, x []int64, unit int64) {
	last := rs[0].At
	var rise int64
	x = x[:len(rs)]
	for i := range rs {
		rise += s.step(int64(rs[i].Power), int64(rs[i].At-last))
		last = rs[i].At
		rs[i].Energy = gateway.Energy((rise + x[i]) * unit)
	}
}

// byBeats sets the counters of rs, which all have one and a power, and come
// with each beat.
func (s integral) byBeats(rs []gateway.Reading, x []int64, unit, beat int64) {
	rise := s.step(int64(rs[0].Power), 0)
	rs[0].Energy = gateway.Energy((rise + x[0]) * unit)
	x = x[:len(rs)]
	for i := 1; i < len(rs); i++ {
		rise += s.step(int64(rs[i].Power), beat)
		rs[i].Energy = gateway.Energy((rise + x[i]) * unit)
	}
}

// follow sets the counters of those of rs that have one.
func (d *Decoder) follow(s integral, rs []gateway.Reading, x []int64, unit int64, g grid) {
	var rise, held int64
	last := rs[0].At
	beat := g.length()
	pauses := d.beats
	for i := range rs {
		span := int64(rs[i].At - last)
		last = rs[i].At
		if s.how&onBeat != 0 {
			switch {
			case i == 0:
				span = 0
			case len(pauses) > 0 && pauses[0].at == i:
				span = pauses[0].beats * beat
				pauses = pauses[1:]
			default:
				span = beat
			}
		}
		if rs[i].Has&gateway.HasPower != 0 {
			held = int64(rs[i].Power)
		}
		rise += s.step(held, span)
		if rs[i].Has&gateway.HasEnergy != 0 {
			rs[i].Energy = gateway.Energy((rise + x[0]) * unit)
			x = x[1:]
		}
	}
}
