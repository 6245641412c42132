package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// marker stands in index.html for the address of the tree.
const marker = "{{static}}"

// tree is the page's files under one digest. It does not change.
type tree struct {
	hash  string
	index *file
	files map[string]*file // by path below the root, without index.html
}

// file is one answer, plain and compressed.
type file struct {
	kind string // Content-Type
	etag string // without quotes
	body []byte

	once   sync.Once
	packed []byte // gzip; nil if that saves nothing. Set by once
}

// kind returns the content type that the ending of a file's name stands for.
func kind(name string) (string, error) {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8", nil
	case ".css":
		return "text/css; charset=utf-8", nil
	case ".js":
		return "text/javascript; charset=utf-8", nil
	case ".svg":
		return "image/svg+xml", nil
	case ".webmanifest":
		return "application/manifest+json", nil
	case ".txt":
		return "text/plain; charset=utf-8", nil
	}
	return "", fmt.Errorf("web: %s has an ending without a content type", name)
}

// loadTree reads all files of root, in the order of their names, and puts the
// address of the tree where the page refers to it.
func loadTree(root fs.FS) (*tree, error) {
	t := &tree{files: map[string]*file{}}
	sum := sha256.New()
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		k, err := kind(name)
		if err != nil {
			return err
		}
		body, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(body))
		sum.Write(body)
		t.files[name] = &file{kind: k, etag: digest(body), body: body}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("web: reading the page's files: %w", err)
	}
	t.hash = hex.EncodeToString(sum.Sum(nil))[:16]
	t.index = t.files["index.html"]
	if t.index == nil {
		return nil, fmt.Errorf("web: the page's files have no index.html")
	}
	delete(t.files, "index.html")
	t.index.body = bytes.ReplaceAll(t.index.body, []byte(marker), []byte("/static/"+t.hash))
	t.index.etag = digest(t.index.body)
	return t, nil
}

// digest names a content for an ETag.
func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])[:16]
}

// serve answers r, which is a GET or HEAD, with f.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Vary", "Accept-Encoding")
	body, etag := f.body, `"`+f.etag+`"`
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		if packed := f.gzip(); packed != nil {
			h.Set("Content-Encoding", "gzip")
			body, etag = packed, `"`+f.etag+`-gz"`
		}
	}
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	_, _ = w.Write(body) // the reader went away: nobody to tell
}

// gzip returns the compressed body, or nil if it would not be smaller. The
// first call compresses, so that starting costs nothing.
func (f *file) gzip() []byte {
	f.once.Do(func() {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return
		}
		if _, err := z.Write(f.body); err != nil {
			return
		}
		if err := z.Close(); err != nil || b.Len() >= len(f.body) {
			return
		}
		f.packed = b.Bytes()
	})
	return f.packed
}

// acceptsGzip reports whether an Accept-Encoding header allows gzip.
func acceptsGzip(header string) bool {
	any := false
	for part := range strings.SplitSeq(header, ",") {
		name, param, _ := strings.Cut(strings.TrimSpace(part), ";")
		ok := true
		if q, found := strings.CutPrefix(strings.ReplaceAll(param, " ", ""), "q="); found {
			v, err := strconv.ParseFloat(q, 64)
			ok = err == nil && v > 0
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip":
			return ok
		case "*":
			any = ok
		}
	}
	return any
}

// matches reports whether an If-None-Match header names etag.
func matches(header, etag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == etag || part == "*" {
			return true
		}
	}
	return false
}
