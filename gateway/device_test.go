package gateway_test

import (
	"strings"
	"testing"

	"github.com/wattle-home/wattle/gateway"
)

func TestCheckText_table(t *testing.T) {
	for _, c := range []struct {
		text  string
		most  int
		lines bool
		ok    bool
	}{
		{"", 5, false, true},
		{"Wärme", 5, false, true},
		{"Kühlgerät", 8, false, false},
		{strings.Repeat("ä", gateway.MaxAlias), gateway.MaxAlias, false, true},
		{"冷蔵庫 ❄", 10, false, true},
		{"a\nb", 5, false, false},
		{"a\tb\nc", 5, true, true},
		{"a\rb", 5, true, false},
		{"a\x00b", 5, false, false},
		{"a\x7fb", 5, false, false},
		{"a\u0085b", 5, false, false},
		{"a\u202eb", 5, true, false}, // right to left from here
		{"a\u2066b", 5, false, false},
		{"a\xffb", 5, false, false},
		{"a\xc3", 5, false, false}, // cut within a character
	} {
		if got := gateway.CheckText(c.text, c.most, c.lines); (got == "") != c.ok {
			t.Errorf("%q of at most %d, lines %v: %q", c.text, c.most, c.lines, got)
		}
	}
}

func TestFoldName_table(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"cc", "CC", true},
		{"Fridge", " fridge\t", true},
		{"KÜCHE", "Küche", true},
		{"ΟΔΟΣ", "οδος", true},
		{"ſeven", "Seven", true}, // the old long s
		{"Fridge", "Fridge 2", false},
		{"ab", "a b", false},
	} {
		if got := gateway.FoldName(c.a) == gateway.FoldName(c.b); got != c.same {
			t.Errorf("%q and %q: same %v", c.a, c.b, got)
		}
	}
}
