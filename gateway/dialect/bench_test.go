package dialect_test

import (
	"encoding/json"
	"testing"

	"github.com/wattle-home/wattle/gateway/dialect"
)

// benchmarks are usual readings with what encoding/json would read them into.
var benchmarks = []struct {
	name, topic, payload string
	std                  func() any
}{
	{
		dialect.Native, "wattle/kettle/reading",
		`{"time":"2025-03-30T11:59:30Z","power_w":1893.4,"energy_wh":88412.125}`,
		func() any {
			return &struct {
				Time   string   `json:"time"`
				Power  *float64 `json:"power_w"`
				Energy *float64 `json:"energy_wh"`
			}{}
		},
	},
	{
		dialect.Tasmota, "tele/fridge/SENSOR",
		`{"Time":"2025-03-30T14:00:00","ENERGY":{"TotalStartTime":"2023-04-02T08:11:09",` +
			`"Total":412.837,"Yesterday":1.204,"Today":0.377,"Period":6,"Power":72,"ApparentPower":101,` +
			`"ReactivePower":71,"Factor":0.71,"Voltage":231,"Current":0.438}}`,
		func() any {
			return &struct {
				Time   string
				ENERGY struct{ Total, Power, Voltage, Current *float64 }
			}{}
		},
	},
	{
		dialect.ShellyGen2, "shellyplusplugs-a8032ab00001/status/switch:0",
		`{"id":0,"source":"MQTT","output":true,"apower":41.7,"voltage":229.8,"current":0.312,` +
			`"aenergy":{"total":90122.417,"by_minute":[690.2,701.1,688.9],"minute_ts":1743335940},` +
			`"temperature":{"tC":31.2,"tF":88.1}}`,
		func() any {
			return &struct {
				Source                   string
				Output                   *bool
				Apower, Voltage, Current *float64
				Aenergy                  struct{ Total *float64 }
			}{}
		},
	},
}

// BenchmarkDecode compares a whole Decode with encoding/json reading the
// payload alone.
func BenchmarkDecode(b *testing.B) {
	for _, bb := range benchmarks {
		payload := []byte(bb.payload)
		b.Run(bb.name+"/wattle", func(b *testing.B) {
			d := row(b, bb.name)
			b.ReportAllocs()
			for b.Loop() {
				if rs, err := d.Decode(bb.topic, payload, noon); err != nil || len(rs) != 1 {
					b.Fatal(rs, err)
				}
			}
		})
		b.Run(bb.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := json.Unmarshal(payload, bb.std()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A usual reading costs two allocations at most.
func TestDialect_Decode_allocations(t *testing.T) {
	for _, bb := range benchmarks {
		d, payload := row(t, bb.name), []byte(bb.payload)
		n := testing.AllocsPerRun(100, func() {
			if rs, err := d.Decode(bb.topic, payload, noon); err != nil || len(rs) != 1 {
				t.Fatal(rs, err)
			}
		})
		if n > 2 {
			t.Errorf("%s: %v allocations", bb.name, n)
		}
	}
}
