package chunk_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/chunk"
	"github.com/wattle-home/wattle/store/household"
)

// roundTrip packs and unpacks rs and returns the chunk.
func roundTrip(tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}, rs []gateway.Reading,
) []byte {
	tb.Helper()
	var e chunk.Encoder
	data, err := e.Append(nil, rs)
	if err != nil {
		tb.Fatal(err)
	}
	h, err := chunk.ReadHeader(data)
	want := chunk.Header{
		Device: rs[0].Device, Count: len(rs), First: rs[0].At, Last: rs[len(rs)-1].At,
	}
	if h != want || err != nil {
		tb.Fatalf("header %+v, %v; want %+v", h, err, want)
	}
	var d chunk.Decoder
	got, err := d.Append(nil, data)
	if err != nil {
		tb.Fatal(err)
	}
	if len(got) != len(rs) {
		tb.Fatalf("%d readings, want %d", len(got), len(rs))
	}
	for i := range rs {
		if got[i] != rs[i] {
			tb.Fatalf("reading %d is %+v, want %+v", i, got[i], rs[i])
		}
	}
	return data
}

func TestEncoder_roundTrip(t *testing.T) {
	const both = gateway.HasPower | gateway.HasEnergy
	for _, c := range []struct {
		name string
		rs   []gateway.Reading
	}{
		{"one", []gateway.Reading{{Device: 7, At: 5, Power: -3, Has: gateway.HasPower}}},
		{"one counter", []gateway.Reading{{Device: 7, At: -5, Energy: 3, Has: gateway.HasEnergy}}},
		{"extremes", []gateway.Reading{
			{At: math.MinInt64, Power: math.MaxInt64, Energy: math.MinInt64, Has: both},
			{At: math.MaxInt64 - 3, Power: math.MinInt64, Energy: math.MaxInt64, Has: both},
		}},
		{"extreme power", []gateway.Reading{
			{At: 1, Power: math.MinInt64, Has: gateway.HasPower},
			{At: 2, Power: math.MinInt64, Has: gateway.HasPower},
			{At: 3, Energy: math.MinInt64, Has: gateway.HasEnergy},
		}},
		{"counter before power", []gateway.Reading{
			{At: 1000, Energy: 4000, Has: gateway.HasEnergy},
			{At: 2000, Power: 3_600_000, Has: gateway.HasPower},
			{At: 3000, Energy: 5000, Has: gateway.HasEnergy},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { roundTrip(t, c.rs) })
	}
}

// drawReadings draws readings of a device with a beat, pauses, noise, missing
// fields and a counter that may follow the power.
func drawReadings(rt *rapid.T) []gateway.Reading {
	n := rapid.SampledFrom([]int{1, 2, 3, 20, 300, 3000}).Draw(rt, "count")
	seed := rapid.Uint64().Draw(rt, "seed")
	roll := func(below int64) int64 { // cheap, and many
		seed = seed*6364136223846793005 + 1442695040888963407
		return int64(seed>>33) % below
	}
	beat := rapid.SampledFrom([]int64{1, 10, 1000, 10_000, 10_003, 900_000}).Draw(rt, "beat")
	jitter := rapid.SampledFrom([]int64{1, 2, 121, 5000, 1 << 30}).Draw(rt, "jitter")
	unit := rapid.SampledFrom([]int64{1, 100, 1000}).Draw(rt, "power unit")
	noise := rapid.SampledFrom([]int64{1, 4, 300, 100_000}).Draw(rt, "noise")
	counterUnit := rapid.SampledFrom([]int64{1, 10, 1000, 1_000_000}).Draw(rt, "counter unit")
	odd := rapid.SampledFrom([]int64{0, 1, 20}).Draw(rt, "oddities in a hundred")
	has := rapid.IntRange(1, 3).Draw(rt, "fields")
	sign := rapid.SampledFrom([]int64{1, -1}).Draw(rt, "sign")

	var rs []gateway.Reading
	at, level, energy := rapid.Int64Range(0, 1<<41).Draw(rt, "start"), int64(0), int64(0)
	for range n {
		step := beat + roll(jitter)
		r := gateway.Reading{Device: 3, Has: gateway.ReadingFields(has)}
		if roll(100) < odd {
			step += beat * roll(50)
			r.Has = gateway.ReadingFields(1 + roll(3))
			level = roll(3000)
		}
		power := sign * (level + roll(noise)) * unit
		at += step
		energy += power * step
		r.At = gateway.Instant(at)
		if r.Has&gateway.HasPower != 0 {
			r.Power = gateway.Power(power)
		}
		if r.Has&gateway.HasEnergy != 0 {
			r.Energy = gateway.Energy(energy / 3_600_000 / counterUnit * counterUnit)
		}
		rs = append(rs, r)
	}
	return rs
}

func TestEncoder_roundTrip_property(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { roundTrip(rt, drawReadings(rt)) })
}

func TestEncoder_roundTrip_household(t *testing.T) {
	for _, jitter := range []int64{0, 60} {
		bytes, readings := 0, 0
		for _, rs := range household.Days(1, jitter) {
			bytes += len(roundTrip(t, rs))
			readings += len(rs)
		}
		// What other stores need: 0.455 and 2.72.
		most := map[int64]float64{0: 0.45, 60: 1.3}[jitter]
		if got := float64(bytes) / float64(readings); got > most {
			t.Errorf("jitter %d ms: %.3f bytes a reading, want %.2f at most", jitter, got, most)
		}
	}
}

