package gateway_test

import (
	"testing"

	"github.com/wattle-home/wattle/gateway"
)

func TestFiltersMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/c", false},
		{"a/+", "a/c", true},
		{"a/+", "+/c", true},
		{"a/#", "a", true},
		{"a/#", "b/c", false},
		{"#", "x/y/z", true},
		{"a/+", "a", false},
		{"a/b", "a/b/c", false},
		{"wattle/+/request", "wattle/lamp/set", false},
		{"home/#", "home/lights/lamp", true},
	} {
		if got := gateway.FiltersMeet(c.a, c.b); got != c.want {
			t.Errorf("%s and %s: got %v", c.a, c.b, got)
		}
		if got := gateway.FiltersMeet(c.b, c.a); got != c.want {
			t.Errorf("%s and %s: got %v", c.b, c.a, got)
		}
	}
}
