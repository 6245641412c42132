package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// A bar tells how far a transfer is, and leaves no trace.
func TestBar_draws(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	b := &bar{out: &out, what: "a.csv", total: 4000, began: now, now: func() time.Time { return now }}
	r := b.reader(strings.NewReader(strings.Repeat("x", 4000)))
	part := make([]byte, 1000)
	now = now.Add(time.Second)
	if _, err := io.ReadFull(r, part); err != nil {
		t.Fatal(err)
	}
	want := "\r\x1b[K[======                  ]  25 % a.csv: 0.0 MB, 0.0 MB/s, 3 s left"
	if got := out.String(); got != want {
		t.Errorf("drew %q, want %q", got, want)
	}
	if _, err := io.ReadFull(r, part); err != nil || out.Len() != len(want) {
		t.Errorf("drew again at once: %q, %v", out.String(), err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	b.end()
	if got := out.String(); !strings.Contains(got, "100 %") || !strings.Contains(got, "checking and storing") ||
		!strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("drew %q", got)
	}
	var none *bar
	if r := strings.NewReader("x"); none.reader(r) != io.Reader(r) {
		t.Error("a bar that is none moves")
	}
	none.end()
}