func TestEncoder_refuses(t *testing.T) {
	good := gateway.Reading{Device: 1, At: 10, Has: gateway.HasPower}
	earlier, other, hollow, strange := good, good, good, good
	earlier.At = 10
	other.Device, other.At = 2, 11
	hollow.Has, hollow.At = 0, 11
	strange.Has, strange.At = 4, 11
	for name, rs := range map[string][]gateway.Reading{
		"none": nil, "same instant": {good, earlier}, "two devices": {good, other},
		"no field": {good, hollow}, "unknown field": {good, strange},
		"too many":        make([]gateway.Reading, chunk.MaxReadings+1),
		"negative device": {{Device: -1, Has: gateway.HasPower}},
	} {
		var e chunk.Encoder
		if _, err := e.Append(nil, rs); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("%s: got error %v, want it invalid", name, err)
		}
	}
}

// TestDecoder_appends holds both directions to leave alone what is there.
func TestDecoder_appends(t *testing.T) {
	first := []gateway.Reading{{Device: 1, At: 1, Power: 5, Has: gateway.HasPower}}
	second := []gateway.Reading{{Device: 1, At: 2, Power: 6, Has: gateway.HasPower}}
	var e chunk.Encoder
	data, err := e.Append([]byte("before"), second)
	if err != nil || string(data[:6]) != "before" {
		t.Fatalf("got %q, %v", data, err)
	}
	var d chunk.Decoder
	got, err := d.Append(first, data[6:])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(first, second...), got); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
	data[8] ^= 1
	got, err = d.Append(first, data[6:])
	if !errors.Is(err, chunk.ErrDamaged) {
		t.Errorf("got error %v, want %v", err, chunk.ErrDamaged)
	}
	if diff := cmp.Diff(first, got); diff != "" {
		t.Errorf("readings after damage (-want +got):\n%s", diff)
	}
}

// TestDecoder_flips flips each bit of a chunk, and cuts it at each byte.
func TestDecoder_flips(t *testing.T) {
	data := roundTrip(t, household.Days(1, 60)[1][6000:6500])
	var d chunk.Decoder
	for i := range len(data) * 8 {
		data[i/8] ^= 1 << (i % 8)
		if _, err := d.Append(nil, data); !errors.Is(err, chunk.ErrDamaged) {
			t.Fatalf("bit %d flipped: got error %v, want %v", i, err, chunk.ErrDamaged)
		}
		data[i/8] ^= 1 << (i % 8)
	}
	for n := range data {
		if _, err := d.Append(nil, data[:n]); !errors.Is(err, chunk.ErrDamaged) {
			t.Fatalf("cut to %d bytes: got error %v, want %v", n, err, chunk.ErrDamaged)
		}
		if _, err := chunk.ReadHeader(data[:n]); !errors.Is(err, chunk.ErrDamaged) {
			t.Fatalf("header, cut to %d bytes: got error %v", n, err)
		}
	}
}

// seal returns the body of a chunk with the sum that belongs to it.
func seal(body []byte) []byte {
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	return binary.LittleEndian.AppendUint32(body[:len(body):len(body)], sum)
}

// FuzzDecoder unpacks whatever has the right checksum. What it takes for a
// chunk comes back when packed again.
func FuzzDecoder(f *testing.F) {
	var e chunk.Encoder
	days := household.Days(1, 60)
	for _, rs := range [][]gateway.Reading{
		days[0][:1], days[1][6000:6200], days[3][4000:6000], household.Days(1, 0)[2][3000:5000],
		{{Device: 1, At: 1, Energy: 5, Has: 2}, {Device: 1, At: 9, Power: 5, Has: 1}},
	} {
		data, err := e.Append(nil, rs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:len(data)-4])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d chunk.Decoder
		rs, err := d.Append(nil, seal(body))
		if err != nil {
			if !errors.Is(err, chunk.ErrDamaged) || len(rs) > 0 {
				t.Fatalf("%d readings, error %v", len(rs), err)
			}
			return
		}
		if rs[0].Device >= 0 {
			roundTrip(t, rs)
		}
	})
}

func TestBatch_roundTrip(t *testing.T) {
	const both = gateway.HasPower | gateway.HasEnergy
	want := []gateway.Reading{
		{Device: 1, At: 5, Power: -7, Has: gateway.HasPower},
		{Device: 1, At: 4, Energy: 9, Has: gateway.HasEnergy},
		{Device: 9, At: math.MaxInt64, Power: math.MinInt64, Energy: math.MaxInt64, Has: both},
		{Device: 9, At: math.MinInt64, Power: math.MaxInt64, Energy: math.MinInt64, Has: both},
	}
	data := chunk.AppendBatch([]byte("x"), want)[1:]
	got, err := chunk.ReadBatch(want[:1:1], data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(want[:1:1], want...), got); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
	for i := range len(data) * 8 {
		data[i/8] ^= 1 << (i % 8)
		got, err := chunk.ReadBatch(want[:1:1], data)
		if !errors.Is(err, chunk.ErrDamaged) || len(got) != 1 {
			t.Fatalf("bit %d flipped: %d readings, error %v", i, len(got), err)
		}
		data[i/8] ^= 1 << (i % 8)
	}
}

// FuzzBatch reads whatever has the right checksum.
func FuzzBatch(f *testing.F) {
	data := chunk.AppendBatch(nil, household.Days(1, 60)[3][5000:5010])
	f.Add(data[:len(data)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		rs, err := chunk.ReadBatch(nil, seal(body))
		if err != nil {
			if !errors.Is(err, chunk.ErrDamaged) || len(rs) > 0 {
				t.Fatalf("%d readings, error %v", len(rs), err)
			}
			return
		}
		again, err := chunk.ReadBatch(nil, chunk.AppendBatch(nil, rs))
		if diff := cmp.Diff(rs, again); diff != "" || err != nil {
			t.Fatalf("error %v, readings (-want +got):\n%s", err, diff)
		}
	})
}
