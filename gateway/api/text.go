package api

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unprintable reports whether r must not stand in a name: control characters,
// and those that turn the direction of text around.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError
}

// checkText tells why a text of a person is not good, or returns "".
func checkText(text string, most int, lines bool) string {
	if n := utf8.RuneCountInString(text); n > most {
		return fmt.Sprintf("has %d characters; %d are the most", n, most)
	}
	bad := unprintable
	if lines {
		bad = func(r rune) bool { return unprintable(r) && r != '\n' && r != '\t' }
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, bad) {
		return "holds characters that cannot be shown"
	}
	return ""
}

// slug makes a name for a topic out of a text: small letters, digits and
// dashes. It may be empty.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		if s, ok := plain[r]; ok {
			b.WriteString(s)
			continue
		}
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// plain spells letters that are common in names of rooms and devices.
var plain = map[rune]string{
	'ä': "ae", 'ö': "oe", 'ü': "ue", 'ß': "ss", 'å': "a", 'ø': "o", 'æ': "ae",
	'é': "e", 'è': "e", 'ê': "e", 'ë': "e", 'á': "a", 'à': "a", 'â': "a", 'ç': "c",
	'í': "i", 'î': "i", 'ï': "i", 'ñ': "n", 'ó': "o", 'ô': "o", 'ú': "u", 'û': "u",
}
