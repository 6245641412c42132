package api

import (
	"strconv"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Long lists of points and readings are written out by hand: package json
// takes longer for them than the store does.

// texts is memory for such lists. Its zero value is ready.
type texts struct{ pool sync.Pool }

// mostKept is how large a text is whose memory is kept.
const mostKept = 1 << 20

// take returns an empty text with room for size bytes.
func (t *texts) take(size int) []byte {
	if b, ok := t.pool.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:0]
	}
	return make([]byte, 0, size)
}

// put takes the memory of texts back, of which nobody uses any more.
func (t *texts) put(bs ...[]byte) {
	for _, b := range bs {
		if cap(b) <= mostKept {
			t.pool.Put(&b)
		}
	}
}

// stamper writes instants as RFC 3339 in a zone. It remembers the offset and
// the date of the last one.
type stamper struct {
	zone       *time.Location
	from, to   int64 // Unix seconds in which offset holds
	offset     int64 // s
	day        int64 // of the text in date, since 1970 in the zone
	date       [10]byte
	suffix     [6]byte
	suffixSize int
}

// newStamper returns a stamper for a zone.
func newStamper(zone *time.Location) *stamper {
	return &stamper{zone: zone, to: -1, day: -1 << 62}
}

// append appends an instant in quotes; of the years 0 to 9999.
func (s *stamper) append(dst []byte, i gateway.Instant) []byte {
	sec, ms := floorDiv(int64(i), 1000)
	if sec < s.from || sec >= s.to {
		s.moveTo(sec)
	}
	day, rest := floorDiv(sec+s.offset, 24*3600)
	switch last := s.date[9]; {
	case day == s.day:
	case day == s.day+1 && last != '9' && (s.date[8] < '2' || s.date[8] == '2' && last < '8'):
		s.date[9]++ // in the same month
		s.day = day
	default:
		time.Unix(day*24*3600, 0).UTC().AppendFormat(s.date[:0], time.DateOnly)
		s.day = day
	}
	dst = append(dst, '"')
	dst = append(dst, s.date[:]...)
	h, m, sc := rest/3600, rest/60%60, rest%60
	dst = append(dst, 'T', byte('0'+h/10), byte('0'+h%10), ':', byte('0'+m/10), byte('0'+m%10),
		':', byte('0'+sc/10), byte('0'+sc%10))
	if ms != 0 {
		dst = appendFraction(dst, ms, 100)
	}
	dst = append(dst, s.suffix[:s.suffixSize]...)
	return append(dst, '"')
}

// moveTo finds the offset at a Unix time and until when it holds.
func (s *stamper) moveTo(sec int64) {
	t := time.Unix(sec, 0).In(s.zone)
	_, offset := t.Zone()
	start, end := t.ZoneBounds()
	s.from, s.to, s.offset = -1<<62, 1<<62, int64(offset)
	if !start.IsZero() {
		s.from = start.Unix()
	}
	if !end.IsZero() {
		s.to = end.Unix()
	}
	s.suffixSize = len(t.AppendFormat(s.suffix[:0], "Z07:00"))
}

// floorDiv returns a/b rounded down and what is left, which is not negative.
func floorDiv(a, b int64) (q, rest int64) {
	q, rest = a/b, a%b
	if rest < 0 {
		q, rest = q-1, rest+b
	}
	return q, rest
}

// appendDecimal appends v/unit as a JSON number; unit is a power of ten.
func appendDecimal(dst []byte, v, unit int64) []byte {
	if v < 0 {
		dst = append(dst, '-')
		v = -v
	}
	dst = strconv.AppendInt(dst, v/unit, 10)
	if v %= unit; v != 0 {
		dst = appendFraction(dst, v, unit/10)
	}
	return dst
}

// appendFraction appends a point and the digits of v, of which the first
// stands for first; trailing zeros are left out.
func appendFraction(dst []byte, v, first int64) []byte {
	dst = append(dst, '.')
	for ; v != 0; first /= 10 {
		dst = append(dst, byte('0'+v/first))
		v %= first
	}
	return dst
}

// appendPower appends a power in watts.
func appendPower(dst []byte, p gateway.Power) []byte { return appendDecimal(dst, int64(p), 1000) }

// appendPoints appends the points of a series as a JSON list.
func appendPoints(dst []byte, stamps *stamper, points []Point) []byte {
	dst = append(dst, '[')
	for i, p := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = stamps.append(append(dst, `{"time":`...), p.From)
		dst = appendPower(append(dst, `,"mean_w":`...), p.Mean)
		dst = appendPower(append(dst, `,"min_w":`...), p.Min)
		dst = appendPower(append(dst, `,"max_w":`...), p.Max)
		dst = appendDecimal(append(dst, `,"energy_kwh":`...), int64(p.Energy), 1_000_000)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendReadings appends readings as a JSON list; null is not measured.
func appendReadings(dst []byte, stamps *stamper, rs []gateway.Reading) []byte {
	dst = append(dst, '[')
	for i, r := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = stamps.append(append(dst, `{"time":`...), r.At)
		dst = append(dst, `,"power_w":`...)
		if r.Has&gateway.HasPower != 0 {
			dst = appendPower(dst, r.Power)
		} else {
			dst = append(dst, "null"...)
		}
		dst = append(dst, `,"energy_wh":`...)
		if r.Has&gateway.HasEnergy != 0 {
			dst = appendDecimal(dst, int64(r.Energy), 1000)
		} else {
			dst = append(dst, "null"...)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
