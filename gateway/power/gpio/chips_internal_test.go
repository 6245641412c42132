package gpio

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeDev makes a directory with the named files, which are no devices.
func fakeDev(t *testing.T, files ...string) directory {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return directory(dir)
}

// wantLine checks that err is of a kind, says something, and is one line.
func wantLine(t *testing.T, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line, %q with %q", err, kind, says)
	}
}

func TestDirectory_list_noChip(t *testing.T) {
	d := fakeDev(t, "null", "gpio")
	_, err := d.list()
	wantLine(t, err, ErrNoChip, "no GPIO chip on this machine")
	_, err = d.open("gpiochip0")
	wantLine(t, err, ErrNoChip, "no GPIO chip on this machine")
	_, err = d.find("GPIO17")
	wantLine(t, err, ErrNoChip, "no GPIO chip on this machine")
	_, err = directory(filepath.Join(string(d), "none")).list()
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: got %v", err)
	}
}

func TestDirectory_open_otherChip(t *testing.T) {
	d := fakeDev(t, "gpiochip10", "gpiochip2")
	_, err := d.open("gpiochip0")
	wantLine(t, err, ErrNoChip, "no GPIO chip gpiochip0: this machine has gpiochip2, gpiochip10")
	_, err = d.open("gpiochip2")
	wantLine(t, err, ErrNoChip, "is not a device")
	if err := os.Symlink("gpiochip2", filepath.Join(string(d), "gpiochip4")); err != nil {
		t.Fatal(err)
	}
	chips, err := d.chips()
	if diff := cmp.Diff([]string{"gpiochip2", "gpiochip10"}, chips); err != nil || diff != "" {
		t.Errorf("other names of a chip count: %v\n%s", err, diff)
	}
}

// TestDirectory_open_noPermission looks with the eyes of nobody: on a thread
// of its own, as root may open everything.
func TestDirectory_open_noPermission(t *testing.T) {
	d := fakeDev(t, "gpiochip0", "gpiochip1")
	for dir := string(d); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"gpiochip0", "gpiochip1"} {
		if err := os.Chmod(filepath.Join(string(d), f), 0); err != nil {
			t.Fatal(err)
		}
	}
	const nobody = 65534
	var openErr, listErr, findErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			if _, err := unix.SetfsuidRetUid(nobody); err != nil {
				openErr = err
				return
			}
		}
		_, openErr = d.open("gpiochip0")
		_, listErr = d.list()
		_, findErr = d.find("GPIO17")
	}()
	<-done
	wantLine(t, openErr, ErrPermission, "no permission to open "+string(d)+"/gpiochip0")
	if !errors.Is(listErr, ErrPermission) || strings.Count(listErr.Error(), "no permission") != 2 {
		t.Errorf("list: got %v, want both chips", listErr)
	}
	if !errors.Is(findErr, ErrPermission) {
		t.Errorf("find: got %v", findErr)
	}
}

func TestParseAddress(t *testing.T) {
	for line, want := range map[string]address{
		"gpiochip0:17":      {"gpiochip0", 17},
		"/dev/gpiochip12:0": {"gpiochip12", 0},
	} {
		if got, ok, err := parseAddress(line); got != want || !ok || err != nil {
			t.Errorf("%s: got %v, %v, %v", line, got, ok, err)
		}
	}
	for _, line := range []string{"GPIO17", "", "PIN 4"} {
		if _, ok, err := parseAddress(line); ok || err != nil {
			t.Errorf("%q: got %v, %v; want a name", line, ok, err)
		}
	}
	for _, line := range []string{
		"gpiochip0:", "gpiochip0:-1", "gpiochip0:x", "gpiochip0:99999999", "0:17", "/dev/../mem:1",
		"gpiochip0/../../mem:1", ":", "gpiochip0:1:2",
	} {
		_, ok, err := parseAddress(line)
		if !ok {
			t.Errorf("%q: taken for a name", line)
		}
		wantLine(t, err, ErrNoLine, "such as gpiochip0:17")
	}
}

func TestPick(t *testing.T) {
	list := []Info{
		{Chip: "gpiochip0", Offset: 0},
		{Chip: "gpiochip0", Offset: 17, Name: "GPIO17"},
		{Chip: "gpiochip0", Offset: 18, Name: "FAN"},
		{Chip: "gpiochip1", Offset: 3, Name: "FAN"},
	}
	if a, err := pick("GPIO17", list, nil); err != nil || a != (address{"gpiochip0", 17}) {
		t.Errorf("got %v, %v", a, err)
	}
	_, err := pick("FAN", list, nil)
	wantLine(t, err, ErrNoLine, "gpiochip0:18, gpiochip1:3; say which")
	_, err = pick("GPIO99", list, nil)
	wantLine(t, err, ErrNoLine, "neither chip:offset")
	_, err = pick("", list, nil) // lines without a name have none
	wantLine(t, err, ErrNoLine, "neither chip:offset")
	_, err = pick("GPIO99", list, ErrPermission)
	wantLine(t, err, ErrPermission, "that can be read")
}
