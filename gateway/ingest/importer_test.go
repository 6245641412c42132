package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/ingest"
)

// importInto reads text into memory. It returns how many readings were stored
// for each device that was made.
func importInto(t *testing.T, f ingest.File) (map[string]int, ingest.Imported, error) {
	t.Helper()
	got := map[string]int{}
	names := map[gateway.DeviceID]string{} // of the devices that were made
	im := ingest.Importer{
		Device: func(_ context.Context, alias string) (gateway.DeviceID, error) {
			id := gateway.DeviceID(len(names) + 1)
			names[id] = alias
			got[alias] += 0
			return id, nil
		},
		Append: func(_ context.Context, rs []gateway.Reading) error {
			for _, r := range rs {
				got[names[r.Device]]++
			}
			return nil
		},
		Now: func() time.Time { return now },
	}
	f.Name, f.Zone = "house.csv", time.UTC
	res, err := im.Import(t.Context(), f)
	return got, res, err
}

// packed compresses text with gzip.
func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text) // goes into memory
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImporter_Import_gzip(t *testing.T) {
	const text = "device,time,power_w\nA,2026-01-01 00:00:00,5\nB,2026-01-01 00:00:00,6\n"
	file := packed(t, text)
	got, res, err := importInto(t, ingest.File{Body: bytes.NewReader(file)})
	if err != nil || got["A"] != 1 || got["B"] != 1 || res.Rows != 2 {
		t.Errorf("%v %+v %v", got, res, err)
	}
	sum := bytes.Clone(file)
	sum[len(sum)-6] ^= 1
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"wrong checksum":  {sum, "house.csv: line 4: the compressed file is damaged"},
		"without the end": {file[:len(file)-9], "damaged: it ends too early"},
		"half":            {file[:len(file)/2], "damaged: it ends too early"},
		"within the head": {file[:5], "house.csv: line 1: the compressed file is damaged"},
		"something after": {append(bytes.Clone(file), "xxxxxxxxxxxx"...), "house.csv: line 4: "},
		"not compressed":  {append(bytes.Clone(file[:10]), text...), "line 1: the compressed file"},
	} {
		got, _, err := importInto(t, ingest.File{Body: bytes.NewReader(c.file)})
		if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.want)
		}
		if len(got) != 0 {
			t.Errorf("%s: stored %v", name, got)
		}
	}
	got, res, err = importInto(t, ingest.File{Body: bytes.NewReader(sum), SkipBad: true})
	if err != nil || got["A"] != 1 || got["B"] != 1 || res.Skipped != 1 ||
		!strings.Contains(strings.Join(res.Bad, ""), "line 4: the compressed file is damaged") {
		t.Errorf("with SkipBad: %v %+v %v", got, res, err)
	}
}

// brokenReader fails with err after text.
func brokenReader(text string, err error) io.Reader {
	return io.MultiReader(strings.NewReader(text), iotest.ErrReader(err))
}

func TestImporter_Import_devices(t *testing.T) {
	const head = "device,time,power_w\nA,2026-01-01 00:00:00,5\n"
	for name, c := range map[string]struct{ alias, want string }{
		"no UTF-8":  {"B\xff", "characters that cannot be shown"},
		"control":   {"B\x1b[2J", "characters that cannot be shown"},
		"turned":    {"B\u202e", "characters that cannot be shown"},
		"lines":     {"\"B\nC\"", "characters that cannot be shown"},
		"long":      {strings.Repeat("ä", 201), "has 201 characters"},
		"blank":     {"  ", "the device is missing"},
		"very long": {strings.Repeat("x", 1<<19), "has 524288 characters"},
	} {
		text := head + c.alias + ",2026-01-01 00:00:00,6\nD,2026-01-01 00:00:00,7\n"
		got, _, err := importInto(t, ingest.File{Body: strings.NewReader(text)})
		if gateway.CodeOf(err) != gateway.CodeInvalid || len(got) != 0 ||
			!strings.Contains(err.Error(), "house.csv: line 3: the device") ||
			!strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
			t.Errorf("%s: made %v, %.1000v", name, got, err)
		}
		got, _, err = importInto(t, ingest.File{Body: strings.NewReader(text), SkipBad: true})
		want := map[string]int{"A": 1, "D": 1}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s with SkipBad: %v\n%s", name, err, diff)
		}
	}
	got, res, err := importInto(t, ingest.File{Body: strings.NewReader(
		head + "a,2026-01-01 00:01:00,5\n A ,2026-01-01 00:02:00,5\n" +
			"KÜ,1700000000,1\nkü,1700000001,1\n",
	)})
	want := map[string]int{"A": 3, "KÜ": 2}
	if diff := cmp.Diff(want, got); err != nil || diff != "" || len(res.Devices) != 2 {
		t.Errorf("other case: %+v %v\n%s", res, err, diff)
	}
}

