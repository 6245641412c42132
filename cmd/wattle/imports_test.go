package main_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// arrow is what a package may import. Who imports the outside libraries
// named here is part of it: each belongs to one package.
type arrow struct {
	ours []string // of this module, by the path within it; "*" for all
	owns []string // libraries, by a prefix of their import path
}

// arrows is the table of who may import whom. A package that is not here may
// not exist; a new arrow is a change to this table, argued in the commit.
var arrows = map[string]arrow{
	// The words in the middle.
	"gateway": {},

	// Parts that need the words at most.
	"gateway/config":   {ours: []string{"gateway"}, owns: []string{"github.com/goccy/go-yaml"}},
	"gateway/schedule": {ours: []string{"gateway"}},
	"gateway/energy":   {ours: []string{"gateway"}},
	"gateway/registry": {ours: []string{"gateway"}},
	"gateway/hub":      {ours: []string{"gateway"}},
	"gateway/power":    {ours: []string{"gateway"}},
	"gateway/notify":   {ours: []string{"gateway"}},
	"gateway/power/gpio": {
		owns: []string{"periph.io/x/", "github.com/warthog618/go-gpiocdev"},
	},
	"gateway/link": {ours: []string{"gateway"}, owns: []string{"github.com/eclipse/paho"}},
	"gateway/api":  {ours: []string{"gateway"}, owns: []string{"github.com/gorilla/mux"}},
	"broker":       {ours: []string{"gateway"}, owns: []string{"github.com/mochi-mqtt/server"}},
	"ml":           {ours: []string{"gateway"}},
	"web":          {},
	"systemd":      {},

	// The store packs readings by a format of its own, which is arithmetic alone.
	// It keeps sums of them, too, which must change in the very commit that makes
	// them untrue; what a sum is, and which ones a reading changes, package energy
	// says, which is arithmetic as well.
	"store": {
		ours: []string{"gateway", "gateway/energy", "store/chunk"},
		owns: []string{"modernc.org/sqlite"},
	},
	"store/chunk":     {ours: []string{"gateway"}, owns: []string{"github.com/klauspost/compress"}},
	"store/household": {ours: []string{"gateway"}},

	// Dialects share a scanner and are gathered in one table.
	"gateway/dialect/scan": {},
	"gateway/dialect/*":    {ours: []string{"gateway", "gateway/dialect/scan"}},
	"gateway/dialect":      {ours: []string{"gateway", "gateway/dialect/*"}},

	// Parts that stand on another.
	"gateway/ingest":   {ours: []string{"gateway", "gateway/dialect"}},
	"gateway/dispatch": {ours: []string{"gateway", "gateway/dialect"}},
	"gateway/insight":  {ours: []string{"gateway", "gateway/energy"}},

	// The one place that wires, and programs beside it.
	"cmd/*": {
		ours: []string{"*"},
		owns: []string{
			"github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sync/errgroup",
		},
	},
}

// arrowsOf returns the row for a package: its own, or that of its folder.
func arrowsOf(dir string) (arrow, bool) {
	if a, ok := arrows[dir]; ok {
		return a, true
	}
	a, ok := arrows[path.Dir(dir)+"/*"]
	return a, ok
}

// matches reports whether one of the patterns stands for the package dir.
func matches(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return p == "*" || p == dir ||
			strings.HasSuffix(p, "/*") && path.Dir(dir) == strings.TrimSuffix(p, "/*")
	})
}

// owner returns the packages to which a library belongs, and the prefix by
// which the table names it.
func owner(library string) (dirs []string, prefix string) {
	for dir, a := range arrows {
		for _, p := range a.owns {
			if strings.HasPrefix(library, p) {
				dirs, prefix = append(dirs, dir), p
			}
		}
	}
	return dirs, prefix
}

