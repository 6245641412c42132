package scan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway/dialect/scan"
)

func TestParse_refuses(t *testing.T) {
	for _, tt := range []struct{ doc, reason string }{
		{"", "an empty text at byte 0"},
		{" ", "the text ends too early"},
		{"nan", "no JSON value"},
		{"NaN", "no JSON value"},
		{"-Infinity", "without digits"},
		{"+1", "no JSON value"},
		{"01", "leading zero"},
		{"1.", "no digit after a point"},
		{".5", "no JSON value"},
		{"1e", "exponent"},
		{"1 2", "more text"},
		{"{} x", "more text"},
		{`{"a":1,}`, "no key"},
		{`{"a" 1}`, "no colon"},
		{`{"a":1 "b":2}`, "no comma"},
		{`{a:1}`, "no key"},
		{`[1,]`, "no JSON value"},
		{`[1`, "without an end"},
		{`{"a":1`, "without an end"},
		{`"abc`, "without an end"},
		{`"\x"`, "escape"},
		{`"\u12g4"`, "escape"},
		{"\"a\nb\"", "control character"},
		{"\"\xff\"", "invalid UTF-8"},
		{"\"\xed\xa0\x80\"", "invalid UTF-8"}, // a surrogate half
		{"\xff\xfe{\x00}\x00", "UTF-16"},
		{"\xfe\xff\x00{\x00}", "UTF-16"},
		{"{\x00}\x00", "UTF-16"},
		{"\xef\xbb\xbf1", "byte order mark"},
		{strings.Repeat("[", 60<<10), "too many levels of nesting at byte 16"},
		{strings.Repeat(`{"a":`, 17) + "1" + strings.Repeat("}", 17), "too many levels"},
	} {
		_, err := scan.Parse([]byte(tt.doc))
		var se *scan.SyntaxError
		if !errors.As(err, &se) || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%.40q: got %v, want %q", tt.doc, err, tt.reason)
		}
	}
}

func TestParse_depth(t *testing.T) {
	doc := strings.Repeat("[", scan.MaxDepth) + strings.Repeat("]", scan.MaxDepth)
	if _, err := scan.Parse([]byte(doc)); err != nil {
		t.Error(err)
	}
}

func TestMembers_Err_duplicates(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	for _, tt := range []struct{ doc, want string }{
		{`{"a":1,"b":2,"a":3}`, `key "a" stands twice`},
		{`{"a":1,"\u0061":3}`, `key "a" stands twice`},
		{`{"a":{"a":1},"b":[{"a":1}]}`, ""},
		{`{"":1,"":2}`, `key "" stands twice`},
		{many(scan.MaxKeys), ""},
		{many(scan.MaxKeys + 1), "more than 64 keys"},
	} {
		v, err := scan.Parse([]byte(tt.doc))
		if err != nil {
			t.Fatal(err)
		}
		m := v.Members()
		for m.Next() {
		}
		got := ""
		if m.Err() != nil {
			got = m.Err().Error()
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%.60s: got %q, want %q", tt.doc, got, tt.want)
		}
		if m.Next() {
			t.Errorf("%.60s: goes on after its end", tt.doc)
		}
	}
}

func TestValue_Scaled(t *testing.T) {
	for _, tt := range []struct {
		doc    string
		digits int
		want   int64
		ok     bool
	}{
		{"0", 3, 0, true},
		{"-0.0", 3, 0, true},
		{"2635", 3, 2635000, true},
		{"6.294", 6, 6294000, true},
		{"30473.355", 3, 30473355, true},
		{"-626.6", 3, -626600, true},
		{"0.0005", 3, 1, true},
		{"-0.0005", 3, -1, true},
		{"0.00049999", 3, 0, true},
		{"1.5e3", 0, 1500, true},
		{"15E-1", 0, 2, true},
		{"1e400", 3, 0, false},
		{"-1e99999999999999999999", 3, 0, false},
		{"1e-99999999999999999999", 3, 0, true},
		{"0e99999999999999999999", 3, 0, true},
		{"9223372036854775799", 0, math.MaxInt64 - 8, true},
		{"9223372036854775808", 0, 0, false},
		{"9223372036854775", 3, 9223372036854775000, true},
		{"9223372036854776", 3, 0, false},
		{"6000000000000000000e-19", 0, 1, true},
		{"4000000000000000000e-19", 0, 0, true},
		{"230.10000000000002", 3, 230100, true},
		{"1.00000000000000000000000000", 3, 1000, true},
		{"12345.6789012345678901234567", 3, 12345679, true},
		{`"5"`, 3, 0, false},
		{"null", 3, 0, false},
	} {
		v, err := scan.Parse([]byte(tt.doc))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := v.Scaled(tt.digits)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s with %d digits: got %d, %v; want %d, %v",
				tt.doc, tt.digits, got, ok, tt.want, tt.ok)
		}
	}
}

