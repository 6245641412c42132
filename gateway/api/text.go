package api

import "strings"

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
