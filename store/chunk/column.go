package chunk

import (
	"encoding/binary"
	"slices"
)

// Ways to predict the next value of a column from those before it.
const (
	byLevel = iota // always the base
	byDelta        // the value before
	byTrack        // the mean of the values since the last jump
	modes
)

// trackShift and trackRound: the tracked mean is kept in sixteenths and moves
// by an eighth of what it was off.
const (
	trackShift = 4
	trackRound = 1 << (trackShift - 1)
	trackSpeed = 3
)

// jumps are the residuals beyond which a tracked column starts a new mean,
// which of them the column says.
var jumps = [...]int64{3, 10, 30, 100, 300, 1000}

// plan is how a column is to be written.
type plan struct {
	mode byte
	jump int64 // for byTrack
	low  uint  // bits that are kept apart, for noise wider than the tokens
	base int64
}

// residuals appends to dst what vs differ from the prediction. Differences
// wrap around, so that any values come back.
func (p plan) residuals(dst, vs []int64) []int64 {
	switch p.mode {
	case byLevel:
		for _, v := range vs {
			dst = append(dst, v-p.base)
		}
	case byDelta:
		last := p.base
		for _, v := range vs {
			dst = append(dst, v-last)
			last = v
		}
	case byTrack:
		mean := p.base << trackShift
		for _, v := range vs {
			r := v - (mean+trackRound)>>trackShift
			dst = append(dst, r)
			mean = track(mean, v, r, p.jump)
		}
	}
	return dst
}

// track returns the mean after the value v, which was r off.
func track(mean, v, r, jump int64) int64 {
	if r > jump || r < -jump {
		return v << trackShift
	}
	return mean + (v<<trackShift-mean)>>trackSpeed
}

// writer makes columns and keeps the memory for it.
type writer struct {
	res, sample []int64
	tok         tokens
	huff        entropy
}

// A plan is chosen by up to so many values of a column: as many runs of them,
// evenly spread, as there are in long columns.
const (
	probes   = 16
	probeRun = 128
)

// choose returns the plan that makes the shortest column of vs, and about how
// many bits that takes. It looks at a part of long columns alone.
func (w *writer) choose(vs []int64) (plan, float64) {
	if len(vs) == 0 {
		return plan{}, 0
	}
	best, cost := w.try(plan{mode: byDelta, base: vs[0]}, vs)
	n, delta := float64(len(vs)), cost
	if level, c := w.try(plan{mode: byLevel, base: w.middle(vs)}, vs); c < cost {
		best, cost = level, c
	}
	// Where there is next to nothing, or half a bit to a level, the mean gains
	// nothing more.
	if cost < n/4 || cost < delta-n/2 {
		return best, cost
	}
	for _, j := range jumps {
		if p, c := w.try(plan{mode: byTrack, jump: j, base: vs[0]}, vs); c < cost {
			best, cost = p, c
		}
	}
	return best, cost
}

// probe sets w.res to the residuals of the part of vs that stands for all.
func (w *writer) probe(p plan, vs []int64) {
	if len(vs) <= 2*probes*probeRun {
		w.res = p.residuals(w.res[:0], vs)
		return
	}
	w.res = w.res[:0]
	for i := range probes {
		at := i * (len(vs) - probeRun) / (probes - 1)
		if at > 0 && p.mode != byLevel {
			p.base = vs[at-1]
		}
		w.res = p.residuals(w.res, vs[at:at+probeRun])
	}
}

// try returns p with the best number of low bits and its cost.
func (w *writer) try(p plan, vs []int64) (plan, float64) {
	w.probe(p, vs)
	p.low = 0
	w.tok.set(w.res, 0)
	cost := w.tok.cost(len(w.res), len(vs), 0)
	// Only where many residuals have no token of their own is it worth trying.
	if len(w.tok.extra)*20 < len(w.res) {
		return p, cost
	}
	for low := uint(1); low <= maxLow; low++ {
		w.tok.set(w.res, low)
		c := w.tok.cost(len(w.res), len(vs), low)
		if c < cost {
			p.low, cost = low, c
		} else if low > p.low+2 {
			break
		}
	}
	return p, cost
}

// middle returns a value for columns that have a level: the one that a quarter
// of vs have or more, if a vote finds it, else about the median.
func (w *writer) middle(vs []int64) int64 {
	var v int64
	votes := 0
	for _, x := range vs {
		switch {
		case votes == 0:
			v, votes = x, 1
		case x == v:
			votes++
		default:
			votes--
		}
	}
	n := 0
	for _, x := range vs {
		if x == v {
			n++
		}
	}
	if n >= len(vs)/4 {
		return v
	}
	return w.median(vs)
}