// A row that is not stored makes no device.
func TestImporter_Import_noDeviceWithoutReadings(t *testing.T) {
	const text = "device,time,power_w\n" +
		"A,2026-01-01 00:00:00,5\nB,yesterday,5\nC,2026-01-01 00:00:00,1e7\n"
	for _, f := range []ingest.File{
		{}, {SkipBad: true}, {DryRun: true}, {DryRun: true, SkipBad: true},
	} {
		f.Body = strings.NewReader(text)
		want := map[string]int{}
		if f.SkipBad && !f.DryRun {
			want["A"] = 1
		}
		got, _, err := importInto(t, f)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != f.SkipBad {
			t.Errorf("dry run %v, skip bad %v: %v\n%s", f.DryRun, f.SkipBad, err, diff)
		}
	}
}

func TestImporter_Import_manyDevices(t *testing.T) {
	file := func(n int) string {
		var b strings.Builder
		b.WriteString("device,time,power_w\n")
		for i := range n {
			fmt.Fprintf(&b, "D%d,2026-01-01 00:00:00,5\n", i)
		}
		return b.String()
	}
	got, _, err := importInto(t, ingest.File{Body: strings.NewReader(file(256))})
	if err != nil || len(got) != 256 {
		t.Errorf("256 devices: made %d, %v", len(got), err)
	}
	got, _, err = importInto(t, ingest.File{Body: strings.NewReader(file(257))})
	if gateway.CodeOf(err) != gateway.CodeInvalid || len(got) != 0 ||
		!strings.Contains(err.Error(), `line 258: the device "D256" is one more than 256`) {
		t.Errorf("257 devices: made %d, %v", len(got), err)
	}
	got, res, err := importInto(t, ingest.File{Body: strings.NewReader(file(1000)), SkipBad: true})
	if err != nil || len(got) != 256 || res.Skipped != 744 {
		t.Errorf("1000 devices: made %d, skipped %d, %v", len(got), res.Skipped, err)
	}
	_, _, err = importInto(t, ingest.File{Body: strings.NewReader("Date & Time,x [kW],X [kW]\n")})
	if gateway.CodeOf(err) != gateway.CodeInvalid ||
		!strings.Contains(err.Error(), `"X [kW]" is there twice`) {
		t.Errorf("a circuit twice: %v", err)
	}
	_, _, err = importInto(t, ingest.File{Body: strings.NewReader("Date & Time,a\u202eb [kW]\n")})
	if gateway.CodeOf(err) != gateway.CodeInvalid ||
		!strings.Contains(err.Error(), "line 1: the column") {
		t.Errorf("a circuit with a bad name: %v", err)
	}
}

// A file that cannot be read is not the fault of what it says.
func TestImporter_Import_readFails(t *testing.T) {
	broken := errors.New("the card is gone")
	const text = "device,time,power_w\nA,2026-01-01 00:00:00,5\nA,2026-01-01 00:"
	for name, body := range map[string]io.Reader{
		"plain":  brokenReader(text, broken),
		"quote":  brokenReader(text+`"`, broken),
		"packed": brokenReader(string(packed(t, text)[:40]), broken),
		"head":   brokenReader("\x1f\x8b", broken),
	} {
		_, _, err := importInto(t, ingest.File{Body: body, SkipBad: true})
		if !errors.Is(err, broken) || gateway.CodeOf(err) == gateway.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ingest.Importer{Now: func() time.Time { return now }}.Import(ctx, ingest.File{
		Name: "x", Zone: time.UTC, DryRun: true, Body: strings.NewReader(text),
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller went away: %v", err)
	}
}

func TestImporter_Import_longRows(t *testing.T) {
	const head = "device,time,power_w\n\n\r\nA,2026-01-01 00:00:00,5\n" // the row is line 4
	const most = 1 << 20
	row := func(n int) string { return "A,2026-01-01 00:01:00," + strings.Repeat(" ", n-24) + "5\n" }
	got, _, err := importInto(t, ingest.File{Body: strings.NewReader(head + row(most))})
	if err != nil || got["A"] != 2 {
		t.Errorf("a row of 1 MiB: %v, %v", got, err)
	}
	blank := strings.Repeat("\r\n", most*5/8) // the CSV reader passes over them within one row
	got, _, err = importInto(t, ingest.File{Body: strings.NewReader(head + blank + row(99))})
	if err != nil || got["A"] != 2 {
		t.Errorf("blank lines: %v, %v", got, err)
	}
	for name, text := range map[string]string{
		"one field":   row(most + 1),
		"one quote":   `"` + strings.Repeat("A,2026-01-01 00:00:00,5\n", most/24+1),
		"many fields": strings.Repeat(",", 2*most),
		"no line end": strings.Repeat("\r", 2*most),
	} {
		for _, skip := range []bool{false, true} {
			got, res, err := importInto(t, ingest.File{Body: strings.NewReader(head + text), SkipBad: skip})
			const want = "house.csv: line 5: the row is longer than 1 MiB"
			if skip {
				if err != nil || got["A"] != 1 || !strings.Contains(strings.Join(res.Bad, ""), want) {
					t.Errorf("%s: %v %+v %v", name, got, res, err)
				}
				continue
			}
			if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), want) ||
				len(got) != 0 {
				t.Errorf("%s: stored %v, %v", name, got, err)
			}
		}
	}
	long := strings.Repeat("x", 2*most)
	_, _, err = importInto(t, ingest.File{Body: strings.NewReader(long)})
	if gateway.CodeOf(err) != gateway.CodeInvalid ||
		!strings.Contains(err.Error(), "line 1: the row") {
		t.Errorf("a long first line: %v", err)
	}
}