// Scaled is what exact arithmetic gives, for numbers of up to 18 digits.
func TestValue_Scaled_exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-999_999_999_999_999_999, 999_999_999_999_999_999).Draw(t, "digits")
		e := rapid.IntRange(-25, 6).Draw(t, "exponent")
		digits := rapid.IntRange(0, 6).Draw(t, "scale")
		v, err := scan.Parse(fmt.Appendf(nil, "%de%d", n, e))
		if err != nil {
			t.Fatal(err)
		}
		r := new(big.Rat).SetInt64(n)
		ten := big.NewRat(10, 1)
		for range max(e+digits, 0) {
			r.Mul(r, ten)
		}
		for range max(-e-digits, 0) {
			r.Quo(r, ten)
		}
		want, _ := new(big.Int).SetString(r.FloatString(0), 10) // halves away from zero
		got, ok := v.Scaled(digits)
		if ok != want.IsInt64() || ok && got != want.Int64() {
			t.Errorf("%de%d scaled by %d: got %d, %v; want %s", n, e, digits, got, ok, want)
		}
	})
}

func TestValue_Float_likeEncodingJSON(t *testing.T) {
	const number = `-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(number).Draw(t, "text")
		v, err := scan.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var want float64
		wantErr := json.Unmarshal([]byte(text), &want)
		got, ok := v.Float()
		if ok != (wantErr == nil) || ok && got != want {
			t.Errorf("%s: got %v, %v; want %v, %v", text, got, ok, want, wantErr)
		}
	})
}

// toAny builds what encoding/json would, with numbers as written.
func toAny(v scan.Value) (any, error) {
	switch v.Kind() {
	case scan.Null:
		return nil, nil
	case scan.Bool:
		b, _ := v.Bool()
		return b, nil
	case scan.Number:
		return json.Number(v.Raw()), nil
	case scan.String:
		return v.Text(), nil
	case scan.Array:
		out := []any{}
		for e := v.Elements(); e.Next(); {
			x, err := toAny(e.Value())
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
		return out, nil
	}
	out := map[string]any{}
	m := v.Members()
	for m.Next() {
		x, err := toAny(m.Value())
		if err != nil {
			return nil, err
		}
		out[string(m.Key())] = x
	}
	return out, m.Err()
}

// depth returns how deep doc nests, doc being valid.
func depth(doc []byte) (most int) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	for now := 0; ; {
		tok, err := dec.Token()
		if err != nil {
			return most
		}
		switch tok {
		case json.Delim('['), json.Delim('{'):
			now++
			most = max(most, now)
		case json.Delim(']'), json.Delim('}'):
			now--
		}
	}
}

// compare holds Parse against encoding/json: valid there is valid here, but
// for our limits, and the values are the same.
func compare(t interface {
	Helper()
	Errorf(format string, args ...any)
}, doc []byte,
) {
	t.Helper()
	v, err := scan.Parse(doc)
	want := json.Valid(doc) && utf8.Valid(doc) && depth(doc) <= scan.MaxDepth
	if (err == nil) != want {
		t.Errorf("%q: got %v, want valid %v", doc, err, want)
		return
	}
	if err != nil {
		return
	}
	got, err := toAny(v)
	if err != nil {
		return // a duplicate
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var std any
	if err := dec.Decode(&std); err != nil {
		t.Errorf("%q: %v", doc, err)
	}
	if diff := cmp.Diff(std, got); diff != "" {
		t.Errorf("%q: %s", doc, diff)
	}
}

// seeds are documents with everything that JSON has.
var seeds = []string{
	`{"Time":"2024-03-01T10:00:00","ENERGY":{"Total":[1.5,2.25],"Power":-12.5e-1}}`,
	` [ 1 , -0.5 , 1E+3 , true , false , null , "" , [] , {} ] `,
	`{"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud800x\udc00"}`,
	`"Küche 😀"`, "0", "-1", "1e5", `{"a":{"b":[{"c":[[]]}]}}`, "[1,2", `{"a":1,"a":2}`,
	"\"\xff\"", "nan", "\xef\xbb\xbf{}", `{"k": tru}`, "[1 2]", `{"a":}`, `"\ud83d\u0041"`,
}

// Mutations of valid documents meet more branches than random bytes do.
func TestParse_likeEncodingJSON(t *testing.T) {
	alphabet := []byte("{}[]\",:\\0123456789.eE+-truefalsn u\n\x01\x80\xc3\xa9")
	rapid.Check(t, func(t *rapid.T) {
		doc := []byte(rapid.SampledFrom(seeds).Draw(t, "seed"))
		for range rapid.IntRange(0, 4).Draw(t, "edits") {
			at := rapid.IntRange(0, len(doc)).Draw(t, "at")
			b := rapid.SampledFrom(alphabet).Draw(t, "byte")
			if at < len(doc) && rapid.Bool().Draw(t, "replace") {
				doc[at] = b
			} else {
				doc = append(doc[:at:at], append([]byte{b}, doc[at:]...)...)
			}
		}
		compare(t, doc)
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) { compare(t, doc) })
}

func TestParse_allocatesNothing(t *testing.T) {
	doc := []byte(seeds[0])
	n := testing.AllocsPerRun(100, func() {
		v, err := scan.Parse(doc)
		if err != nil {
			t.Fatal(err)
		}
		for m := v.Members(); m.Next(); {
			for i := m.Value().Members(); i.Next(); {
				i.Value().Float()
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
