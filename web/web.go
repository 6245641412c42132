// Package web owns the dashboard: its HTML, CSS, scripts and pictures, and
// how they are served.
//
// It leaves to others where the page's data comes from (the page asks the
// REST API of the same origin), who may read it, on which address it is
// served, and what stands beside it. It must not know any other package of
// ours.
//
// # Addresses
//
// The page itself is at / and under /ui/, where its views are; it is checked
// again at each visit. Everything that it loads is under
// /static/HASH/, HASH being the digest of all these files: what is there
// never changes and is kept by the browser for a year.
//
// # Concurrency
//
// A Handler is safe for concurrent use.
package web

import (
	"embed"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
)

// ContentSecurityPolicy is what the page may do: load its own files and talk
// to its own origin. Neither inline scripts and styles nor markup made from
// strings work under it.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; " +
	"form-action 'self'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// cacheForever is the Cache-Control of what never changes.
const cacheForever = "public, max-age=31536000, immutable"

// embedded holds the page's files below "static".
//
//go:embed static
var embedded embed.FS

// Options say how the page is served. The zero value serves what is built in.
type Options struct {
	// Dev, if not "", is a directory that is read at each request instead of
	// the files that are built in: web/static of the source.
	Dev string
}

// Handler returns what serves the page at /, /ui, /ui/… and its files under
// /static/. All other paths are 404, methods other than GET and HEAD 405.
// Each answer carries ContentSecurityPolicy and its companions. Files that
// cannot be read are a 500 that says which.
func Handler(o Options) http.Handler {
	if o.Dev != "" {
		files := os.DirFS(o.Dev)
		return &handler{dev: true, load: func() (*tree, error) { return loadTree(files) }}
	}
	return &handler{load: sync.OnceValues(func() (*tree, error) {
		files, err := fs.Sub(embedded, "static")
		if err != nil {
			return nil, err
		}
		return loadTree(files)
	})}
}

// handler serves the tree that load gives; with dev set that may be another
// one at each request.
type handler struct {
	dev  bool
	load func() (*tree, error)
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurity(w.Header())
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the page answers GET and HEAD only", http.StatusMethodNotAllowed)
		return
	}
	t, err := h.load()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f, cache := h.find(t, r.URL.Path)
	if f == nil {
		http.Error(w, "nothing is here; the page is at /", http.StatusNotFound)
		return
	}
	w.Header().Set("Cache-Control", cache)
	f.serve(w, r)
}

// find returns the file at a path and its Cache-Control, or nil.
func (h *handler) find(t *tree, path string) (*file, string) {
	if path == "/" || path == "/ui" || strings.HasPrefix(path, "/ui/") {
		return t.index, "no-cache"
	}
	rest, ok := strings.CutPrefix(path, "/static/")
	if !ok {
		return nil, ""
	}
	hash, name, _ := strings.Cut(rest, "/")
	if h.dev {
		return t.files[name], "no-cache"
	}
	if hash != t.hash {
		return nil, ""
	}
	return t.files[name], cacheForever
}

// setSecurity sets the headers that limit what a browser does with an answer.
func setSecurity(h http.Header) {
	h.Set("Content-Security-Policy", ContentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}
