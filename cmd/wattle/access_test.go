package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
)

// TestAccess_changedRightsReachWhoIsConnected changes what a device may do
// while it is connected.
func TestAccess_changedRightsReachWhoIsConnected(t *testing.T) {
	g := startGateway(t)
	kettle := g.addDevice("Kettle", "native", "kettle")
	got := make(chan string, 10)
	gone := make(chan struct{})
	var once sync.Once
	c := connectPaho(t, g.mqtt, kettle.MQTT.Username, kettle.MQTT.Password, paho.ClientConfig{
		OnServerDisconnect: func(*paho.Disconnect) { once.Do(func() { close(gone) }) },
		OnClientError:      func(error) { once.Do(func() { close(gone) }) },
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) {
				got <- r.Packet.Topic
				return true, nil
			},
		},
	})
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: "wattle/kettle/set", QoS: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	g.must("PATCH", fmt.Sprintf("/devices/%d", kettle.ID), json.RawMessage(`{"topic":"kettle2"}`), nil)
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the client is still connected with its old rights")
	}
	boiler := g.addDevice("Boiler", "native", "kettle")
	g.must("POST", fmt.Sprintf("/devices/%d/commands", boiler.ID), json.RawMessage(`{"action":"on"}`), nil)
	if len(got) != 0 {
		t.Errorf("the old device received a command on %s", <-got)
	}
}

// TestAccess_revokedThoughTheCallerIsGone revokes a credential for a caller
// that hangs up.
func TestAccess_revokedThoughTheCallerIsGone(t *testing.T) {
	g := startGateway(t)
	var c struct {
		ID       gateway.CredentialID
		Username string `json:"mqtt_username"`
		Password string `json:"mqtt_password"`
	}
	g.must("POST", "/credentials", json.RawMessage(`{"name":"hub","kind":"client","topics":["#"],"access":"read"}`), &c)
	if _, _, err := g.d.access.authenticate(c.Username, []byte(c.Password), ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := g.d.store.RemoveCredential(ctx, c.ID); err != nil {
		t.Fatal(err)
	}
	cancel()
	g.d.changed(ctx, api.Change{Credentials: true, RemovedCredential: c.ID})
	if _, _, err := g.d.access.authenticate(c.Username, []byte(c.Password), ""); err == nil {
		t.Error("the revoked credential still connects")
	}
}

// TestAccess_changesAtOnce adds and removes devices from many sides; what the
// gateway shows is what the store has.
func TestAccess_changesAtOnce(t *testing.T) {
	g := startGateway(t)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range 10 {
				var d deviceJSON
				g.must("POST", "/devices", map[string]string{"alias": fmt.Sprintf("d%d-%d", n, i)}, &d)
				if i%2 == 0 {
					g.must("DELETE", fmt.Sprintf("/devices/%d", d.ID), nil, nil)
				}
			}
		})
	}
	wg.Wait()
	stored, err := g.d.store.Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if shown := g.d.devices.Devices(); len(stored) != 20 || len(shown) != len(stored) {
		t.Errorf("%d devices are stored, %d are shown, want 20", len(stored), len(shown))
	}
}

// TestAPI_oldReadingIsNotNow stores a reading of the past for a device that is
// not there.
func TestAPI_oldReadingIsNotNow(t *testing.T) {
	g := startGateway(t)
	var d deviceJSON
	g.must("POST", "/devices", json.RawMessage(`{"alias":"Meter","dialect":""}`), &d)
	path := fmt.Sprintf("/devices/%d", d.ID)
	g.must("POST", path+"/readings", json.RawMessage(`{"time":"2020-01-01T00:00:00Z","power_w":1234}`), nil)
	g.get(path, &d)
	if d.Online || d.PowerW != nil {
		t.Errorf("a reading of 2020 shows the device online: %v, with %v W", d.Online, d.PowerW)
	}
	g.must("POST", path+"/readings", json.RawMessage(`{"power_w":12}`), nil)
	g.get(path, &d)
	if d.PowerW == nil || *d.PowerW != 12 {
		t.Errorf("a reading of now shows %v W", d.PowerW)
	}
}

// TestAccess_aReaderStays adds a device while a client that only reads is
// connected, and lets a second connection of a device go.
func TestAccess_aReaderStays(t *testing.T) {
	g := startGateway(t)
	var hub struct {
		Username string `json:"mqtt_username"`
		Password string `json:"mqtt_password"`
	}
	g.must("POST", "/credentials",
		json.RawMessage(`{"name":"hub","kind":"client","topics":["#"],"access":"read"}`), &hub)
	reader := connectPaho(t, g.mqtt, hub.Username, hub.Password, paho.ClientConfig{})
	d := g.addDevice("Lamp", "native", "lamp")
	if _, err := reader.Subscribe(t.Context(), &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: "wattle/lamp/reading"}},
	}); err != nil {
		t.Errorf("the reader was disconnected: %v", err)
	}
	newPlug(t, g, d)
	run(t, "mosquitto_pub", g.mosquitto(d, "-i", "other", "-t", "wattle/lamp/reading", "-m", "5")...)()
	eventually(t, "the reading", func() bool { return len(g.readings(d.ID)) == 1 })
	if !g.state(d.ID).Online {
		t.Error("the device is offline though one of its connections stands")
	}
}