// median returns the median of up to 255 of vs, evenly picked.
func (w *writer) median(vs []int64) int64 {
	const most = 255
	w.sample = w.sample[:0]
	for i := range min(len(vs), most) {
		w.sample = append(w.sample, vs[i*len(vs)/min(len(vs), most)])
	}
	slices.Sort(w.sample)
	return w.sample[len(w.sample)/2]
}

// append appends the column of vs, as p says, to dst.
func (w *writer) append(dst []byte, vs []int64, p plan) []byte {
	if len(vs) == 0 {
		return dst
	}
	w.res = p.residuals(w.res[:0], vs)
	w.tok.set(w.res, p.low)
	dst = append(dst, p.mode|byte(p.low)<<2)
	if p.mode == byTrack {
		dst = binary.AppendUvarint(dst, uint64(p.jump))
	}
	dst = binary.AppendUvarint(dst, zigzag(p.base))
	dst = appendLow(dst, w.res, p.low)
	dst = w.huff.append(dst, w.tok.body)
	return append(dst, w.tok.extra...)
}

// columns reads columns and keeps the memory for it.
type columns struct {
	huff entropyReader
}

// read reads a column into all of dst.
func (c *columns) read(r *reader, dst []int64) {
	if len(dst) == 0 {
		return
	}
	head := r.byte()
	p := plan{mode: head & 3, low: uint(head >> 2)}
	if p.mode >= modes || p.low > maxLow {
		r.fail("a column of kind %d", head)
		return
	}
	if p.mode == byTrack {
		p.jump = int64(r.uvarint())
	}
	p.base = r.varint()
	low := r.bytes(lowBytes(len(dst), p.low))
	body := c.huff.read(r, len(dst))
	if r.err != nil {
		return
	}
	n := 0
	switch {
	case p.low > 0:
		n = residualsFrom(r, dst, body, p.low, low)
		p.sum(dst)
	case p.mode == byDelta:
		n = deltasFrom(r, dst, body, p.base)
	case p.mode == byTrack:
		n = residualsFrom(r, dst, body, 0, nil)
		p.sum(dst)
	default:
		n = levelsFrom(r, dst, body, p.base)
	}
	if n != len(dst) {
		r.fail("a column of %d values instead of %d", n, len(dst))
	}
}

// sum turns the residuals vs into the values.
func (p plan) sum(vs []int64) {
	switch p.mode {
	case byLevel:
		for i := range vs {
			vs[i] += p.base
		}
	case byDelta:
		last := p.base
		for i, r := range vs {
			last += r
			vs[i] = last
		}
	case byTrack:
		mean := p.base << trackShift
		for i, r := range vs {
			v := (mean+trackRound)>>trackShift + r
			vs[i] = v
			mean = track(mean, v, r, p.jump)
		}
	}
}

// runOf returns the length of the run that the token t, at most longRun,
// stands for.
func runOf(r *reader, t byte) int {
	if t < shortRuns {
		return int(t) + 1
	}
	return shortRuns + 1 + r.count("zeros", MaxReadings)
}

// farLiteral returns the residual that an escape token stands for.
func farLiteral(r *reader) int64 { return unzigzag(maxLit + r.uvarint()) }

// deltasFrom fills dst with the sums of the residuals in body and base, and
// returns how many there are; never more than fit.
func deltasFrom(r *reader, dst []int64, body []byte, base int64) int {
	n := 0
	for _, t := range body {
		if t > longRun {
			if n == len(dst) {
				return n + 1
			}
			if t < escape {
				base += unzigzag(uint64(t - longRun))
			} else {
				base += farLiteral(r)
			}
			dst[n] = base
			n++
			continue
		}
		run := runOf(r, t)
		if run > len(dst)-n {
			return len(dst) + 1
		}
		part := dst[n : n+run]
		for i := range part {
			part[i] = base
		}
		n += run
	}
	return n
}

// levelsFrom fills dst with the residuals in body, each added to base, and
// returns how many there are; never more than fit.
func levelsFrom(r *reader, dst []int64, body []byte, base int64) int {
	n := 0
	for _, t := range body {
		if t > longRun {
			if n == len(dst) {
				return n + 1
			}
			if t < escape {
				dst[n] = base + unzigzag(uint64(t-longRun))
			} else {
				dst[n] = base + farLiteral(r)
			}
			n++
			continue
		}
		run := runOf(r, t)
		if run > len(dst)-n {
			return len(dst) + 1
		}
		part := dst[n : n+run]
		for i := range part {
			part[i] = base
		}
		n += run
	}
	return n
}

// residualsFrom fills dst with the residuals in body, joined with their low
// bits, and returns how many there are; never more than fit.
func residualsFrom(r *reader, dst []int64, body []byte, low uint, bits []byte) int {
	n := levelsFrom(r, dst, body, 0)
	if low > 0 && n == len(dst) {
		for i := range dst {
			dst[i] = dst[i]<<low | lowAt(bits, i, low)
		}
	}
	return n
}
