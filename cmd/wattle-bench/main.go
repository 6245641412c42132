// Command wattle-bench builds a modelled store of many years and measures the
// gateway on it: 30 devices with a reading each ten seconds, from 2016 on.
//
// It owns the measures and the table. What it measures is the program itself,
// started as a child on loopback, and the store's own methods; it must not know
// how either works.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"text/tabwriter"
)

// tenYears is how many readings ten years are.
const tenYears = 947_000_000

// row is a line of the table.
type row struct{ what, wattle, target, others string }

// bench is one run.
type bench struct {
	dir      string
	readings int64
	jitter   int64
	program  string
	data     string // folder with recorded households; "" for none
	rows     []row
}

// add adds a line to the table, and prints it at once.
func (b *bench) add(what, wattle, target, others string) {
	b.rows = append(b.rows, row{what, wattle, target, others})
	fmt.Printf("%-64s %s\n", what, wattle)
}

func main() {
	var b bench
	var keep bool
	flag.StringVar(&b.dir, "dir", ".bench/store",
		"where the store is built; one that is there is used")
	flag.Int64Var(&b.readings, "readings", 20_000_000, "readings; ten years are 947000000")
	flag.Int64Var(&b.jitter, "jitter", 0,
		"0: stamps of whole seconds; 60: of milliseconds, up to 120 late")
	flag.StringVar(&b.data, "data", "",
		"folder with recorded households, of which minute/*.csv.gz are stored, too")
	flag.BoolVar(&keep, "keep", false, "leave the store for the next run")
	flag.Parse()
	debug.SetGCPercent(50) // as the program has it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, keep); err != nil {
		fmt.Fprintln(os.Stderr, "wattle-bench:", err)
		stop()
		os.Exit(1)
	}
}

// run builds, measures and prints the table.
func (b *bench) run(ctx context.Context, keep bool) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	if !keep {
		defer func() { _ = os.RemoveAll(b.dir) }()
	}
	b.program = filepath.Join(b.dir, "wattle")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.program, "./cmd/wattle")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w: %s", err, out)
	}
	for _, step := range []func(context.Context) error{
		b.fill, b.scan, b.gateway, b.sealing, b.recorded,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\n%d readings of 30 devices (%.1f years), jitter %d ms\n\n",
		b.readings, float64(b.readings)/tenYears*10, b.jitter)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| what\t| wattle\t| target\t| others, as published\t|\n|---\t|---\t|---\t|---\t|")
	for _, r := range b.rows {
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t|\n", r.what, r.wattle, r.target, r.others)
	}
	return w.Flush()
}
