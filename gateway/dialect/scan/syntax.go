package scan

import (
	"fmt"
	"unicode/utf8"
)

// MaxDepth is how many arrays and objects may stand within each other.
const MaxDepth = 16

// SyntaxError says what is not JSON about a document.
type SyntaxError struct {
	Offset int    // of the byte that is wrong
	Reason string // for people, without the offset
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset)
}

// Parse checks that doc is one JSON value, and nothing else, and returns it.
// The error is a *SyntaxError.
func Parse(doc []byte) (Value, error) {
	c := checker{doc: doc}
	start := c.space(0)
	end := c.value(start)
	if c.reason == "" {
		if end = c.space(end); end != len(doc) {
			c.fail(end, "more text after the value")
		}
	}
	if c.reason != "" {
		return Value{}, &SyntaxError{c.at, explain(doc, c.reason)}
	}
	return Value{doc[start:]}, nil
}

// explain gives a better reason where the document as a whole has one.
func explain(doc []byte, reason string) string {
	switch {
	case len(doc) == 0:
		return "an empty text"
	case len(doc) > 1 && (doc[0] == 0 || doc[1] == 0 || doc[0] >= 0xfe && doc[1] >= 0xfe):
		return "UTF-16 instead of UTF-8"
	case len(doc) > 2 && string(doc[:3]) == "\xef\xbb\xbf":
		return "a byte order mark"
	}
	return reason
}

// checker walks a document once. Its methods take the position where
// something begins and return the one after it; after a failure positions
// mean nothing.
type checker struct {
	doc    []byte
	depth  int
	at     int
	reason string // of the failure; "" while there is none
}

// fail notes the first failure.
func (c *checker) fail(at int, reason string) int {
	if c.reason == "" {
		c.at, c.reason = at, reason
	}
	return len(c.doc)
}

func (c *checker) space(i int) int { return skipSpace(c.doc, i) }

func (c *checker) value(i int) int {
	if i >= len(c.doc) {
		return c.fail(i, "the text ends too early")
	}
	switch b := c.doc[i]; {
	case b == '"':
		return c.text(i)
	case b == '{':
		return c.object(i)
	case b == '[':
		return c.array(i)
	case b == '-' || '0' <= b && b <= '9':
		return c.number(i)
	case b == 't':
		return c.word(i, "true")
	case b == 'f':
		return c.word(i, "false")
	case b == 'n':
		return c.word(i, "null")
	}
	return c.fail(i, "no JSON value")
}

func (c *checker) word(i int, word string) int {
	if len(c.doc)-i < len(word) || string(c.doc[i:i+len(word)]) != word {
		return c.fail(i, "no JSON value")
	}
	return i + len(word)
}

// enter counts a level of nesting; leave it by c.depth--.
func (c *checker) enter(i int) bool {
	if c.depth == MaxDepth {
		c.fail(i, "too many levels of nesting")
		return false
	}
	c.depth++
	return true
}

func (c *checker) object(i int) int {
	if !c.enter(i) {
		return len(c.doc)
	}
	i = c.space(i + 1)
	if i < len(c.doc) && c.doc[i] == '}' {
		c.depth--
		return i + 1
	}
	for {
		if i >= len(c.doc) || c.doc[i] != '"' {
			return c.fail(i, "no key in quotes")
		}
		i = c.space(c.text(i))
		if i >= len(c.doc) || c.doc[i] != ':' {
			return c.fail(i, "no colon after a key")
		}
		i = c.space(c.value(c.space(i + 1)))
		if i >= len(c.doc) {
			return c.fail(i, "an object without an end")
		}
		switch c.doc[i] {
		case ',':
			i = c.space(i + 1)
		case '}':
			c.depth--
			return i + 1
		default:
			return c.fail(i, "no comma between members")
		}
	}
}

func (c *checker) array(i int) int {
	if !c.enter(i) {
		return len(c.doc)
	}
	i = c.space(i + 1)
	if i < len(c.doc) && c.doc[i] == ']' {
		c.depth--
		return i + 1
	}
	for {
		i = c.space(c.value(i))
		if i >= len(c.doc) {
			return c.fail(i, "an array without an end")
		}
		switch c.doc[i] {
		case ',':
			i = c.space(i + 1)
		case ']':
			c.depth--
			return i + 1
		default:
			return c.fail(i, "no comma between elements")
		}
	}
}

// number checks RFC 8259 section 6: no leading zero, no bare point, no plus.
func (c *checker) number(i int) int {
	if c.doc[i] == '-' {
		i++
	}
	first := i
	if i = c.digits(i); i == first {
		return c.fail(i, "a number without digits")
	}
	if c.doc[first] == '0' && i > first+1 {
		return c.fail(first, "a number with a leading zero")
	}
	if i < len(c.doc) && c.doc[i] == '.' {
		first = i + 1
		if i = c.digits(first); i == first {
			return c.fail(i, "no digit after a point")
		}
	}
	if i < len(c.doc) && (c.doc[i] == 'e' || c.doc[i] == 'E') {
		first = i + 1
		if first < len(c.doc) && (c.doc[first] == '+' || c.doc[first] == '-') {
			first++
		}
		if i = c.digits(first); i == first {
			return c.fail(i, "no digit in an exponent")
		}
	}
	return i
}

func (c *checker) digits(i int) int {
	for i < len(c.doc) && c.doc[i]-'0' <= 9 {
		i++
	}
	return i
}

// text checks a string from its first quote.
func (c *checker) text(i int) int {
	doc := c.doc
	for i++; i < len(doc); {
		switch b := doc[i]; {
		case b == '"':
			return i + 1
		case b == '\\':
			n := escapeLength(doc[i:])
			if n == 0 {
				return c.fail(i, "an unknown escape")
			}
			i += n
		case b < 0x20:
			return c.fail(i, "a control character in a string")
		case b < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(doc[i:])
			if r == utf8.RuneError && n <= 1 {
				return c.fail(i, "invalid UTF-8")
			}
			i += n
		}
	}
	return c.fail(i, "a string without an end")
}

// escapeLength returns how long the escape is that b begins with, or 0.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, h := range b[2:6] {
			if _, ok := hexDigit(h); !ok {
				return 0
			}
		}
		return 6
	}
	return 0
}

// hexDigit reports whether c is a hexadecimal digit.
func hexDigit(b byte) (rune, bool) {
	switch {
	case '0' <= b && b <= '9':
		return rune(b - '0'), true
	case 'a' <= b && b <= 'f':
		return rune(b-'a') + 10, true
	case 'A' <= b && b <= 'F':
		return rune(b-'A') + 10, true
	}
	return 0, false
}

// skipSpace returns the index of the first byte from i on that is no white space.
func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\n' || doc[i] == '\t' || doc[i] == '\r') {
		i++
	}
	return i
}
