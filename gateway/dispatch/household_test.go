package dispatch_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dispatch"
)

// newFamily has two members. Anna (1) has a PC (10), a plug (11), a boiler on
// a relay (12), a freezer that is always on (13) and a meter (14); Ben (2) has
// a PC (20) and a NAS that is always on (21). Nobody added the plug 30.
func newFamily() *house {
	h := newHouse()
	h.members = []gateway.Member{{ID: 1, Name: "anna"}, {ID: 2, Name: "ben"}}
	on := gateway.Schedule{AlwaysOn: true}
	h.devices = []gateway.Device{
		{ID: 10, Alias: "pc", Dialect: "native", Topic: "pc", Member: 1},
		{ID: 11, Alias: "plug", Dialect: "tasmota", Topic: "plug", Member: 1},
		{ID: 12, Alias: "boiler", Relay: &gateway.Relay{Line: "gpiochip0:17"}, Member: 1},
		{ID: 13, Alias: "freezer", Dialect: "tasmota", Topic: "freezer", Member: 1, Schedule: on},
		{ID: 14, Alias: "meter", Dialect: "meter", Topic: "meter", Member: 1},
		{ID: 20, Alias: "pc2", Dialect: "native", Topic: "pc2", Member: 2},
		{ID: 21, Alias: "nas", Dialect: "native", Topic: "nas", Member: 2, Schedule: on},
		{ID: 30, Alias: "old", Dialect: "tasmota", Topic: "old"},
	}
	return h
}

// household asks and returns the messages with the broadcasts' kinds for
// their payloads.
func household(t *testing.T, h *house, kind, member string) []string {
	t.Helper()
	cfg := h.config()
	publish := cfg.Publish
	cfg.Publish = func(m gateway.Message) error {
		var b map[string]any
		if json.Unmarshal(m.Payload, &b) == nil {
			if b["id"] == "" || b["sender"] != "scheduler" || b["urgent"] != false || m.QoS != 1 ||
				m.Expires != gateway.InstantOf(h.start)+30*gateway.Second {
				t.Errorf("broadcast: %s, QoS %d, expires %v", m.Payload, m.QoS, m.Expires)
			}
			m.Payload = []byte(b["kind"].(string))
		}
		return publish(m)
	}
	d, err := dispatch.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.Run(t.Context()) }()
	if err := d.Household(kind, member, gateway.Source{Kind: "api", Member: "anna"}); err != nil {
		t.Error(err)
	}
	synctest.Wait()
	return h.sentNow()
}

func TestDispatcher_Household(t *testing.T) {
	tests := []struct {
		name, kind, member string
		sent, relays       []string
	}{
		{
			"startup of all", "startup", "",
			[]string{
				"0 wattle/global/anna startup", "0 wattle/global/ben startup",
				"0 plug on", "0 freezer on", "0 old on",
			},
			[]string{"12 true"},
		},
		{
			"shutdown of a member spares what is always on", "shutdown", "anna",
			[]string{"0 wattle/global/anna shutdown", "0 plug off"},
			[]string{"12 false"},
		},
		{
			"no broadcast that would reach what is always on", "shutdown", "ben",
			[]string{"0 pc2 off"},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newFamily()
				if diff := cmp.Diff(tt.sent, household(t, h, tt.kind, tt.member)); diff != "" {
					t.Errorf("messages: want -, got +\n%s", diff)
				}
				if diff := cmp.Diff(tt.relays, h.relays); diff != "" {
					t.Errorf("relays: want -, got +\n%s", diff)
				}
			})
		})
	}
}

func TestDispatcher_Household_source(t *testing.T) {
	h := newFamily()
	cfg := h.config()
	var got []gateway.Source
	cfg.Record = func(c gateway.Command) { got = append(got, c.Source) }
	d, err := dispatch.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.publish = errors.New("nobody listens") // a broadcast without listeners is no failure
	if err := d.Household("shutdown", "ben", gateway.Source{Kind: "api", Member: "anna"}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]gateway.Source{{Kind: "shutdown", Member: "anna"}}, got); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
}

func TestDispatcher_Household_refuses(t *testing.T) {
	h := newFamily()
	d, err := dispatch.New(h.config())
	if err != nil {
		t.Fatal(err)
	}
	err = d.Household("explode", "", gateway.Source{})
	if gateway.CodeOf(err) != gateway.CodeInvalid {
		t.Errorf("unknown kind: got %v", err)
	}
	err = d.Household("startup", "zoe", gateway.Source{})
	if gateway.CodeOf(err) != gateway.CodeNotFound {
		t.Errorf("unknown member: got %v", err)
	}
	if len(h.sent)+len(h.records) != 0 {
		t.Errorf("something was sent: %v %v", h.sent, h.records)
	}
}
