package chunk

import (
	"encoding/binary"
	"math"

	"github.com/wattle-home/wattle/gateway"
)

// Encoder makes chunks. The zero value is ready. It keeps its scratch memory,
// about 100 bytes for each reading of the largest chunk, and serves one
// goroutine at a time.
type Encoder struct {
	w           writer
	at, x, bx   []int64 // stamps and what differs from the beat
	beats       []int64 // from each reading to the next
	power       []int64 // of readings that have one
	held        []int64 // power of each reading, or the one before
	energy      []int64
	span, steps []int64
	where       []int // which readings have a counter
}

// Append appends a chunk with the readings to dst and returns it. There must
// be 1 to MaxReadings of them, of one device, each later than the one before
// and with a field at least; anything else is a mistake of the caller, which
// a *gateway.Error with CodeInvalid tells.
func (e *Encoder) Append(dst []byte, rs []gateway.Reading) ([]byte, error) {
	if err := check(rs); err != nil {
		return nil, err
	}
	start := len(dst)
	dst = Header{
		Device: rs[0].Device, Count: len(rs), First: rs[0].At, Last: rs[len(rs)-1].At,
	}.appendTo(dst)
	dst, g := e.appendTimes(dst, rs)
	dst = appendFields(dst, rs)
	dst = e.appendPower(dst, rs)
	dst = e.appendEnergy(dst, rs, g)
	return binary.LittleEndian.AppendUint32(dst, checksum(dst[start:])), nil
}

// check returns why rs cannot be a chunk.
func check(rs []gateway.Reading) error {
	if len(rs) == 0 || len(rs) > MaxReadings {
		return gateway.Invalidf("packing %d readings: want 1 to %d", len(rs), MaxReadings)
	}
	for i, r := range rs {
		switch {
		case r.Has == 0 || r.Has > gateway.HasPower|gateway.HasEnergy:
			return gateway.Invalidf("packing reading %d: its fields are %d", i, r.Has)
		case r.Device != rs[0].Device:
			return gateway.Invalidf("packing reading %d: it is of device %d, others of %d",
				i, r.Device, rs[0].Device)
		case i > 0 && r.At <= rs[i-1].At:
			return gateway.Invalidf("packing reading %d: %s is not after the one before", i, r.At)
		}
	}
	if rs[0].Device < 0 {
		return gateway.Invalidf("packing readings of device %d", rs[0].Device)
	}
	return nil
}

// grid is a beat that stamps are near to.
type grid struct {
	unit int64 // milliseconds
	step int64 // units, in 65,536ths
}

// stepShift: a beat has so many binary places.
const stepShift = 16

// on returns beat k after the first stamp, in units. It wraps around.
func (g grid) on(k int64) int64 { return (k * g.step) >> stepShift }

// length returns the length of a beat in milliseconds.
func (g grid) length() int64 { return (g.step >> stepShift) * g.unit }

// maxStep is the longest beat, in units, so that its fixed point fits.
const maxStep = 1 << 40

