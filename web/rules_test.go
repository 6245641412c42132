package web_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// own reads the page's files that we wrote, by path below static.
func own(t *testing.T, pattern string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("static", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files match %s (%v)", pattern, err)
	}
	out := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	return out
}

func TestStatic_size(t *testing.T) {
	for pattern, most := range map[string]int{"js/*.js": 80_000, "css/*.css": 40_000} {
		sum := 0
		for _, content := range own(t, pattern) {
			sum += len(content)
		}
		if sum > most {
			t.Errorf("%s has %d bytes, of %d", pattern, sum, most)
		}
	}
}

// forbidden is what the page's files must not have: the policy would stop it,
// or a name would become markup, or a request would leave the house.
var forbidden = map[string]*regexp.Regexp{
	"markup from text":  regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTML`),
	"code from text":    regexp.MustCompile(`\beval\(|new Function|setTimeout\("|javascript:`),
	"an inline style":   regexp.MustCompile(`\sstyle=|<style|setAttribute\("style"|cssText`),
	"an inline handler": regexp.MustCompile(`\son[a-z]+="`),
	"another origin":    regexp.MustCompile(`(https?:)?//[a-z0-9-]+\.[a-z]`),
	"an import in CSS":  regexp.MustCompile(`@import\s+["u]`),
}

func TestStatic_rules(t *testing.T) {
	ns := strings.NewReplacer("http://www.w3.org/2000/svg", "")
	for _, pattern := range []string{"*.html", "js/*.js", "css/*.css", "img/*.svg", "*.webmanifest"} {
		for name, content := range own(t, pattern) {
			for what, bad := range forbidden {
				if m := bad.FindString(ns.Replace(content)); m != "" {
					t.Errorf("%s has %s: %q", name, what, m)
				}
			}
		}
	}
	for name, content := range own(t, "*.html") {
		for _, m := range regexp.MustCompile(`<script[^>]*>`).FindAllString(content, -1) {
			if !strings.Contains(m, `src="{{static}}/`) {
				t.Errorf("%s has an inline script: %s", name, m)
			}
		}
	}
}

// functions finds the beginnings of functions and methods in our scripts.
var functions = regexp.MustCompile(`^(export )?(async )?function \w+\(|` +
	`^(export )?class \w+|` +
	`^(export )?const \w+ = (async )?\([^)]*\) =>|` +
	`^\t(static )?(async )?[a-zA-Z]+\([^()]*(\([^()]*\))?[^()]*\) \{`)

// keywords begin lines that look like methods.
var keywords = regexp.MustCompile(`^\t(if|for|while|switch|catch|function) `)

func TestStatic_jsdoc(t *testing.T) {
	seen := 0
	for name, content := range own(t, "js/*.js") {
		if !strings.HasPrefix(content, "// @ts-check\n// ") {
			t.Errorf("%s does not begin with @ts-check and what it is for", name)
		}
		lines := strings.Split(content, "\n")
		for i, line := range lines {
			if !functions.MatchString(line) || keywords.MatchString(line) {
				continue
			}
			seen++
			if before := strings.TrimSpace(lines[i-1]); !strings.HasSuffix(before, "*/") {
				t.Errorf("%s:%d has no JSDoc: %s", name, i+1, strings.TrimSpace(line))
			}
		}
	}
	if seen < 100 {
		t.Errorf("found %d functions only; the pattern does not fit the code any more", seen)
	}
}

func TestStatic_icons(t *testing.T) {
	sprite := own(t, "img/icons.svg")[filepath.Join("static", "img", "icons.svg")]
	wanted := regexp.MustCompile(`icons\.svg#(\w+)|<option value="(\w+)">[A-Z]\w+( machine)?</option>`)
	used := []string{"plug", "relay", "meter"}
	for _, m := range wanted.FindAllStringSubmatch(own(t, "*.html")[filepath.Join("static", "index.html")], -1) {
		used = append(used, m[1]+m[2])
	}
	if len(used) < 15 {
		t.Fatalf("found %d names only", len(used))
	}
	for _, name := range used {
		if name != "tasmota" && !strings.Contains(sprite, `<symbol id="`+name+`"`) {
			t.Errorf("there is no picture %q", name)
		}
	}
}
