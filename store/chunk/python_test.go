package chunk_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
	"github.com/wattle-home/wattle/store/household"
)

// TestFormat_python holds what FORMAT.md says by a reader that was written
// after it in another language.
func TestFormat_python(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Logf("python3 is not installed; nothing is tested here: %v", err)
		return
	}
	var all [][]gateway.Reading
	for _, jitter := range []int64{0, 60} {
		for _, rs := range household.Days(1, jitter) {
			all = append(all, rs[:3000])
		}
	}
	drawn := rapid.Custom(drawReadings)
	for seed := range 60 {
		all = append(all, drawn.Example(seed))
	}
	all = append(all, []gateway.Reading{
		{At: 1, Power: math.MinInt64, Has: gateway.HasPower},
		{At: 9, Power: math.MaxInt64, Energy: math.MinInt64, Has: 3},
		{At: math.MaxInt64, Energy: math.MaxInt64, Has: gateway.HasEnergy},
	})
	var in, want strings.Builder
	for _, rs := range all {
		var e chunk.Encoder
		data, err := e.Append(nil, rs)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&in, hex.EncodeToString(data))
		for _, r := range rs {
			power, energy := "", ""
			if r.Has&gateway.HasPower != 0 {
				power = fmt.Sprint(int64(r.Power))
			}
			if r.Has&gateway.HasEnergy != 0 {
				energy = fmt.Sprint(int64(r.Energy))
			}
			fmt.Fprintf(&want, "%d,%d,%s,%s\n", r.Device, int64(r.At), power, energy)
		}
	}
	tables := rapid.Custom(drawTable)
	for seed := range 40 {
		tab := tables.Example(seed)
		var e chunk.Encoder
		data, err := e.AppendTable(nil, tab)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&in, "rollup", hex.EncodeToString(data))
		at := int64(tab.First)
		for i := range tab.Columns[0] {
			fmt.Fprintf(&want, "%d,%d,%d", tab.Device, tab.Kind, at)
			for _, c := range tab.Columns {
				fmt.Fprintf(&want, ",%d", c[i])
			}
			fmt.Fprintln(&want)
			at += tab.Columns[0][i]
		}
	}
	script, err := os.ReadFile("../testdata/read_chunk.py")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", string(script))
	cmd.Stdin = strings.NewReader(in.String())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	got, expected := strings.Split(string(out), "\n"), strings.Split(want.String(), "\n")
	for i := range expected {
		if i >= len(got) || got[i] != expected[i] {
			t.Fatalf("line %d of %d (-want +got):\n%s", i, len(expected),
				cmp.Diff(expected[i:min(i+3, len(expected))], got[min(i, len(got)):min(i+3, len(got))]))
		}
	}
}
