package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// modulePath is the import path of the module.
const modulePath = "github.com/wattle-home/wattle"

// root is the module's folder as seen from this package.
const root = "../.."

// pkg is a folder with Go files.
type pkg struct {
	dir   string // within the module, with slashes
	files []file // those that are built
	tests []file
}

// file is a parsed Go file.
type file struct {
	name string // within the module
	set  *token.FileSet
	ast  *ast.File
}

// imports returns the import paths of the file.
func (f file) imports() []string {
	var all []string
	for _, s := range f.ast.Imports {
		p, err := strconv.Unquote(s.Path.Value)
		if err != nil {
			p = s.Path.Value // the parser has seen to it that this is not so
		}
		all = append(all, p)
	}
	return all
}

// at names the place of a node.
func (f file) at(n ast.Node) string {
	return f.name + ":" + strconv.Itoa(f.set.Position(n.Pos()).Line)
}

// packages parses all Go files of the module, for every machine and tag.
func packages(t *testing.T) []pkg {
	t.Helper()
	byDir := map[string]*pkg{}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && name != root
			if hidden || d.Name() == "testdata" || d.Name() == "bin" {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		parsed, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		p := byDir[path.Dir(rel)]
		if p == nil {
			p = &pkg{dir: path.Dir(rel)}
			byDir[p.dir] = p
		}
		f := file{rel, set, parsed}
		if strings.HasSuffix(rel, "_test.go") {
			p.tests = append(p.tests, f)
		} else {
			p.files = append(p.files, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for _, p := range byDir {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	if len(all) < 5 {
		t.Fatalf("found %d packages, which cannot be all", len(all))
	}
	return all
}

// The clock is asked by loops, never where things are worked out.
func TestLint_pureCodeAsksNoClock(t *testing.T) {
	pure := func(p pkg, f file) bool {
		switch p.dir {
		case "gateway", "gateway/energy", "gateway/dialect", "ml":
			return true
		case "gateway/schedule":
			base := path.Base(f.name)
			return base == "plan.go" || base == "settings.go"
		}
		return strings.HasPrefix(p.dir, "gateway/dialect/")
	}
	clock := []string{
		"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
	}
	for _, p := range packages(t) {
		for _, f := range p.files {
			if !pure(p, f) {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				x, ok := sel.X.(*ast.Ident)
				if ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
					t.Errorf("%s: time.%s in code that takes instants as arguments",
						f.at(sel), sel.Sel.Name)
				}
				return true
			})
		}
	}
}

func TestLint_noInit(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.files, p.tests) {
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s: func init runs unseen; call what is needed", f.at(fn))
				}
			}
		}
	}
}

func TestLint_packageNamesSayWhatTheyHold(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "base"}
	for _, p := range packages(t) {
		for _, part := range strings.Split(p.dir, "/") {
			if slices.Contains(vague, part) {
				t.Errorf("%s: %q says nothing of what is in it", p.dir, part)
			}
		}
	}
}

func TestLint_packageComments(t *testing.T) {
	for _, p := range packages(t) {
		n := 0
		for _, f := range p.files {
			if f.ast.Doc == nil {
				continue
			}
			n++
			want := "Package " + f.ast.Name.Name + " "
			if f.ast.Name.Name == "main" {
				want = "Command " + path.Base(p.dir) + " "
			}
			if text := f.ast.Doc.Text(); !strings.HasPrefix(text, want) {
				t.Errorf("%s: the package comment must begin with %q", f.name, want)
			}
		}
		if n != 1 && len(p.files) > 0 {
			t.Errorf("%s has %d package comments, want one", p.dir, n)
		}
	}
}

func TestLint_fileNames(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.files, p.tests) {
			base := strings.TrimSuffix(path.Base(f.name), ".go")
			base = strings.TrimSuffix(base, "_test")
			base = strings.TrimSuffix(base, "_internal")
			for _, system := range []string{"_linux", "_other", "_386", "_amd64"} {
				base = strings.TrimSuffix(base, system)
			}
			if strings.Contains(base, "_") || base != strings.ToLower(base) {
				t.Errorf("%s: a file's name is a lower-case noun without underscores", f.name)
			}
		}
	}
}

// The top level shows the parts and nothing else.
func TestLint_topLevel(t *testing.T) {
	allowed := []string{
		"cmd", "gateway", "broker", "store", "ml", "web", "systemd",
		"go.mod", "go.sum", "Makefile", "LICENSE",
		"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md",
	}
	made := []string{"bin", "wattle-data"} // git ignores them
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") && filepath.Ext(name) != ".out" &&
			!slices.Contains(allowed, name) && !slices.Contains(made, name) {
			t.Errorf("%s does not belong to the top level", name)
		}
	}
}

// What readers must never find. The words are put together here so that this
// file is not found by itself.
func TestLint_nothingUnfinishedOrPrivate(t *testing.T) {
	words := []string{
		"TO" + "DO", "FIX" + "ME", "X" + "XX:", // unfinished
		"/wo" + "rk/", "/ro" + "ot/", "/tmp/ba" + "sh", // one machine's paths
		"proxy.gol" + "ang.org", "registry.np" + "mjs.org", "deb.deb" + "ian.org",
	}
	for _, name := range tracked(t) {
		if strings.Contains(name, "/vendor/") || path.Base(name) == "go.sum" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			if os.IsNotExist(err) { // removed and not yet committed
				continue
			}
			t.Fatal(err)
		}
		for _, w := range words {
			if strings.Contains(string(b), w) {
				t.Errorf("%s holds %q", name, w)
			}
		}
	}
}

// tracked returns the files that git knows, or where this is no git clone all
// Go files.
func tracked(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err == nil && len(out) > 0 {
		return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	}
	var names []string
	for _, p := range packages(t) {
		for _, f := range slices.Concat(p.files, p.tests) {
			names = append(names, f.name)
		}
	}
	return names
}