// fault says why dir must not import imp, an import path, or "".
func fault(dir, imp string) string {
	a, known := arrowsOf(dir)
	if !known {
		return "the package stands in no row of the table of arrows"
	}
	if within, ours := strings.CutPrefix(imp, modulePath+"/"); ours {
		switch {
		case strings.HasPrefix(within, "cmd/"):
			return "a program is not imported by anybody"
		case matches(a.ours, within):
			return ""
		case len(a.ours) == 0:
			return "the package may import nothing of ours"
		}
		return "of ours the package may import " + strings.Join(a.ours, ", ") + " alone"
	}
	dirs, prefix := owner(imp)
	if len(dirs) == 0 || matches(dirs, dir) {
		return ""
	}
	return prefix + " belongs to " + strings.Join(dirs, ", ") + " alone"
}

func TestImports_arrows(t *testing.T) {
	for _, p := range packages(t) {
		if _, ok := arrowsOf(p.dir); !ok {
			t.Errorf("%s: %s", p.dir, fault(p.dir, ""))
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.imports() {
				if why := fault(p.dir, imp); why != "" {
					t.Errorf("%s imports %s: %s", f.name, imp, why)
				}
			}
		}
	}
}

// The words import nothing but the standard library, whatever the table says
// of libraries that nobody owns.
func TestImports_wordsAreStandardLibraryAlone(t *testing.T) {
	for _, p := range packages(t) {
		if p.dir != "gateway" {
			continue
		}
		for _, f := range p.files {
			for _, imp := range f.imports() {
				if first, _, _ := strings.Cut(imp, "/"); strings.Contains(first, ".") {
					t.Errorf("%s imports %s", f.name, imp)
				}
			}
		}
	}
}

// Two packages that import each other are a fault even where Go permits it,
// which is in tests.
func TestImports_neverEachOther(t *testing.T) {
	edges := map[[2]string]string{}
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.files, p.tests) {
			for _, imp := range f.imports() {
				if within, ours := strings.CutPrefix(imp, modulePath+"/"); ours && within != p.dir {
					edges[[2]string{p.dir, within}] = f.name
				}
			}
		}
	}
	for e, name := range edges {
		if other, both := edges[[2]string{e[1], e[0]}]; both && e[0] < e[1] {
			t.Errorf("%s and %s import each other, in %s and %s", e[0], e[1], name, other)
		}
	}
	if len(edges) == 0 {
		t.Error("no package imports another: the walk saw nothing")
	}
}

// The table itself refuses what it should.
func TestImports_tableRefuses(t *testing.T) {
	const us = modulePath + "/"
	tests := []struct {
		dir, imp string
		ok       bool
	}{
		{"gateway/api", us + "gateway", true},
		{"gateway/api", us + "store", false},
		{"gateway/hub", us + "gateway/registry", false},
		{"gateway/dialect", us + "gateway/dialect/tasmota", true},
		{"gateway/dialect/tasmota", us + "gateway/dialect/scan", true},
		{"gateway/dialect/tasmota", us + "gateway/dialect/shelly", false},
		{"gateway/dialect/scan", us + "gateway", false},
		{"gateway/ingest", us + "gateway/dialect", true},
		{"gateway/ingest", us + "gateway/dialect/native", false},
		{"cmd/wattle-bench", us + "store", true},
		{"cmd/wattle-bench", us + "cmd/wattle", false},
		{"gateway/api", "modernc.org/sqlite", false},
		{"store", "modernc.org/sqlite", true},
		{"broker", "github.com/mochi-mqtt/server/v2/packets", true},
		{"gateway/link", "github.com/mochi-mqtt/server/v2", false},
		{"gateway/power", "periph.io/x/conn/v3/gpio", false},
		{"gateway/power/gpio", "periph.io/x/conn/v3/gpio", true},
		{"cmd/wattle", "github.com/spf13/cobra", true},
		{"gateway/util", "fmt", false},
	}
	for _, tt := range tests {
		if why := fault(tt.dir, tt.imp); (why == "") != tt.ok {
			t.Errorf("%s → %s: got fault %q, want allowed %v", tt.dir, tt.imp, why, tt.ok)
		}
	}
}
