package ingest_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/ingest"
)

// importInto reads text into memory.
func importInto(t *testing.T, f ingest.File) (map[string]int, ingest.Imported, error) {
	t.Helper()
	got := map[string]int{}
	names := map[gateway.DeviceID]string{}
	im := ingest.Importer{
		Device: func(_ context.Context, alias string) (gateway.DeviceID, error) {
			id := gateway.DeviceID(len(names) + 1)
			names[id] = alias
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

func TestImporter_Import_gzip(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, "device,time,power_w\nA,2026-01-01 00:00:00,5\nB,2026-01-01 00:00:00,6\n")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	got, res, err := importInto(t, ingest.File{Body: bytes.NewReader(packed.Bytes())})
	if err != nil || got["A"] != 1 || got["B"] != 1 || res.Rows != 2 {
		t.Errorf("%v %+v %v", got, res, err)
	}
	cut := packed.Bytes()[:packed.Len()-9]
	if got, _, err := importInto(t, ingest.File{Body: bytes.NewReader(cut)}); err == nil || len(got) != 0 {
		t.Errorf("a cut file: stored %v, %v", got, err)
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
