package registry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/registry"
)

const noon gateway.Instant = 1_700_000_000_000

func plug(id gateway.DeviceID, topic string) gateway.Device {
	return gateway.Device{ID: id, Dialect: "native", Topic: topic, Alias: topic}
}

func TestRegistry_Find_followsChanges(t *testing.T) {
	r := registry.New()
	r.Put(plug(1, "heater"))
	r.Put(plug(2, "lamp"))
	r.Put(plug(1, "boiler")) // renamed
	if id, ok := r.Find("native", "boiler"); !ok || id != 1 {
		t.Errorf("boiler: got %d, %v", id, ok)
	}
	if _, ok := r.Find("native", "heater"); ok {
		t.Error("the old topic still finds the device")
	}
	r.Remove(2)
	if _, ok := r.Find("native", "lamp"); ok {
		t.Error("a removed device is still found")
	}
	want := []gateway.Device{plug(1, "boiler")}
	if diff := cmp.Diff(want, r.Devices()); diff != "" {
		t.Error(diff)
	}
}

func TestRegistry_Set_swapsTopics(t *testing.T) {
	r := registry.New()
	r.Set([]gateway.Device{plug(1, "a"), plug(2, "b"), plug(3, "c")})
	r.Apply(1, gateway.Report{Has: gateway.ReportPower, Power: 7}, noon)
	r.Set([]gateway.Device{plug(1, "b"), plug(2, "a")}) // they changed places; 3 is gone
	for topic, want := range map[string]gateway.DeviceID{"a": 2, "b": 1} {
		if id, ok := r.Find("native", topic); !ok || id != want {
			t.Errorf("%s: got %d, %v", topic, id, ok)
		}
	}
	if _, ok := r.Find("native", "c"); ok || len(r.Devices()) != 2 {
		t.Error("a device that is gone is still there")
	}
	if s, _ := r.State(1); s.Power != 7 {
		t.Errorf("the state is lost: %+v", s)
	}
}

func TestRegistry_Apply_partialReports(t *testing.T) {
	r := registry.New()
	r.Put(plug(1, "heater"))
	r.Apply(1, gateway.Report{Has: gateway.ReportPower | gateway.ReportOn, Power: 5000, On: true}, noon)
	s, ch := r.Apply(1, gateway.Report{Has: gateway.ReportEnergy, Energy: 77}, noon+1)
	if ch != registry.ChangedReading {
		t.Errorf("changed %b", ch)
	}
	want := gateway.DeviceState{
		Device: 1, Online: true, On: true, Power: 5000, Energy: 77,
		Known:     gateway.KnownOn | gateway.KnownPower | gateway.KnownEnergy,
		ReadingAt: noon + 1, LastSeen: noon + 1,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

func TestRegistry_Apply_lateReadingLeavesNewest(t *testing.T) {
	r := registry.New()
	r.Put(plug(1, "heater"))
	r.Apply(1, gateway.Report{Has: gateway.ReportPower, Power: 2}, noon)
	late := gateway.Report{Has: gateway.ReportPower | gateway.ReportAt, At: noon - 1000, Power: 1}
	s, ch := r.Apply(1, late, noon+5)
	if s.Power != 2 || s.ReadingAt != noon || ch&registry.ChangedReading != 0 {
		t.Errorf("got %v at %v, changed %b", s.Power, s.ReadingAt, ch)
	}
}

func TestRegistry_Apply_offlineThenReport(t *testing.T) {
	r := registry.New()
	r.Put(plug(1, "heater"))
	if _, news := r.SetOnline(1, true); !news {
		t.Error("coming online is news")
	}
	s, ch := r.Apply(1, gateway.Report{Has: gateway.ReportOnline, Online: false}, noon)
	if s.Online || ch != registry.ChangedOnline {
		t.Errorf("offline report: %+v, %b", s, ch)
	}
	s, ch = r.Apply(1, gateway.Report{Has: gateway.ReportOn, On: false}, noon)
	if !s.Online || ch != registry.ChangedOnline|registry.ChangedOn {
		t.Errorf("a device that reports is there: %+v, %b", s, ch)
	}
	if s, _ := r.Apply(9, gateway.Report{}, noon); s.Device != 0 {
		t.Error("an unknown device has a state")
	}
}

func TestRegistry_Reject_counts(t *testing.T) {
	r := registry.New()
	r.Put(plug(1, "heater"))
	r.Reject(1, "first", noon)
	r.Reject(1, "second", noon+1)
	s, _ := r.State(1)
	want := gateway.Rejected{Count: 2, LastReason: "second", LastAt: noon + 1}
	if s.Rejected != want {
		t.Errorf("got %+v", s.Rejected)
	}
}
