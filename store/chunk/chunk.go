package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/wattle-home/wattle/gateway"
)

// MaxReadings is how many readings a chunk holds at most.
const MaxReadings = 1 << 15

// version is the first byte of a chunk.
const version = 1

// sumBytes is the length of the checksum at the end of a chunk.
const sumBytes = 4

// ErrDamaged is what is wrong with a chunk that no Encoder made.
var ErrDamaged = errors.New("the chunk is damaged")

// castagnoli is the polynomial of the checksum. MakeTable returns the same
// table each time.
func checksum(b []byte) uint32 {
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
}

// Header is what a chunk says of itself.
type Header struct {
	Device gateway.DeviceID
	Count  int // of readings, at least 1
	First  gateway.Instant
	Last   gateway.Instant
}

// appendTo appends h to dst.
func (h Header) appendTo(dst []byte) []byte {
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(h.Device))
	dst = binary.AppendUvarint(dst, uint64(h.Count))
	dst = binary.AppendUvarint(dst, zigzag(int64(h.First)))
	return binary.AppendUvarint(dst, uint64(h.Last)-uint64(h.First))
}

// readHeader takes a Header from r.
func readHeader(r *reader) (h Header) {
	if v := r.byte(); v != version {
		r.fail("its version is %d, and %d is known", v, version)
		return h
	}
	h.Device = gateway.DeviceID(r.uvarint())
	h.Count = r.count("readings", MaxReadings)
	h.First = gateway.Instant(r.varint())
	h.Last = gateway.Instant(uint64(h.First) + r.uvarint())
	if h.Count == 0 || h.Last < h.First {
		r.fail("%d readings from %d to %d", h.Count, h.First, h.Last)
	}
	return h
}

// open checks the sum of a chunk and returns what reads the rest of it.
func open(data []byte) reader {
	if len(data) < sumBytes {
		return reader{err: fmt.Errorf("%w: %d bytes are too few", ErrDamaged, len(data))}
	}
	body, sum := data[:len(data)-sumBytes], data[len(data)-sumBytes:]
	r := reader{b: body}
	if want, got := binary.LittleEndian.Uint32(sum), checksum(body); want != got {
		r.fail("its checksum is %08x instead of %08x", got, want)
	}
	return r
}

// ReadHeader checks the sum of a chunk and returns its header.
func ReadHeader(data []byte) (Header, error) {
	r := open(data)
	h := readHeader(&r)
	return h, r.err
}

// Ways to predict the counter, by how long which power is taken to hold. The
// power of a reading without one is that of the reading before.
const (
	ofThis     = iota // the power of a reading holds since the one before
	ofLast            // until the next one
	ofMean            // the mean of both
	ofNone            // the counter is not predicted
	powers            // how many of these there are
	onBeat     = 4    // flag: from beat to beat, not from stamp to stamp
	predictors = 8
)

// wattSeconds is how many milliwatt-milliseconds are a milliwatt-hour.
const perMilliwattHour = uint64(gateway.MilliwattMilliseconds)

// integral follows the power and tells by how many units a counter rises.
type integral struct {
	how  byte
	unit uint64 // milliwatt-milliseconds to a unit of the counter
	acc  uint64 // what has not made a unit yet
	last int64  // power
}

// step returns the rise until a reading with the power, which is span
// milliseconds after the one before. All of it wraps around.
func (g *integral) step(power, span int64) int64 {
	p := power
	switch g.how & 3 {
	case ofLast:
		p = g.last
	case ofMean:
		p = (power + g.last) >> 1
	}
	g.last = power
	g.acc += uint64(p * span)
	if g.acc < g.unit {
		return 0
	}
	q := int64(g.acc) / int64(g.unit)
	if int64(g.acc) < 0 && int64(g.acc)%int64(g.unit) != 0 {
		q--
	}
	g.acc -= uint64(q) * g.unit
	return q
}
