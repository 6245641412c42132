package web_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/web"
)

// ask sends a request to a handler; headers come in pairs.
func ask(h http.Handler, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// text reads an answer's body.
func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// base finds the address of the files in the page.
func base(t *testing.T, h http.Handler) string {
	t.Helper()
	m := regexp.MustCompile(`/static/[0-9a-f]{16}`).FindString(text(t, ask(h, "GET", "/")))
	if m == "" {
		t.Fatal("the page does not name the address of its files")
	}
	return m
}

func TestHandler_ServeHTTP(t *testing.T) {
	h := web.Handler(web.Options{})
	files := base(t, h)
	for _, c := range []struct {
		method, path string
		status       int
		kind, cache  string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"GET", "/ui", 200, "text/html; charset=utf-8", "no-cache"},
		{"GET", "/ui/devices/17", 200, "text/html; charset=utf-8", "no-cache"},
		{"GET", files + "/js/main.js", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"GET", files + "/css/wattle.css", 200, "text/css; charset=utf-8", "public, max-age=31536000, immutable"},
		{"GET", files + "/img/icons.svg", 200, "image/svg+xml", "public, max-age=31536000, immutable"},
		{"GET", files + "/wattle.webmanifest", 200, "application/manifest+json", "public, max-age=31536000, immutable"},
		{"GET", files + "/js/none.js", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", files + "/index.html", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", files + "/js", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", files, 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", files + "/js/../../web.go", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/static/0123456789abcdef/js/main.js", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/uix", 404, "text/plain; charset=utf-8", "no-store"},
		{"GET", "/favicon.ico", 404, "text/plain; charset=utf-8", "no-store"},
		{"POST", "/", 405, "text/plain; charset=utf-8", "no-store"},
		{"DELETE", files + "/js/main.js", 405, "text/plain; charset=utf-8", "no-store"},
	} {
		r := ask(h, c.method, c.path)
		got := []any{r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Cache-Control")}
		if diff := cmp.Diff([]any{c.status, c.kind, c.cache}, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.method, c.path, diff)
		}
		for name, want := range map[string]string{
			"Content-Security-Policy":      web.ContentSecurityPolicy,
			"X-Content-Type-Options":       "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin",
			"Cross-Origin-Opener-Policy":   "same-origin",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", c.method, c.path, name, got, want)
			}
		}
		if c.status == 405 && r.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s %s: Allow is %q", c.method, c.path, r.Header.Get("Allow"))
		}
	}
}

func TestHandler_ServeHTTP_namesItsFiles(t *testing.T) {
	h := web.Handler(web.Options{})
	page := text(t, ask(h, "GET", "/"))
	if strings.Contains(page, "{{") {
		t.Error("the page has a marker left")
	}
	found := regexp.MustCompile(`/static/[^"#]+`).FindAllString(page, -1)
	if len(found) < 4 {
		t.Fatalf("the page names %d files, want its scripts, styles and pictures", len(found))
	}
	for _, path := range found {
		if r := ask(h, "GET", path); r.StatusCode != 200 {
			t.Errorf("the page names %s, which is %d", path, r.StatusCode)
		}
	}
}

func TestHandler_ServeHTTP_gzip(t *testing.T) {
	h := web.Handler(web.Options{})
	path := base(t, h) + "/js/main.js"
	plain := ask(h, "GET", path)
	want := text(t, plain)
	for accept, packed := range map[string]bool{
		"gzip, deflate, br":  true,
		"br;q=1, gzip;q=0.5": true,
		"*":                  true,
		"GZIP":               true,
		"gzip;q=0":           false,
		"gzip; q=0, *":       false,
		"*;q=0":              false,
		"gzip;q=x":           false,
		"gzippo":             false,
		"identity":           false,
	} {
		r := ask(h, "GET", path, "Accept-Encoding", accept)
		if got := r.Header.Get("Content-Encoding") == "gzip"; got != packed {
			t.Errorf("with %q compressed is %v, want %v", accept, got, packed)
			continue
		}
		if r.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("with %q Vary is %q", accept, r.Header.Get("Vary"))
		}
		if !packed {
			continue
		}
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil || string(b) != want {
			t.Errorf("with %q the content differs (%v)", accept, err)
		}
		if r.Header.Get("ETag") == plain.Header.Get("ETag") {
			t.Errorf("with %q plain and compressed have one ETag", accept)
		}
	}
}

func TestHandler_ServeHTTP_etag(t *testing.T) {
	h := web.Handler(web.Options{})
	for _, path := range []string{"/", base(t, h) + "/css/wattle.css"} {
		for _, accept := range []string{"", "gzip"} {
			tag := ask(h, "GET", path, "Accept-Encoding", accept).Header.Get("ETag")
			for _, c := range []struct {
				match  string
				status int
			}{
				{tag, 304},
				{"W/" + tag, 304},
				{`"other", ` + tag, 304},
				{"*", 304},
				{`"other"`, 200},
				{strings.Trim(tag, `"`), 200},
			} {
				r := ask(h, "GET", path, "Accept-Encoding", accept, "If-None-Match", c.match)
				if r.StatusCode != c.status {
					t.Errorf("%s with %s is %d, want %d", path, c.match, r.StatusCode, c.status)
				}
				if c.status == 304 && text(t, r) != "" {
					t.Errorf("%s with %s has a body", path, c.match)
				}
			}
		}
	}
}

func TestHandler_ServeHTTP_dev(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := web.Handler(web.Options{Dev: dir})
	if r := ask(h, "GET", "/"); r.StatusCode != 500 || !strings.Contains(text(t, r), "index.html") {
		t.Errorf("without index.html the answer is %d", r.StatusCode)
	}
	write("index.html", `<script src="{{static}}/a.js">`)
	write("a.js", "one")
	first := base(t, h)
	write("a.js", "two")
	if base(t, h) == first {
		t.Error("the address stays although a file has changed")
	}
	r := ask(h, "GET", first+"/a.js")
	if got := text(t, r); got != "two" || r.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("a.js is %q, Cache-Control %q", got, r.Header.Get("Cache-Control"))
	}
	write("a.exe", "x")
	if r := ask(h, "GET", "/"); r.StatusCode != 500 || !strings.Contains(text(t, r), "a.exe") {
		t.Errorf("with a file of no known kind the answer is %d", r.StatusCode)
	}
}

func TestVendor_checksum(t *testing.T) {
	for name, want := range map[string]string{
		"uPlot.esm.js":      "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba",
		"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
		"uPlot.LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		b, err := os.ReadFile(filepath.Join("static", "vendor", name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s is not that of uPlot 1.6.32: %s", name, got)
		}
	}
}
