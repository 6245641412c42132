package broker_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	v3 "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
)

// heard collects what a client got.
type heard struct {
	mu  sync.Mutex
	all []string
}

// add adds a line.
func (h *heard) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, fmt.Sprintf(format, args...))
}

// lines returns what was added.
func (h *heard) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// wait waits for n lines.
func (h *heard) wait(t *testing.T, n int) []string {
	t.Helper()
	eventually(t, fmt.Sprintf("%d lines", n), func() bool { return len(h.lines()) >= n })
	return h.lines()
}

// joinV3 connects a real client of MQTT 3.1.1.
func joinV3(t *testing.T, h *house, user, id string, clean bool, got *heard) v3.Client {
	t.Helper()
	o := v3.NewClientOptions().AddBroker("tcp://"+h.addr).SetUsername(user).SetPassword(user).
		SetClientID(id).SetCleanSession(clean).SetProtocolVersion(4).SetAutoReconnect(false).
		SetWill("homes/"+id, "offline", 1, false)
	if got != nil {
		o.SetDefaultPublishHandler(func(_ v3.Client, m v3.Message) {
			got.add("%s %s %d %t", m.Topic(), m.Payload(), m.Qos(), m.Retained())
		})
	}
	c := v3.NewClient(o)
	finish(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(10) })
	return c
}

// finish waits for a token without an error.
func finish(t *testing.T, token v3.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatal("no answer")
	}
	if err := token.Error(); err != nil {
		t.Fatal(err)
	}
}

func TestPaho_v3(t *testing.T) {
	h := open(t, nil)
	var got heard
	sub := joinV3(t, h, "hass", "sub", false, &got)
	finish(t, sub.SubscribeMultiple(map[string]byte{"homes/#": 2, "r/+": 1}, nil))
	pub := joinV3(t, h, "nodred", "pub", true, nil)
	for qos := range byte(3) {
		finish(t, pub.Publish("homes/a", qos, false, fmt.Sprint("m", qos)))
	}
	want := []string{"homes/a m0 0 false", "homes/a m1 1 false", "homes/a m2 2 false"}
	if diff := cmp.Diff(want, got.wait(t, 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	finish(t, pub.Publish("r/a", 1, true, "kept"))
	got.wait(t, 4)

	// The session keeps messages in order while its client is away.
	sub.Disconnect(10)
	eventually(t, "sub is gone", func() bool { return h.Stats().Connections == 1 })
	want = nil
	for i := range 50 {
		finish(t, pub.Publish("homes/a", 1, false, fmt.Sprint("away", i)))
		want = append(want, fmt.Sprintf("homes/a away%d 1 false", i))
	}
	var later heard
	joinV3(t, h, "hass", "sub", false, &later)
	if diff := cmp.Diff(want, later.wait(t, 50)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Taken over, the former connection's will is sent.
	joinV3(t, h, "nodred", "pub", true, nil)
	if all := later.wait(t, 51); all[50] != "homes/pub offline 1 false" {
		t.Errorf("got %q, want the will", all[50])
	}
	var fresh heard
	other := joinV3(t, h, "nodred", "other", true, &fresh)
	finish(t, other.Subscribe("r/#", 1, nil))
	if all := fresh.wait(t, 1); all[0] != "r/a kept 1 true" {
		t.Errorf("got %q, want what was retained", all[0])
	}
}

// joinV5 connects a real client of MQTT 5.
func joinV5(t *testing.T, h *house, user, id string, expiry uint32, got *heard) (
	*paho.Client, *paho.Connack,
) {
	t.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := paho.ClientConfig{Conn: c, PacketTimeout: patience}
	if got != nil {
		cfg.OnPublishReceived = append(cfg.OnPublishReceived,
			func(m paho.PublishReceived) (bool, error) {
				p := m.Packet
				got.add("%s %s %d %t", p.Topic, p.Payload, p.QoS, p.Retain)
				return true, nil
			})
	}
	client := paho.NewClient(cfg)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := client.Connect(ctx, &paho.Connect{
		ClientID: id, Username: user, Password: []byte(user), UsernameFlag: true,
		PasswordFlag: true, KeepAlive: 30,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Disconnect(&paho.Disconnect{}) })
	return client, ack
}

func TestPaho_v5(t *testing.T) {
	h := open(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var got heard
	sub, ack := joinV5(t, h, "hass", "sub", 60, &got)
	if alive := ack.Properties.ServerKeepAlive; ack.SessionPresent || alive == nil || *alive != 180 {
		t.Errorf("CONNACK %+v", ack)
	}
	one := 1
	granted, err := sub.Subscribe(ctx, &paho.Subscribe{
		Properties: &paho.SubscribeProperties{SubscriptionIdentifier: &one},
		Subscriptions: []paho.SubscribeOptions{
			{Topic: "homes/#", QoS: 2}, {Topic: "$share/g/s", QoS: 1},
		},
	})
	if err != nil || granted.Reasons[0] != 2 || granted.Reasons[1] != 1 {
		t.Fatalf("subscribing: %v, %+v", err, granted)
	}
	pub, _ := joinV5(t, h, "nodred", "pub", 0, nil)
	for qos := range byte(3) {
		r, err := pub.Publish(ctx, &paho.Publish{
			Topic: "homes/a", QoS: qos, Payload: []byte(fmt.Sprint("m", qos)),
			Properties: &paho.PublishProperties{ContentType: "text/plain"},
		})
		if err != nil || r != nil && r.ReasonCode != 0 {
			t.Fatalf("publishing: %v, %+v", err, r)
		}
	}
	_, err = pub.Publish(ctx, &paho.Publish{Topic: "s", QoS: 1, Payload: []byte("shared")})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"homes/a m0 0 false", "homes/a m1 1 false", "homes/a m2 2 false", "s shared 1 false",
	}
	if diff := cmp.Diff(want, got.wait(t, 4)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Refused, as MQTT 5 says, and the connection stays.
	device, _ := joinV5(t, h, "plug", "x", 0, nil)
	r, err := device.Publish(ctx, &paho.Publish{Topic: "homes/a", QoS: 1})
	if err == nil || r == nil || r.ReasonCode != 0x87 {
		t.Errorf("publishing elsewhere: %v, %+v; want not authorized", err, r)
	}
	reading := &paho.Publish{Topic: "wattle/plug/reading", QoS: 2, Payload: []byte("1")}
	if _, err := device.Publish(ctx, reading); err != nil {
		t.Error(err)
	}
	// Taken over, with the session.
	var later heard
	_, ack = joinV5(t, h, "hass", "sub", 60, &later)
	if !ack.SessionPresent {
		t.Error("no session present")
	}
	select {
	case <-sub.Done():
	case <-time.After(patience):
		t.Error("the former client is still connected")
	}
	if err := h.Publish(gateway.Message{Topic: "homes/b", Payload: []byte("x"), QoS: 1}); err != nil {
		t.Fatal(err)
	}
	// What the former client had not acknowledged may come first.
	eventually(t, "the message to the session", func() bool {
		all := later.lines()
		return len(all) > 0 && all[len(all)-1] == "homes/b x 1 false"
	})
}
