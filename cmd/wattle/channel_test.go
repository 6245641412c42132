package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAccess_channels sets topics as channels that belong to others.
func TestAccess_channels(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	iron := g.addDevice("Iron", "tasmota", "iron")
	g.addDevice("Kettle", "native", "kettle")
	put := func(channel string) int {
		t.Helper()
		return g.do("PUT", fmt.Sprintf("/api/v1/devices/%d/schedule", lamp.ID), map[string]string{"channel": channel}).status
	}
	for _, channel := range []string{
		"stat/iron/cmd", "tele/iron/SENSOR", "cmnd/iron/POWER", "wattle/kettle/reading", "wattle/kettle/set",
		"wattle/global/anna", "a/#", "+/x", "$SYS/x",
	} {
		if got := put(channel); got != http.StatusBadRequest {
			t.Errorf("channel %s: got %d, want 400", channel, got)
		}
	}
	if got := put("home/lights/lamp"); got != http.StatusOK {
		t.Fatalf("a channel of nobody: got %d", got)
	}
	// Nobody else may publish there, not even a device whose topics cover it.
	var hub struct {
		Username string `json:"mqtt_username"`
		Password string `json:"mqtt_password"`
	}
	g.must("POST", "/credentials", json.RawMessage(`{"name":"hub","kind":"client","topics":["home/#"]}`), &hub)
	_, grant, err := g.d.access.authenticate(hub.Username, []byte(hub.Password), "")
	if err != nil || grant.MayPublish("home/lights/lamp") || !grant.MayPublish("home/lights/other") {
		t.Errorf("the hub's grant is %+v, %v", grant, err)
	}
	_, grant, err = g.d.access.authenticate(lamp.MQTT.Username, []byte(lamp.MQTT.Password), "")
	if err != nil || !grant.MaySubscribe("home/lights/lamp") || grant.MayPublish("home/lights/lamp") {
		t.Errorf("the lamp's grant is %+v, %v", grant, err)
	}
	if _, grant, _ := g.d.access.authenticate(iron.MQTT.Username, []byte(iron.MQTT.Password), ""); grant.MayRead("home/lights/lamp") {
		t.Error("another device reads the channel")
	}
	if !strings.HasPrefix(lamp.MQTT.Channel, "wattle/lamp/") {
		t.Errorf("the lamp's own channel is %s", lamp.MQTT.Channel)
	}
}
