package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// barEvery is how often a bar is drawn.
const barEvery = 200 * time.Millisecond

// bar tells on a terminal how far a transfer is. A nil bar tells nothing.
type bar struct {
	out   io.Writer
	what  string
	total int64 // bytes; 0 if that is not known
	done  int64
	began time.Time
	drawn time.Time
	now   func() time.Time
}

// newBar returns a bar on the standard error if that is a terminal, else nil.
func newBar(what string, total int64) *bar {
	if !term.IsTerminal(int(os.Stderr.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &bar{out: os.Stderr, what: what, total: total, began: time.Now(), now: time.Now}
}

// reader returns r, which moves the bar.
func (b *bar) reader(r io.Reader) io.Reader {
	if b == nil {
		return r
	}
	return barReader{r, b}
}

// barReader moves a bar with each read.
type barReader struct {
	r io.Reader
	b *bar
}

// Read implements io.Reader.
func (r barReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.b.done += int64(n)
	if now := r.b.now(); now.Sub(r.b.drawn) >= barEvery || err != nil {
		r.b.drawn = now
		r.b.draw(now, err != nil)
	}
	return n, err
}

// draw writes the line anew; sent says that all is under way.
func (b *bar) draw(now time.Time, sent bool) {
	took := now.Sub(b.began).Seconds()
	line := fmt.Sprintf("%s: %.1f MB", b.what, float64(b.done)/1e6)
	if took > 0 {
		line += fmt.Sprintf(", %.1f MB/s", float64(b.done)/1e6/took)
	}
	if b.total > 0 && b.done > 0 {
		share := float64(b.done) / float64(b.total)
		const width = 24
		fill := min(width, int(share*width))
		done := strings.Repeat("=", fill)
		line = fmt.Sprintf("[%-*s] %3.0f %% %s", width, done, 100*share, line)
		if left := took/share - took; left >= 1 {
			line += fmt.Sprintf(", %.0f s left", left)
		}
	}
	if sent && b.total > 0 {
		line += ", checking and storing…"
	}
	fmt.Fprintf(b.out, "\r\x1b[K%s", line)
}

// end takes the line away.
func (b *bar) end() {
	if b != nil && !b.drawn.IsZero() {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
