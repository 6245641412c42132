package api

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
)

// What is written by hand is what the standard library would write.
func TestAppend_likeStandard(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Europe/Amsterdam"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		stamps := newStamper(zone)
		at := gateway.Instant(rapid.Int64Range(-3_000_000_000_000, 4_000_000_000_000).Draw(t, "at"))
		for range 5 {
			at += gateway.Instant(rapid.SampledFrom([]int64{-1, 1, 1000, 86_400_000, 31e9}).Draw(t, "step"))
			want := `"` + at.Time().In(zone).Format("2006-01-02T15:04:05.999Z07:00") + `"`
			if got := string(stamps.append(nil, at)); got != want {
				t.Errorf("%d is %s, want %s", at, got, want)
			}
		}
		v := rapid.Int64Range(-1e15, 1e15).Draw(t, "value")
		for _, unit := range []int64{1000, 1_000_000} {
			var back float64
			text := appendDecimal(nil, v, unit)
			if err := json.Unmarshal(text, &back); err != nil || back != float64(v)/float64(unit) {
				t.Errorf("%d/%d is %s: %v", v, unit, text, err)
			}
		}
	})
	if got := string(appendDecimal(nil, 0, 1000)); got != "0" {
		t.Errorf("0 is %s", got)
	}
}

func TestAppendPoints_isJSON(t *testing.T) {
	points := []Point{
		{From: 1_743_000_000_123, Mean: 1500, Min: -20, Max: 2_000_001, Energy: 1}, {From: 0},
	}
	var got []struct {
		Time                      time.Time
		Mean_w, Min_w, Max_w, KWh float64
		Energy_kwh                float64
	}
	text := appendPoints(nil, newStamper(time.UTC), points)
	if err := json.Unmarshal(text, &got); err != nil || len(got) != 2 {
		t.Fatal(string(text), err)
	}
	if g := got[0]; g.Time.UnixMilli() != 1_743_000_000_123 || g.Mean_w != 1.5 || g.Min_w != -0.02 ||
		g.Max_w != 2000.001 || g.Energy_kwh != 0.000001 {
		t.Error(string(text))
	}
	if text := string(appendPoints(nil, newStamper(time.UTC), nil)); text != "[]" {
		t.Error(text)
	}
}

func TestAppendReadings_nullIsNotMeasured(t *testing.T) {
	text := string(appendReadings(nil, newStamper(time.UTC), []gateway.Reading{
		{At: 1_743_000_000_000, Power: -500, Has: gateway.HasPower},
		{At: 1_743_000_001_000, Energy: 12_345, Has: gateway.HasEnergy},
	}))
	want := `[{"time":"2025-03-26T14:40:00Z","power_w":-0.5,"energy_wh":null},` +
		`{"time":"2025-03-26T14:40:01Z","power_w":null,"energy_wh":12.345}]`
	if text != want {
		t.Errorf("got %s\nwant %s", text, want)
	}
}
