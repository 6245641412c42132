// Package gpio drives output lines of the machine's GPIO chips.
//
// It owns how a line is named, found, taken and set, through the character
// device of the Linux kernel. It must not know what a line is wired to, which
// level is safe, or anything of the household.
//
// A line is taken with its direction, its active level and its first value in
// one request, so that a relay does not flicker when the gateway starts. High
// and on mean active throughout: for a line that is active low the kernel
// turns the level round.
//
// # Lines
//
// A line is named by its chip and offset, such as gpiochip0:17. The name that
// the board gives it, such as GPIO17, works as a convenience if exactly one
// line has it.
//
// # When the process ends
//
// The kernel takes the line back when the process ends. What its level is then
// depends on the chip's driver: some return it to input, some leave it. Set the
// level that is wanted before Close.
//
// # Concurrency
//
// A Line is safe for concurrent use.
package gpio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/warthog618/go-gpiocdev"
	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/physic"
)

// consumer is how the kernel names the user of our lines.
const consumer = "wattle"

// Errors that callers tell apart. The text of what is returned says more.
var (
	ErrNoChip     = errors.New("no GPIO chip")
	ErrPermission = errors.New("no permission")
	ErrNoLine     = errors.New("no such GPIO line")
	ErrBusy       = errors.New("GPIO line is in use")
)

// Line is an output line that belongs to this process until Close. It is a
// gpio.PinOut.
type Line struct {
	name   string // chip:offset
	offset int

	mu     sync.Mutex
	line   *gpiocdev.Line // nil after Close
	active bool           // the last value that was set
}

var _ gpio.PinOut = (*Line)(nil)

// Open takes the line and drives it as an output that is active or not from
// the first moment on. activeLow says that the line is active when it is low.
// The caller must Close the line.
func Open(line string, activeLow, initial bool) (*Line, error) {
	a, err := devices.find(line)
	if err != nil {
		return nil, err
	}
	chip, err := devices.open(a.chip)
	if err != nil {
		return nil, err
	}
	defer func() { _ = chip.Close() }() // the line lives on without it
	if a.offset >= chip.Lines() {
		return nil, fmt.Errorf("%w: %s, the chip has %d lines", ErrNoLine, a, chip.Lines())
	}
	options := []gpiocdev.LineReqOption{
		gpiocdev.WithConsumer(consumer), gpiocdev.AsOutput(value(initial)),
	}
	if activeLow {
		options = append(options, gpiocdev.AsActiveLow)
	}
	l, err := chip.RequestLine(a.offset, options...)
	if err != nil {
		return nil, requestError(chip, a, err)
	}
	return &Line{name: a.String(), offset: a.offset, line: l, active: initial}, nil
}

// requestError says in one line why the kernel refused a line.
func requestError(chip *gpiocdev.Chip, a address, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		if info, infoErr := chip.LineInfo(a.offset); infoErr == nil && info.Consumer != "" {
			return fmt.Errorf("%w: %s belongs to %q", ErrBusy, a, info.Consumer)
		}
		return fmt.Errorf("%w: %s belongs to another process", ErrBusy, a)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w to take the GPIO line %s", ErrPermission, a)
	}
	return fmt.Errorf("taking GPIO line %s: %w", a, err)
}

// Set takes a line, makes it active or not, and gives it back: what a person
// does by hand to try a relay. It is refused with ErrBusy while somebody has
// the line. Whether the level stays afterwards depends on the chip's driver.
func Set(line string, activeLow, on bool) error {
	l, err := Open(line, activeLow, on)
	if err != nil {
		return err
	}
	return l.Close()
}

// value is the kernel's number for a level.
func value(active bool) int {
	if active {
		return 1
	}
	return 0
}

// Set makes the line active or not. The error names the line.
func (l *Line) Set(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == nil {
		return fmt.Errorf("setting GPIO line %s: it was given back", l.name)
	}
	if err := l.line.SetValue(value(on)); err != nil {
		return fmt.Errorf("setting GPIO line %s: %w", l.name, err)
	}
	l.active = on
	return nil
}

// Close gives the line back to the kernel as it is. A second call does
// nothing.
func (l *Line) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line == nil {
		return nil
	}
	err := l.line.Close()
	l.line = nil
	if err != nil {
		return fmt.Errorf("giving back GPIO line %s: %w", l.name, err)
	}
	return nil
}

// Out implements gpio.PinOut: gpio.High is active.
func (l *Line) Out(level gpio.Level) error { return l.Set(bool(level)) }

// PWM implements gpio.PinOut. It always fails: relays are not dimmed.
func (l *Line) PWM(gpio.Duty, physic.Frequency) error {
	return fmt.Errorf("GPIO line %s has no pulse width modulation", l.name)
}

// Halt implements conn.Resource. It leaves the line as it is: which level is
// safe, its owner knows.
func (l *Line) Halt() error { return nil }

// String implements conn.Resource. It returns the line's chip and offset.
func (l *Line) String() string { return l.name }

// Name implements pin.Pin. It returns the line's chip and offset.
func (l *Line) Name() string { return l.name }

// Number implements pin.Pin. It returns the offset within the chip.
func (l *Line) Number() int { return l.offset }

// Function implements pin.Pin. It returns what the line was last set to
// without asking the line: reading an output must not change it.
func (l *Line) Function() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.line == nil:
		return ""
	case l.active:
		return "Out/High"
	}
	return "Out/Low"
}

// address is a line by its chip and offset.
type address struct {
	chip   string // such as "gpiochip0"
	offset int
}

// String returns the address as chip:offset.
func (a address) String() string { return a.chip + ":" + strconv.Itoa(a.offset) }

// parseAddress reads chip:offset; the chip may have /dev/ before it. ok is
// false for what may be the name of a line.
func parseAddress(line string) (a address, ok bool, err error) {
	chip, offset, ok := strings.Cut(strings.TrimPrefix(line, "/dev/"), ":")
	if !ok {
		return a, false, nil
	}
	n, err := strconv.ParseUint(offset, 10, 16)
	if err != nil || !strings.HasPrefix(chip, chipPrefix) || strings.Contains(chip, "/") {
		return a, true, fmt.Errorf("%w: %.40q, want a chip and an offset such as gpiochip0:17",
			ErrNoLine, line)
	}
	return address{chip, int(n)}, true, nil
}
