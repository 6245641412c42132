package dialect_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect"
)

// capture is a message of a device.
type capture struct {
	At      time.Time `json:"at"`
	Topic   string    `json:"topic"`
	Payload string    `json:"payload"`
}

// captures returns the captures of a family, by their file's name.
func captures(t testing.TB, dir string) map[string]capture {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "testdata", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures of %s: %v", dir, err)
	}
	out := map[string]capture{}
	for _, f := range files {
		var c capture
		readJSON(t, f, &c)
		out[f] = c
	}
	return out
}

func readJSON(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// meaning is what a capture means, as its golden file has it.
type meaning struct {
	Device string         `json:"device"`
	Fields map[string]any `json:"fields"`
	Reason string         `json:"reason,omitempty"`
}

// families are the dialects' names with their directories.
var families = map[string]string{
	dialect.Native: "native", dialect.Tasmota: "tasmota", dialect.ShellyGen2: "shelly",
}

func TestDialect_Decode_captures(t *testing.T) {
	for name, dir := range families {
		row, ok := dialect.ByName(name)
		if !ok {
			t.Fatalf("no dialect %s", name)
		}
		for file, c := range captures(t, dir) {
			t.Run(file, func(t *testing.T) {
				reports, err := row.Decode(c.Topic, []byte(c.Payload), gateway.InstantOf(c.At))
				got := meaning{Fields: dialect.Fields(reports, err)}
				if len(reports) > 0 {
					got.Device = reports[0].Device
				}
				if err != nil {
					got.Reason = err.Error()
					if gateway.CodeOf(err) != gateway.CodeInvalid {
						t.Errorf("code %s", gateway.CodeOf(err))
					}
				}
				var want, plain meaning
				readJSON(t, strings.TrimSuffix(file, ".json")+".golden", &want)
				b, _ := json.Marshal(got)
				if err := json.Unmarshal(b, &plain); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, plain); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// Captures are recognised by topic and payload alone.
func TestGuess_captures(t *testing.T) {
	for name, dir := range families {
		for file, c := range captures(t, dir) {
			if c.Topic == "wattle/rpc" {
				continue // an answer to a client of ours
			}
			got, ok := dialect.Guess("", c.Topic, []byte(c.Payload))
			odd := strings.HasSuffix(file, "online-odd.json")
			if ok == odd || ok && got.Name != name {
				t.Errorf("%s: got %q, %v", file, got.Name, ok)
			}
		}
	}
}
