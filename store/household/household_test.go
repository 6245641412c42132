package household_test

import (
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store/household"
)

// TestHousehold holds that all readings are ones that a gateway believes, in
// order for each plug, with a counter that never falls.
func TestHousehold(t *testing.T) {
	for _, jitter := range []int64{0, 60} {
		h := household.New(jitter)
		last := map[gateway.DeviceID]gateway.Reading{}
		for range household.Plugs * 8640 {
			r := h.Next()
			if err := r.Check(household.Start + 2*24*gateway.Hour); err != nil {
				t.Fatal(err)
			}
			if old, ok := last[r.Device]; ok && (r.At <= old.At || r.Energy < old.Energy) {
				t.Fatalf("%v comes after %v", r, old)
			}
			last[r.Device] = r
		}
		if len(last) != household.Plugs {
			t.Errorf("%d plugs, want %d", len(last), household.Plugs)
		}
		if last[1].Energy == 0 {
			t.Error("the fridge drew nothing all day")
		}
	}
}