// A small file of gzip can hold a row larger than memory.
func TestImporter_Import_bomb(t *testing.T) {
	file := slices.Concat(packed(t, "device,time,power_w\n"),
		bytes.Repeat(packed(t, strings.Repeat("x", 1<<20)), 256))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := importInto(t, ingest.File{Body: bytes.NewReader(file)})
	runtime.ReadMemStats(&after)
	if gateway.CodeOf(err) != gateway.CodeInvalid {
		t.Errorf("got %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("%d bytes were allocated for a row of 1 MiB at most", used)
	}
}

func TestImporter_Import_damaged(t *testing.T) {
	const head = "device,time,power_w,energy_wh\nA,2026-01-01 00:00:00,5,\n"
	for name, c := range map[string]struct{ row, want string }{
		"too few":     {"A,2026-01-01 00:01:00", "line 3: 2 fields instead of 4"},
		"too many":    {"A,2026-01-01 00:01:00,5,6,7", "line 3: 5 fields"},
		"no number":   {"A,2026-01-01 00:01:00,warm,", `power_w "warm"`},
		"not a time":  {"A,yesterday,5,", `time "yesterday"`},
		"infinite":    {"A,2026-01-01 00:01:00,Inf,", "power_w"},
		"NaN":         {"A,2026-01-01 00:01:00,,NaN", "energy_wh"},
		"no device":   {",2026-01-01 00:01:00,5,", "device is missing"},
		"stray quote": {`A,2026-01-01 00:01:00,"5,`, "line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			text := head + c.row + "\nA,2026-01-01 00:02:00,7,\n"
			got, _, err := importInto(t, ingest.File{Body: strings.NewReader(text)})
			if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "house.csv") {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
			if len(got) != 0 {
				t.Errorf("stored %v of a damaged file", got)
			}
			got, res, err := importInto(t, ingest.File{Body: strings.NewReader(text), SkipBad: true})
			if err != nil || got["A"] < 1 || res.Skipped < 1 || len(res.Bad) < 1 {
				t.Errorf("with SkipBad: %v %+v %v", got, res, err)
			}
		})
	}
}

func TestImporter_Import_storeFails(t *testing.T) {
	full := errors.New("the disk is full")
	im := ingest.Importer{
		Device: func(context.Context, string) (gateway.DeviceID, error) { return 1, nil },
		Append: func(context.Context, []gateway.Reading) error { return full },
		Now:    func() time.Time { return now },
	}
	_, err := im.Import(t.Context(), ingest.File{
		Name: "x", Zone: time.UTC, Body: strings.NewReader("device,time,power_w\nA,1700000000,5\n"),
	})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

func FuzzImporter(f *testing.F) {
	f.Add("device,time,power_w\nA,1700000000,5\n")
	f.Add("Date & Time,use [kW]\n2014-01-01 00:00:00,0.1\n")
	f.Add("device,time,power_w\n0\"0000000000")
	f.Add("Date & Time, [kW]\n\"000000000000000000000")
	f.Add("device,time,power_w,energy_wh\nA,2025-10-26 02:30:00,\"5\n")
	im := ingest.Importer{
		Device: func(context.Context, string) (gateway.DeviceID, error) { return 1, nil },
		Append: func(_ context.Context, rs []gateway.Reading) error {
			for _, r := range rs {
				if err := r.Check(gateway.InstantOf(now)); err != nil {
					return err
				}
			}
			return nil
		},
		Now: func() time.Time { return now },
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := im.Import(t.Context(), ingest.File{
			Name: "x", Zone: time.UTC, SkipBad: true, Body: strings.NewReader(text),
		})
		if err != nil && gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("%q: %v", text, err)
		}
	})
}
