package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// document returns a file of the module's root.
func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// SECURITY.md names the test that holds each promise: a test that was renamed
// or removed must not be promised on.
func TestDocs_promisedTestsExist(t *testing.T) {
	known := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, p := range packages(t) {
		for _, f := range p.tests {
			for _, m := range declared.FindAllStringSubmatch(document(t, f.name), -1) {
				known[p.dir+" "+m[1]] = true
			}
		}
	}
	text := document(t, "SECURITY.md")
	named := regexp.MustCompile("`([a-z/]+) ((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1)
	for _, m := range named {
		if !known[m[1]+" "+m[2]] {
			t.Errorf("SECURITY.md names %s of %s, which does not exist", m[2], m[1])
		}
	}
	for _, rule := range strings.Fields("R1 R2 R3 R4 R5 R6 R7 R8 R9 R10 R11 R12 R13") {
		row := regexp.MustCompile(`(?m)^\| ` + rule + ` \|.*(Test|Fuzz)\w+`)
		if !row.MatchString(text) {
			t.Errorf("SECURITY.md names no test for %s", rule)
		}
	}
}

func TestDocs_makeTargetsExist(t *testing.T) {
	makefile := document(t, "Makefile")
	_, table, ok := strings.Cut(document(t, "README.md"), "| target | what it does |")
	if !ok {
		t.Fatal("README.md has no table of make targets")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	n := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 2 {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z]+)").FindAllStringSubmatch(cells[1], -1) {
			n++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
				t.Errorf("README.md names the target %s, which the Makefile lacks", m[1])
			}
		}
	}
	if n < 15 {
		t.Errorf("README.md names %d make targets, want 15 at least", n)
	}
}

// Links within the project lead somewhere.
func TestDocs_linksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"} {
		for _, m := range link.FindAllStringSubmatch(document(t, name), -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}
