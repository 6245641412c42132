package chunk

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// A column of residuals becomes tokens of one byte, which the entropy coder
// then shortens, and extra bytes for what does not fit into a token:
//
//	0…63     a run of 1…64 zeros
//	64       a run of 65 zeros and as many more as the next uvarint says
//	65…254   the residual whose zigzag code is token-64, that is -1, 1, -2, …
//	255      the residual whose zigzag code is 191 and the next uvarint
const (
	shortRuns = 64
	longRun   = 64
	firstLit  = 65
	escape    = 255
	maxLit    = escape - longRun // the first zigzag code that has no token
)

// zigzag maps small residuals of either sign to small codes.
func zigzag(v int64) uint64 { return uint64(v)<<1 ^ uint64(v>>63) }

// unzigzag is the inverse of zigzag.
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// tokens is a column of residuals after the first step.
type tokens struct {
	body  []byte // one byte a token
	extra []byte // uvarints, in order
}

// set replaces t by the tokens of res, of which the low bits go elsewhere.
func (t *tokens) set(res []int64, low uint) {
	body, extra := t.body[:0], t.extra[:0]
	for i := 0; i < len(res); i++ {
		h := res[i] >> low
		if h != 0 {
			if z := zigzag(h); z < maxLit {
				body = append(body, byte(longRun+z))
			} else {
				body = append(body, escape)
				extra = binary.AppendUvarint(extra, z-maxLit)
			}
			continue
		}
		run := 1
		for i+run < len(res) && res[i+run]>>low == 0 {
			run++
		}
		i += run - 1
		if run <= shortRuns {
			body = append(body, byte(run-1))
		} else {
			body = append(body, longRun)
			extra = binary.AppendUvarint(extra, uint64(run-shortRuns-1))
		}
	}
	t.body, t.extra = body, extra
}

// cost returns about how many bits all residuals take in the end, if t are the
// tokens of n of them and low bits of each are kept apart.
func (t *tokens) cost(n, all int, low uint) float64 {
	var hist [256]int
	for _, b := range t.body {
		hist[b]++
	}
	total := float64(n)*float64(low) + 8*float64(len(t.extra))
	kinds := 0
	for _, c := range hist {
		if c > 0 {
			kinds++
			total += float64(c) * max(math.Log2(float64(len(t.body))/float64(c)), 0.5)
		}
	}
	total *= float64(all) / float64(n)
	if kinds > 1 {
		total += 5 * float64(kinds) // the table of the entropy coder
	}
	return total
}

// reader takes a chunk apart. After the first fault it returns zeros, and err
// says what it was.
type reader struct {
	b   []byte
	err error
}

// fail notes a fault unless there is one already.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
		r.b = nil
	}
}

// byte returns the next byte.
func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("it ends early")
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// uvarint returns the next uvarint.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("a number is cut or too long")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// varint returns the next uvarint as a zigzag code.
func (r *reader) varint() int64 { return unzigzag(r.uvarint()) }

// count returns the next uvarint, which most must not be exceeded by.
func (r *reader) count(what string, most int) int {
	v := r.uvarint()
	if v > uint64(most) {
		r.fail("%d %s, more than %d", v, what, most)
		return 0
	}
	return int(v)
}

// bytes returns the next n bytes, which stay part of the chunk.
func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail("it ends early")
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// appendLow appends the low bits of each of res, those of the first in the
// lowest bits of the first byte.
func appendLow(dst []byte, res []int64, low uint) []byte {
	var acc uint64
	var have uint
	for _, v := range res {
		left := low
		u := uint64(v) & (1<<low - 1)
		for left > 0 {
			take := min(left, 8-have)
			acc |= (u & (1<<take - 1)) << have
			u >>= take
			have += take
			left -= take
			if have == 8 {
				dst = append(dst, byte(acc))
				acc, have = 0, 0
			}
		}
	}
	if have > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// lowBytes is how many bytes appendLow takes for n residuals.
func lowBytes(n int, low uint) int { return (n*int(low) + 7) / 8 }

// lowAt returns the low bits of residual i of what appendLow made.
func lowAt(b []byte, i int, low uint) int64 {
	bit := uint(i) * low
	at := int(bit / 8)
	var v uint64
	if at+8 <= len(b) {
		v = binary.LittleEndian.Uint64(b[at:]) >> (bit % 8)
	} else {
		for k, c := range b[at:] {
			v |= uint64(c) << (8 * k)
		}
		v >>= bit % 8
	}
	return int64(v & (1<<low - 1))
}

// maxLow is the most low bits that a column keeps apart; lowAt reads them in
// one go.
const maxLow = 48

// gcd returns the greatest common divisor of the magnitudes a and b; that of
// 0 and b is b.
func gcd(a, b uint64) uint64 {
	if a == 0 || b == 0 {
		return a | b
	}
	shift := bits.TrailingZeros64(a | b)
	a >>= bits.TrailingZeros64(a)
	for b != 0 {
		b >>= bits.TrailingZeros64(b)
		if a > b {
			a, b = b, a
		}
		b -= a
	}
	return a << shift
}

// unitOf returns the largest unit of which all of vs are multiples, 1 if all
// are 0. A unit that no int64 holds is 1, too.
func unitOf(vs []int64) int64 {
	var g uint64
	for _, v := range vs {
		u := uint64(v)
		if v < 0 {
			u = -u
		}
		if g == 0 || u%g != 0 {
			g = gcd(g, u)
		}
		if g == 1 {
			break
		}
	}
	if g == 0 || g > math.MaxInt64 {
		return 1
	}
	return int64(g)
}
