package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
)

// entries returns the names in dir.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

func TestImporter_spool_leavesNothing(t *testing.T) {
	im := importer{dir: t.TempDir()}
	body, done, err := im.spool(api.ImportFile{Name: "x.csv", Body: strings.NewReader("a,b\n")}, false)
	if err != nil {
		t.Fatal(err)
	}
	if names := entries(t, im.dir); len(names) != 0 { // a kill at this point leaves nothing
		t.Errorf("%v stand in the directory", names)
	}
	for range 2 { // it is read twice
		if text, err := io.ReadAll(body); err != nil || string(text) != "a,b\n" {
			t.Errorf("it says %q, %v", text, err)
		}
		if _, err := body.(io.Seeker).Seek(0, io.SeekStart); err != nil {
			t.Error(err)
		}
	}
	done()
	cut := api.ImportFile{Name: "x.csv", Body: iotest.ErrReader(io.ErrUnexpectedEOF)}
	_, _, err = im.spool(cut, false)
	if gateway.CodeOf(err) != gateway.CodeInvalid ||
		!strings.Contains(err.Error(), "x.csv: the file did not") {
		t.Errorf("a file that does not arrive: %v", err)
	}
	im.dir = filepath.Join(im.dir, "missing")
	_, _, err = im.spool(api.ImportFile{Name: "x.csv", Body: strings.NewReader("a,b\n")}, false)
	if !errors.Is(err, os.ErrNotExist) || gateway.CodeOf(err) != gateway.CodeInternal {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestFillSpool_bound(t *testing.T) {
	const most = 1 << 20
	for n, ok := range map[int]bool{0: true, most: true, most + 1: false, 3 * most: false} {
		file, err := os.Create(filepath.Join(t.TempDir(), "spool"))
		if err != nil {
			t.Fatal(err)
		}
		f := api.ImportFile{Name: "x.csv", Body: strings.NewReader(strings.Repeat("x", n))}
		err = fillSpool(file, f, most)
		if (err == nil) != ok || !ok && (gateway.CodeOf(err) != gateway.CodeInvalid ||
			!strings.Contains(err.Error(), "x.csv: the file is larger than 1 MiB")) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if s, err := file.Stat(); err != nil || s.Size() > most+1 {
			t.Errorf("%d bytes: %v, %v", n, s, err)
		}
		_ = file.Close()
	}
}

func TestRemoveSpools_ownAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"import-1", "import-398231", "import-house.csv", "import-2.csv", "wattle.db",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "import-2026"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := removeSpools(dir); err != nil {
		t.Error(err)
	}
	want := []string{"import-2.csv", "import-2026", "import-house.csv", "wattle.db"}
	if got := entries(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

// A damaged file is the sender's fault, whatever is wrong with it.
func TestImporter_Import_faults(t *testing.T) {
	g := startGateway(t)
	const head = "device,time,power_w\nKettle,2026-01-01 00:00:00,5\n"
	for name, body := range map[string]string{
		"packed, cut": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
		"alias":       head + "B\u202e,2026-01-01 00:00:00,5\n",
		"long row":    head + strings.Repeat("x", 2<<20),
	} {
		if a := g.do("POST", "/api/v1/imports?name=x.csv", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if ds := g.d.devices.Devices(); len(ds) != 0 {
		t.Errorf("refused files made %+v", ds)
	}
}
