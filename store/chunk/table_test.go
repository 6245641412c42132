package chunk_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
)

// drawTable draws a table, mostly of columns that hardly change.
func drawTable(t *rapid.T) chunk.Table {
	rows := rapid.IntRange(1, 400).Draw(t, "rows")
	tab := chunk.Table{
		Device: gateway.DeviceID(rapid.IntRange(1, 1000).Draw(t, "device")),
		Kind:   rapid.Uint8().Draw(t, "kind"),
		First:  gateway.Instant(rapid.Int64().Draw(t, "first")),
	}
	for range rapid.IntRange(1, chunk.MaxColumns).Draw(t, "columns") {
		v, most := rapid.Int64().Draw(t, "value"), rapid.SampledFrom([]int64{0, 1, 300, 1 << 62}).Draw(t, "most")
		seldom := rapid.IntRange(0, 3).Draw(t, "seldom")
		c := make([]int64, rows)
		for i := range c {
			if i%(1+seldom*7) == 0 {
				v += rapid.Int64Range(-most, most).Draw(t, "step")
			}
			c[i] = v
		}
		tab.Columns = append(tab.Columns, c)
	}
	return tab
}

func TestTable_roundTrip(t *testing.T) {
	var e chunk.Encoder
	var d chunk.Decoder
	var got chunk.Table
	rapid.Check(t, func(t *rapid.T) {
		want := drawTable(t)
		data, err := e.AppendTable([]byte("x"), want)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.ReadTable(&got, data[1:]); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestEncoder_AppendTable_refuses(t *testing.T) {
	var e chunk.Encoder
	for name, columns := range map[string][][]int64{
		"no column": nil, "no row": {{}}, "uneven": {{1, 2}, {1}},
		"too many rows": {make([]int64, chunk.MaxRows+1)}, "too many columns": make([][]int64, chunk.MaxColumns+1),
	} {
		if out, err := e.AppendTable([]byte("x"), chunk.Table{Columns: columns}); err == nil || string(out) != "x" {
			t.Errorf("%s: got %q, %v", name, out, err)
		}
	}
}

// FuzzTable looks for tables that are neither read nor refused.
func FuzzTable(f *testing.F) {
	var e chunk.Encoder
	draw := rapid.Custom(drawTable)
	for seed := range 8 {
		data, err := e.AppendTable(nil, draw.Example(seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:len(data)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d chunk.Decoder
		var tab chunk.Table
		err := d.ReadTable(&tab, seal(body))
		if err != nil {
			if !errors.Is(err, chunk.ErrDamaged) {
				t.Errorf("error %v", err)
			}
			return
		}
		if len(tab.Columns) == 0 || len(tab.Columns) > chunk.MaxColumns || len(tab.Columns[0]) > chunk.MaxRows {
			t.Errorf("%d columns", len(tab.Columns))
		}
	})
}
