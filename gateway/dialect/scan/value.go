package scan

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Kind is what a Value is.
type Kind uint8

// Kinds of values. None is the kind of the zero Value, which stands for a
// value that is not there.
const (
	None Kind = iota
	Null
	Bool
	Number
	String
	Object
	Array
)

// kindNames are the names of the kinds, by their value.
var kindNames = [...]string{
	"nothing", "null", "true or false", "a number", "a string", "an object", "an array",
}

// String names the kind for people, such as "a number".
func (k Kind) String() string { return kindNames[k] }

// Value is a value of a document that Parse found to be well formed. The zero
// Value has the kind None.
type Value struct {
	text []byte // from the value's first byte to the end of the document
}

// Kind tells what v is.
func (v Value) Kind() Kind {
	if len(v.text) == 0 {
		return None
	}
	switch v.text[0] {
	case '"':
		return String
	case '{':
		return Object
	case '[':
		return Array
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return Number
}

// Bool returns v, if it is true or false; else ok is false.
func (v Value) Bool() (b, ok bool) {
	return v.Kind() == Bool && v.text[0] == 't', v.Kind() == Bool
}

// Bytes returns the characters of v, if it is a string; else ok is false. They
// are in the document itself unless v holds an escape. Half of a surrogate
// pair becomes U+FFFD.
func (v Value) Bytes() (b []byte, ok bool) {
	if v.Kind() != String {
		return nil, false
	}
	return unescape(v.text[1 : skipText(v.text, 0)-1]), true
}

// Text is Bytes as a string of its own; "" if v is no string.
func (v Value) Text() string {
	b, _ := v.Bytes()
	return string(b)
}

// Raw returns v as it stands in the document.
func (v Value) Raw() []byte { return v.text[:skipValue(v.text, 0)] }

// Members returns a walk over v's members; over none if v is no object.
func (v Value) Members() Members {
	if v.Kind() != Object {
		return Members{}
	}
	return Members{doc: v.text, next: 1}
}

// Elements returns a walk over v's elements; over none if v is no array.
func (v Value) Elements() Elements {
	if v.Kind() != Array {
		return Elements{}
	}
	return Elements{doc: v.text, next: 1}
}

// MaxKeys is how many keys an object may have that is walked.
const MaxKeys = 64

// Members walks the members of an object in their order:
//
//	for m := v.Members(); m.Next(); {
//		switch string(m.Key()) { … m.Value() … }
//	}
type Members struct {
	doc    []byte
	next   int // where the next key is, or the comma before it; 0 at the end
	key    []byte
	value  int
	err    error
	count  int
	hashes [MaxKeys]uint32
}

// DuplicateError says that a key stands twice in an object, or that an object
// has too many keys.
type DuplicateError struct {
	Key   string
	Count int // of keys, if they are too many; else 0
}

// Error implements error.
func (e *DuplicateError) Error() string {
	if e.Count > 0 {
		return fmt.Sprintf("an object with more than %d keys", e.Count)
	}
	return fmt.Sprintf("key %q stands twice", e.Key)
}

// Next steps to the next member. It returns false at the end, and at a key
// that was there before.
func (m *Members) Next() bool {
	if m.next == 0 {
		return false
	}
	if m.value > 0 {
		m.next = skipValue(m.doc, m.value)
	}
	i := skipSpace(m.doc, m.next)
	if m.doc[i] == ',' {
		i = skipSpace(m.doc, i+1)
	}
	if m.doc[i] == '}' {
		m.next = 0
		return false
	}
	end := skipText(m.doc, i)
	m.key = unescape(m.doc[i+1 : end-1])
	if m.err = m.remember(); m.err != nil {
		m.next = 0
		return false
	}
	i = skipSpace(m.doc, end) // the colon
	m.value = skipSpace(m.doc, i+1)
	return true
}

// remember checks that m.key is new.
func (m *Members) remember() error {
	h := uint32(2166136261) // FNV-1a
	for _, b := range m.key {
		h = (h ^ uint32(b)) * 16777619
	}
	for i, o := range m.hashes[:m.count] {
		if o == h && m.isKey(i) {
			return &DuplicateError{Key: clip(m.key)}
		}
	}
	if m.count == MaxKeys {
		return &DuplicateError{Count: MaxKeys}
	}
	m.hashes[m.count] = h
	m.count++
	return nil
}

// isKey reports whether the n-th key, from 0, is m.key.
func (m *Members) isKey(n int) bool {
	i := 1
	for ; ; n-- {
		i = skipSpace(m.doc, i)
		if m.doc[i] == ',' {
			i = skipSpace(m.doc, i+1)
		}
		end := skipText(m.doc, i)
		if n == 0 {
			return string(unescape(m.doc[i+1:end-1])) == string(m.key)
		}
		i = skipSpace(m.doc, end)
		i = skipValue(m.doc, skipSpace(m.doc, i+1))
	}
}

// Key returns the key of the member; it is valid until the document changes.
func (m *Members) Key() []byte { return m.key }

// Value returns the value of the member.
func (m *Members) Value() Value { return Value{m.doc[m.value:]} }

// Err tells why the walk ended early; nil if it did not. The error is a
// *DuplicateError.
func (m *Members) Err() error { return m.err }

// Elements walks the elements of an array in their order, as Members does.
type Elements struct {
	doc   []byte
	next  int
	value int
}

// Next steps to the next element and returns false at the end.
func (e *Elements) Next() bool {
	if e.next == 0 {
		return false
	}
	if e.value > 0 {
		e.next = skipValue(e.doc, e.value)
	}
	i := skipSpace(e.doc, e.next)
	if e.doc[i] == ',' {
		i = skipSpace(e.doc, i+1)
	}
	if e.doc[i] == ']' {
		e.next = 0
		return false
	}
	e.value = i
	return true
}

// Value returns the element.
func (e *Elements) Value() Value { return Value{e.doc[e.value:]} }

// skipText returns the position after the string that begins at i.
func skipText(doc []byte, i int) int {
	for i++; doc[i] != '"'; i++ {
		if doc[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// skipValue returns the position after the value that begins at i.
func skipValue(doc []byte, i int) int {
	switch doc[i] {
	case '"':
		return skipText(doc, i)
	case '{', '[':
	default:
		for i < len(doc) && !endsScalar[doc[i]] {
			i++
		}
		return i
	}
	for depth := 0; ; i++ {
		switch doc[i] {
		case '"':
			i = skipText(doc, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// endsScalar marks what may follow a number or a word.
var endsScalar = [256]bool{
	',': true, '}': true, ']': true, ' ': true, '\n': true, '\t': true, '\r': true,
}

// unescape returns the characters between the quotes of a string: the same
// bytes if there is no escape among them.
func unescape(b []byte) []byte {
	i := 0
	for i < len(b) && b[i] != '\\' {
		i++
	}
	if i == len(b) {
		return b
	}
	out := append(make([]byte, 0, len(b)), b[:i]...)
	for i < len(b) {
		if b[i] != '\\' {
			out = append(out, b[i])
			i++
			continue
		}
		r, n := escaped(b[i:])
		out = utf8.AppendRune(out, r)
		i += n
	}
	return out
}

// escaped reads the escape that b begins with, and its partner if it is half
// of a surrogate pair.
func escaped(b []byte) (r rune, n int) {
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r = hex4(b)
		if utf16.IsSurrogate(r) {
			if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(b[6:])); pair != utf8.RuneError {
					return pair, 12
				}
			}
			return utf8.RuneError, 6
		}
		return r, 6
	}
	return rune(b[1]), 2
}

// hex4 reads the four digits of a \u escape.
func hex4(b []byte) (r rune) {
	for _, h := range b[2:6] {
		d, _ := hexDigit(h)
		r = r<<4 | d
	}
	return r
}

// clip shortens a text of unknown origin for a message.
func clip(b []byte) string {
	const most = 60
	if len(b) > most {
		return string(b[:most]) + "…"
	}
	return string(b)
}
