// Command wattle is the gateway of a household: an MQTT broker, a store of
// readings, a REST API with a dashboard, and a scheduler for devices and
// relays, in one program. See `wattle --help`.
//
// It knows every part and wires them; nothing imports it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // zones on machines that have none
)

// version and commit are set by the linker; see the Makefile.
var (
	version = "dev"
	commit  = ""
)

// Exit codes of the program.
const (
	exitClean   = 0
	exitFailure = 1
	exitUsage   = 2
)

func main() { os.Exit(mainCode()) }

// mainCode runs the command line and returns the exit code.
func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	err := newRoot().ExecuteContext(ctx)
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitClean // it was asked to end, and did
	}
	var silent exitError
	if errors.As(err, &silent) {
		return silent.code
	}
	fmt.Fprintf(os.Stderr, "wattle: %v\n", err)
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// usageError is a command line that is wrong.
type usageError struct{ error }

// exitError ends the program with a code; what there was to say is said.
type exitError struct{ code int }

// Error implements error.
func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }
