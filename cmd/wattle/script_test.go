package main

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(cleaning{m}, map[string]func(){"wattle": main})
}

// cleaning is a testing.M that takes away what buildProgram built.
type cleaning struct{ *testing.M }

// Run implements testscript.TestingM.
func (c cleaning) Run() int {
	dir, err := os.MkdirTemp("", "wattle-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	_ = os.Setenv(programDir, dir) // a name without = or NUL is taken
	return c.M.Run()
}

// programDir is the variable that names where buildProgram builds.
const programDir = "WATTLE_TEST_PROGRAM_DIR"

// TestScripts runs the command line as a person does.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			dir, err := os.MkdirTemp("", "w") // short: a Unix socket lies in it
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o755); err != nil {
				return err
			}
			env.Setenv("D", dir+"/data")
			env.Setenv("WATTLE_DATA_DIR", dir+"/data")
			env.Setenv("WATTLE_TIMEZONE", "Europe/Berlin")
			env.Setenv("TMPDIR", dir)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// busy VAR takes a TCP port and puts its address into VAR.
			"busy": func(ts *testscript.TestScript, _ bool, args []string) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				ts.Check(err)
				ts.Defer(func() { _ = l.Close() })
				ts.Setenv(args[0], l.Addr().String())
			},
			// waitready polls until the gateway of $D answers on its socket.
			"waitready": func(ts *testscript.TestScript, _ bool, _ []string) {
				path := ts.Getenv("D") + "/" + socketName
				for range 1000 {
					if c, err := net.Dial("unix", path); err == nil {
						_ = c.Close()
						return
					}
					pause()
				}
				ts.Fatalf("%s does not answer", path)
			},
			// code N PROGRAM ARGS… expects the exit code N.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := "0"
				if err != nil {
					got = fmt.Sprint(err)
				}
				if want := "exit status " + args[0]; got != want && !(args[0] == "0" && err == nil) {
					ts.Fatalf("%v: got %s, want %s", args[1:], got, want)
				}
			},
		},
	})
}
