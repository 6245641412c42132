package scan

import (
	"math"
	"strconv"
)

// Scaled returns v times ten to the power of digits, rounded to a whole number
// with halves away from zero. It is exact: no binary fraction comes in
// between, unless v is written with more than 18 digits, which no
// meter does. ok is false if v is no number, or if the result is beyond what
// an int64 holds.
//
// digits must be 0 to 9.
func (v Value) Scaled(digits int) (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	d := v.decimal()
	if d.cut {
		return d.scaledSlow(digits)
	}
	n, ok = shift(d.digits, d.exponent+digits)
	if d.negative {
		n = -n
	}
	return n, ok
}

// Float returns v as the nearest floating-point number. ok is false if v is no
// number, or if it is beyond what a float64 holds.
func (v Value) Float() (f float64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	d := v.decimal()
	if !d.cut && d.digits < 1<<53 && d.exponent <= 0 && d.exponent >= -22 {
		// Both are exact, so that the quotient is rounded once.
		f = float64(d.digits) / pow10[-d.exponent]
		if d.negative {
			f = -f
		}
		return f, true
	}
	f, err := strconv.ParseFloat(string(d.text), 64)
	return f, err == nil
}

// decimal is a number as it is written: digits times ten to the power of
// exponent.
type decimal struct {
	text     []byte
	digits   int64
	exponent int
	negative bool
	cut      bool // digits is not all of them
}

// mostExponent is more than any exponent that makes a difference.
const mostExponent = 100_000

// decimal reads a number.
func (v Value) decimal() decimal {
	d := decimal{}
	b, i := v.text, 0
	if b[0] == '-' {
		d.negative, i = true, 1
	}
	point := -1
	for ; i < len(b); i++ {
		c := b[i]
		switch {
		case c-'0' <= 9:
			if d.digits > (math.MaxInt64-9)/10 {
				d.cut = true
				continue
			}
			d.digits = d.digits*10 + int64(c-'0')
			if point >= 0 {
				d.exponent--
			}
		case c == '.':
			point = i
		case c == 'e' || c == 'E':
			var e int
			e, i = exponent(b, i+1)
			d.exponent += e
			d.text = b[:i]
			return d
		default:
			d.text = b[:i]
			return d
		}
	}
	d.text = b[:i]
	return d
}

// exponent reads what follows the e, to mostExponent at most, and returns the
// position after it.
func exponent(b []byte, i int) (e, end int) {
	negative := b[i] == '-'
	if b[i] == '-' || b[i] == '+' {
		i++
	}
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		e = min(e*10+int(b[i]-'0'), mostExponent)
	}
	if negative {
		e = -e
	}
	return e, i
}

// shift returns n times ten to the power of exponent, n not being negative.
func shift(n int64, exponent int) (int64, bool) {
	if n == 0 {
		return 0, true
	}
	for ; exponent > 0; exponent-- {
		if n > math.MaxInt64/10 {
			return 0, false
		}
		n *= 10
	}
	if exponent >= 0 {
		return n, true
	}
	switch {
	case exponent < -19:
		return 0, true // n has 19 digits at most: less than a half
	case exponent == -19:
		return n / 5e18, true // a half or more is 1
	}
	p := int64(1)
	for ; exponent < 0; exponent++ {
		p *= 10
	}
	q, r := n/p, n%p
	if r >= p-r {
		q++
	}
	return q, true
}

// scaledSlow is Scaled for a number with more digits than an int64 holds. It
// goes by the nearest float64.
func (d decimal) scaledSlow(digits int) (int64, bool) {
	f, err := strconv.ParseFloat(string(d.text), 64)
	if err != nil {
		return 0, false
	}
	f = math.Round(f * pow10[digits])
	if f >= 1<<63 || f <= -1<<63 {
		return 0, false
	}
	return int64(f), true
}

// pow10 holds the powers of ten that a float64 holds exactly.
var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}
