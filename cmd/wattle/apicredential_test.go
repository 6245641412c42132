package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/wattle-home/wattle/gateway"
)

// mayConnect reports whether a device's secret is good.
func (g *testGateway) mayConnect(user, password string) bool {
	_, _, err := g.d.access.authenticate(user, []byte(password), "")
	return err == nil
}

// TestAPI_deviceLearnsMQTT gives a device without MQTT a dialect.
func TestAPI_deviceLearnsMQTT(t *testing.T) {
	g := startGateway(t)
	var d deviceJSON
	g.must("POST", "/devices", json.RawMessage(`{"alias":"Meter","dialect":""}`), &d)
	if d.MQTT != nil {
		t.Fatalf("a device without MQTT has the credential %+v", d.MQTT)
	}
	path := fmt.Sprintf("/devices/%d", d.ID)
	l := leaver{addCredential: func() error { return gateway.Unavailablef("the card is full") }}
	if w := g.sendAndLeave(&l, "PATCH", path, `{"dialect":"native","room":"Hall"}`); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a credential: got %d %s", w.Code, w.Body)
	}
	if g.get(path, &d); d.Dialect != "" || d.Room != "" {
		t.Errorf("a change that failed leaves %+v", d)
	}
	g.must("PATCH", path, json.RawMessage(`{"dialect":"native"}`), &d)
	if d.MQTT == nil || d.MQTT.Channel != "wattle/meter/set" || !g.mayConnect(d.MQTT.Username, d.MQTT.Password) {
		t.Fatalf("it connects as %+v", d.MQTT)
	}
	first := *d.MQTT
	for _, change := range []string{`{"room":"Hall"}`, `{"dialect":"","topic":""}`, `{"dialect":"tasmota"}`} {
		d.MQTT = nil
		if g.must("PATCH", path, json.RawMessage(change), &d); d.MQTT != nil {
			t.Errorf("%s makes another credential", change)
		}
	}
	if !g.mayConnect(first.Username, first.Password) {
		t.Error("the first credential is void")
	}
}

// TestAPI_renewDeviceCredential renews the secret of a device that is there.
func TestAPI_renewDeviceCredential(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Lamp", "native", "lamp")
	path := fmt.Sprintf("/devices/%d", d.ID)
	g.must("PATCH", path, json.RawMessage(`{"alias":"Floor lamp"}`), nil)
	gone := make(chan struct{}, 8)
	connectPaho(t, g.mqtt, d.MQTT.Username, d.MQTT.Password, paho.ClientConfig{
		OnClientError:      func(error) { gone <- struct{}{} },
		OnServerDisconnect: func(*paho.Disconnect) { gone <- struct{}{} },
	})
	old := *d.MQTT
	var now struct {
		Username, Password, Channel, Broadcast string
		Topics                                 []string
	}
	g.must("POST", path+"/credential", nil, &now)
	if now.Username != old.Username || now.Channel != old.Channel || now.Broadcast != old.Broadcast ||
		len(now.Topics) != len(old.Topics) {
		t.Errorf("it connects as %+v, before as %+v", now, old)
	}
	if g.mayConnect(old.Username, old.Password) || !g.mayConnect(now.Username, now.Password) {
		t.Error("the old secret is good still, or the new one is not")
	}
	select {
	case <-gone:
	case <-time.After(45 * time.Second):
		t.Error("a client with the old secret stays connected")
	}
	connectPaho(t, g.mqtt, now.Username, now.Password, paho.ClientConfig{})
	if e := g.lastEvent(gateway.EventSecurity); e.Text != "the credential of Floor lamp was renewed" {
		t.Errorf("the event is %+v", e)
	}
	// One that was revoked altogether is made anew.
	g.must("DELETE", "/credentials/"+now.Username, nil, nil)
	g.must("POST", path+"/credential", nil, &now)
	if !g.mayConnect(now.Username, now.Password) {
		t.Error("a credential after none is not good")
	}
	l := leaver{addCredential: func() error { return gateway.Unavailablef("the card is full") }}
	if w := g.sendAndLeave(&l, "POST", path+"/credential", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a new one: got %d %s", w.Code, w.Body)
	}
	if g.mayConnect(now.Username, now.Password) {
		t.Error("a credential that is gone is good still")
	}
}
