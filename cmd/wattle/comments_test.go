package main_test

import (
	"go/ast"
	"go/token"
	"testing"
)

// Every top-level name has a comment, exported or not: one of its own, or that
// of the group it stands in. So has every exported method.
func TestLint_topLevelComments(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					inner := d.Recv != nil && !d.Name.IsExported()
					if d.Doc == nil && !inner && d.Name.Name != "main" {
						t.Errorf("%s: func %s has no comment", f.at(d), d.Name.Name)
					}
				case *ast.GenDecl:
					uncommented(t, f, d)
				}
			}
		}
	}
}

// uncommented reports the types, constants and variables of d that lack a
// comment.
func uncommented(t *testing.T, f file, d *ast.GenDecl) {
	t.Helper()
	if d.Tok == token.IMPORT || d.Doc != nil {
		return
	}
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && s.Comment == nil {
				t.Errorf("%s: type %s has no comment", f.at(s), s.Name.Name)
			}
		case *ast.ValueSpec:
			if s.Doc == nil && s.Comment == nil && s.Names[0].Name != "_" {
				t.Errorf("%s: %s has no comment", f.at(s), s.Names[0].Name)
			}
		}
	}
}