// appendTimes appends the stamps: the unit, the beat, where more than one beat
// passed between two readings, and by how much each stamp is off. It returns
// the beat and leaves the beats passed in e.beats.
func (e *Encoder) appendTimes(dst []byte, rs []gateway.Reading) ([]byte, grid) {
	e.at = e.at[:0]
	for _, r := range rs {
		e.at = append(e.at, int64(uint64(r.At)-uint64(rs[0].At)))
	}
	g := grid{unit: unitOf(e.at)}
	for i := range e.at {
		e.at[i] /= g.unit
	}
	g, p := e.fit(g)
	dst = binary.AppendUvarint(dst, uint64(g.unit))
	dst = binary.AppendUvarint(dst, uint64(g.step))
	count, last := 0, 0
	for _, m := range e.beats[1:] {
		if m != 1 {
			count++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(count))
	for i, m := range e.beats[1:] {
		if m != 1 {
			dst = binary.AppendUvarint(dst, uint64(i-last))
			dst = binary.AppendUvarint(dst, uint64(m))
			last = i
		}
	}
	return e.w.append(dst, e.bx, p), g
}

// fit finds the beat of e.at and leaves the beats passed in e.beats and what
// stamps differ from it in e.bx.
func (e *Encoder) fit(g grid) (grid, plan) {
	n := len(e.at)
	e.steps = e.steps[:0]
	for i := 1; i < n; i++ {
		e.steps = append(e.steps, e.at[i]-e.at[i-1])
	}
	usual := int64(0)
	if n > 1 {
		usual = e.w.median(e.steps)
	}
	// Without beats: what readings are apart, whatever it is.
	if usual <= 0 || usual > maxStep {
		usual = 0
	}
	best := grid{unit: g.unit, step: usual << stepShift}
	e.beats = append(e.beats[:0], 0)
	for range n - 1 {
		e.beats = append(e.beats, 1)
	}
	e.off(best)
	e.bx = append(e.bx[:0], e.x...)
	p, cost := e.w.choose(e.bx)
	if usual == 0 || cost < float64(n)/16 {
		return best, p
	}

	lost := 0 // pauses of several beats
	for i, s := range e.steps {
		if s >= usual+usual/2 {
			e.beats[i+1] = (s + usual/2) / usual
			if e.beats[i+1] != 1 {
				lost++
			}
		}
	}
	found := false
	for _, step := range []int64{usual << stepShift, e.slope(usual)} {
		try := grid{unit: g.unit, step: step}
		e.off(try)
		if q, c := e.w.choose(e.x); c+float64(24*lost) < cost {
			best, p, cost, found = try, q, c+float64(24*lost), true
			e.bx, e.x = e.x, e.bx
		}
	}
	if !found {
		for i := 1; i < n; i++ {
			e.beats[i] = 1
		}
	}
	return best, p
}

// off sets e.x to what e.at differs from the beat.
func (e *Encoder) off(g grid) {
	e.x = e.x[:0]
	k := int64(0)
	for i, at := range e.at {
		k += e.beats[i]
		e.x = append(e.x, at-g.on(k))
	}
}

// slope returns the beat that is nearest to all stamps, by least squares, or
// the usual one if they have none.
func (e *Encoder) slope(usual int64) int64 {
	var k, sk, st, skk, skt float64
	for i, at := range e.at {
		k += float64(e.beats[i])
		sk += k
		st += float64(at)
		skk += k * k
		skt += k * float64(at)
	}
	n := float64(len(e.at))
	if d := n*skk - sk*sk; d > 0 {
		s := math.Round((n*skt - sk*st) / d * (1 << stepShift))
		if s > 0 && s < maxStep<<stepShift {
			return int64(s)
		}
	}
	return usual << stepShift
}

// appendFields appends which fields readings have, as runs: the length and the
// fields in one uvarint.
func appendFields(dst []byte, rs []gateway.Reading) []byte {
	for i := 0; i < len(rs); {
		run := 1
		for i+run < len(rs) && rs[i+run].Has == rs[i].Has {
			run++
		}
		dst = binary.AppendUvarint(dst, uint64(run)<<2|uint64(rs[i].Has))
		i += run
	}
	return dst
}

// appendPower appends the power of the readings that have one: the unit and
// the column. It leaves what holds at each reading in e.held.
func (e *Encoder) appendPower(dst []byte, rs []gateway.Reading) []byte {
	e.power, e.held = e.power[:0], e.held[:0]
	var last int64
	for _, r := range rs {
		if r.Has&gateway.HasPower != 0 {
			last = int64(r.Power)
			e.power = append(e.power, last)
		}
		e.held = append(e.held, last)
	}
	if len(e.power) == 0 {
		return dst
	}
	unit := scale(e.power)
	dst = binary.AppendUvarint(dst, uint64(unit))
	p, _ := e.w.choose(e.power)
	return e.w.append(dst, e.power, p)
}

// scale divides vs by their unit and returns it.
func scale(vs []int64) int64 {
	unit := unitOf(vs)
	if unit != 1 {
		for i := range vs {
			vs[i] /= unit
		}
	}
	return unit
}

// appendEnergy appends the counter of the readings that have one: the unit,
// how it is predicted and from what remainder on, and the column of what
// differs.
func (e *Encoder) appendEnergy(dst []byte, rs []gateway.Reading, g grid) []byte {
	e.energy, e.where = e.energy[:0], e.where[:0]
	for i, r := range rs {
		if r.Has&gateway.HasEnergy != 0 {
			e.energy = append(e.energy, int64(r.Energy))
			e.where = append(e.where, i)
		}
	}
	if len(e.energy) == 0 {
		return dst
	}
	unit := scale(e.energy)
	dst = binary.AppendUvarint(dst, uint64(unit))
	best := integral{how: ofNone}
	e.bx = append(e.bx[:0], e.energy...)
	p, cost := e.w.choose(e.bx)
	if len(e.power) > 0 && uint64(unit) < math.MaxInt64/perMilliwattHour {
		for how := range byte(predictors) {
			if how&3 == ofNone || cost < float64(len(e.energy))/16 {
				continue
			}
			try := integral{how: how, unit: uint64(unit) * perMilliwattHour}
			e.spans(rs, g, how)
			try.acc = e.remainder(try)
			e.differ(try)
			if q, c := e.w.choose(e.x); c < cost {
				best, p, cost = try, q, c
				e.bx, e.x = e.x, e.bx
			}
		}
	}
	dst = append(dst, best.how)
	if best.how&3 != ofNone {
		dst = binary.AppendUvarint(dst, best.acc)
	}
	return e.w.append(dst, e.bx, p)
}

// spans sets e.span to how long before each reading the one before it was.
func (e *Encoder) spans(rs []gateway.Reading, g grid, how byte) {
	e.span = append(e.span[:0], 0)
	for i := 1; i < len(rs); i++ {
		if how&onBeat != 0 {
			e.span = append(e.span, e.beats[i]*g.length())
		} else {
			e.span = append(e.span, int64(rs[i].At-rs[i-1].At))
		}
	}
}

// differ sets e.x to what the counter differs from what g makes of the power.
func (e *Encoder) differ(g integral) {
	e.x = e.x[:0]
	var rise int64
	next := 0
	for i, at := range e.where {
		for ; next <= at; next++ {
			rise += g.step(e.held[next], e.span[next])
		}
		e.x = append(e.x, e.energy[i]-rise)
	}
}

// remainder returns what part of a unit the counter held at the first reading,
// such that the prediction is right for as long as possible.
func (e *Encoder) remainder(g integral) uint64 {
	unit := int64(g.unit)
	lo, hi := int64(0), unit-1
	// One unit of g is 1: its steps are the sum itself.
	sum, exact := int64(0), integral{how: g.how, unit: 1}
	next := 0
	var first int64
	for i, at := range e.where {
		for ; next <= at; next++ {
			sum += exact.step(e.held[next], e.span[next])
		}
		if i == 0 {
			first = sum
		}
		rise := (e.energy[i]-e.energy[0])*unit - (sum - first)
		a, b := max(lo, rise), min(hi, rise+unit-1)
		if a > b {
			break
		}
		lo, hi = a, b
	}
	return uint64(lo + (hi-lo)/2)
}
