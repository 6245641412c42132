package gpio

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/warthog618/go-gpiocdev"
)

// chipPrefix begins the names of the chips' device files.
const chipPrefix = "gpiochip"

// directory is where the device files are.
type directory string

// devices is the directory of this machine.
const devices directory = "/dev"

// Info is what the kernel tells of a line to everyone.
type Info struct {
	Chip      string `json:"chip"`  // such as "gpiochip0"
	Label     string `json:"label"` // of the chip
	Offset    int    `json:"offset"`
	Name      string `json:"name"`     // given by the board; may be empty
	Consumer  string `json:"consumer"` // who has it; may be empty
	Direction string `json:"direction"`
	ActiveLow bool   `json:"active_low"`
	Used      bool   `json:"used"`
}

// Line returns the line's chip and offset, by which Open takes it.
func (i Info) Line() string { return address{i.Chip, i.Offset}.String() }

// List returns the lines of all chips, by chip and offset. If some chips could
// not be read, the others are returned with the error. It changes nothing.
func List() ([]Info, error) { return devices.list() }

func (d directory) list() (list []Info, err error) {
	chips, err := d.chips()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range chips {
		lines, err := d.lines(name)
		list, errs = append(list, lines...), append(errs, err)
	}
	return list, errors.Join(errs...)
}

// lines returns the lines of one chip.
func (d directory) lines(name string) (list []Info, err error) {
	chip, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = chip.Close() }()
	for offset := range chip.Lines() {
		l, err := chip.LineInfo(offset)
		if err != nil {
			return list, fmt.Errorf("reading GPIO line %s: %w", address{name, offset}, err)
		}
		info := Info{
			Chip: name, Label: chip.Label, Offset: offset, Name: l.Name, Consumer: l.Consumer,
			Direction: "input", ActiveLow: l.Config.ActiveLow, Used: l.Used,
		}
		if l.Config.Direction == gpiocdev.LineDirectionOutput {
			info.Direction = "output"
		}
		list = append(list, info)
	}
	return list, nil
}

// chips returns the names of the chips in the order of their numbers, at least
// one. Other names of a chip are left out.
func (d directory) chips() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("looking for GPIO chips: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), chipPrefix) && e.Type()&fs.ModeSymlink == 0 {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w on this machine: there is no %s",
			ErrNoChip, filepath.Join(string(d), chipPrefix+"*"))
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return names, nil
}

// open opens a chip. Its errors tell no chip from no permission; the library
// does not. The caller must close the chip.
func (d directory) open(name string) (*gpiocdev.Chip, error) {
	path := filepath.Join(string(d), name)
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w to open %s: put the user into the group that owns it, often gpio",
			ErrPermission, path)
	case errors.Is(err, fs.ErrNotExist):
		chips, err := d.chips()
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w %s: this machine has %s",
			ErrNoChip, name, strings.Join(chips, ", "))
	case err != nil:
		return nil, fmt.Errorf("opening GPIO chip: %w", err)
	}
	info, err := f.Stat()
	_ = f.Close() // it was to be opened only
	if err == nil && info.Mode()&fs.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%w: %s is not a device", ErrNoChip, path)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the library takes no links
	}
	chip, err := gpiocdev.NewChip(path)
	if errors.Is(err, gpiocdev.ErrNotCharacterDevice) {
		return nil, fmt.Errorf("%w: %s is not one", ErrNoChip, path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening GPIO chip %s: %w", path, err)
	}
	return chip, nil
}

// find returns the address of a line that is given by it, or by its name.
func (d directory) find(line string) (address, error) {
	a, ok, err := parseAddress(line)
	if ok || err != nil {
		return a, err
	}
	list, err := d.list()
	if len(list) == 0 && err != nil {
		return a, err
	}
	return pick(line, list, err)
}

// pick returns the one line that has the name. unread says which chips could
// not be read.
func pick(name string, list []Info, unread error) (a address, err error) {
	var found []string
	for _, i := range list {
		if i.Name == name && name != "" {
			a, found = address{i.Chip, i.Offset}, append(found, i.Line())
		}
	}
	switch {
	case len(found) == 1:
		return a, nil
	case len(found) > 1:
		return a, fmt.Errorf("%w: %q is the name of %s; say which",
			ErrNoLine, name, strings.Join(found, ", "))
	case unread != nil:
		return a, fmt.Errorf("%w: %.40q is not the name of a line that can be read: %w",
			ErrNoLine, name, unread)
	}
	return a, fmt.Errorf("%w: %.40q is neither chip:offset, such as gpiochip0:17, nor a line's name",
		ErrNoLine, name)
}
