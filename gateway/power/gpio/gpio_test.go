package gpio_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattle-home/wattle/gateway/power/gpio"
)

// TestOpen_badLine checks lines that no machine has.
func TestOpen_badLine(t *testing.T) {
	for _, line := range []string{"gpiochip0:-1", "gpiochip0:x", "mem:0", ":"} {
		if _, err := gpio.Open(line, false, false); !errors.Is(err, gpio.ErrNoLine) {
			t.Errorf("opening %q: got %v, want no such line", line, err)
		}
		if err := gpio.Set(line, false, true); !errors.Is(err, gpio.ErrNoLine) {
			t.Errorf("setting %q: got %v, want no such line", line, err)
		}
	}
	_, err := gpio.Open("gpiochip9999:0", false, false)
	if !errors.Is(err, gpio.ErrNoChip) {
		t.Errorf("a chip that no machine has: got %v, want no chip", err)
	}
}

// TestList_thisMachine checks what is told of the machine that runs the test,
// mostly that it has no chip.
func TestList_thisMachine(t *testing.T) {
	chips, err := filepath.Glob("/dev/gpiochip*")
	if err != nil {
		t.Fatal(err)
	}
	list, err := gpio.List()
	switch {
	case len(chips) == 0 && !errors.Is(err, gpio.ErrNoChip):
		t.Errorf("without a chip: got %d lines, %v", len(list), err)
	case len(chips) > 0 && os.Geteuid() == 0 && (err != nil || len(list) == 0):
		t.Errorf("with %d chips: got %d lines, %v", len(chips), len(list), err)
	}
	for _, i := range list {
		if i.Chip == "" || i.Direction == "" || i.Line() == "" {
			t.Errorf("incomplete: %+v", i)
		}
	}
}
