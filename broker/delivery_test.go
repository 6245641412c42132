package broker_test

import (
	"fmt"
	"testing"

	"github.com/wattle-home/wattle/gateway"
)

func TestBroker_publishQoS(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			h := open(t, nil)
			sub := h.enter(link{version: version, user: "hass", id: "sub"})
			if got := sub.subscribe(2, "a/+"); got[0] != 2 {
				t.Fatalf("granted %d, want 2", got[0])
			}
			pub := h.enter(link{version: version, user: "nodred", id: "pub"})
			pub.publish("a/0", "zero", 0, false, 0)
			pub.publish("a/1", "one", 1, false, 11)
			pub.expect(0x40, 2, 0, 11)
			pub.publish("a/2", "two", 2, false, 12)
			pub.expect(0x50, 2, 0, 12)
			pub.publish("a/2", "two", 2, false, 12) // again: the same message
			pub.expect(0x50, 2, 0, 12)
			pub.send([]byte{0x62, 2, 0, 12})
			pub.expect(0x70, 2, 0, 12)

			if n := sub.receive(); n.topic != "a/0" || n.payload != "zero" || n.qos != 0 {
				t.Errorf("got %+v", n)
			}
			one := sub.receive()
			if one.topic != "a/1" || one.payload != "one" || one.qos != 1 || one.id == 0 {
				t.Errorf("got %+v", one)
			}
			sub.send([]byte{0x40, 2, byte(one.id >> 8), byte(one.id)})
			two := sub.receive()
			if two.topic != "a/2" || two.qos != 2 {
				t.Errorf("got %+v", two)
			}
			sub.send([]byte{0x50, 2, byte(two.id >> 8), byte(two.id)})
			sub.expect(0x62, 2, byte(two.id>>8), byte(two.id))
			sub.send([]byte{0x70, 2, byte(two.id >> 8), byte(two.id)})
			if rest := sub.ping(); len(rest) != 0 {
				t.Errorf("more came: %s", say(rest))
			}
			if got := h.topics(); len(got) != 3 {
				t.Errorf("handled %q, want three", got)
			}
		})
	}
}

func TestBroker_Publish_toDevice(t *testing.T) {
	h := open(t, nil)
	p := h.enter(link{user: "plug", id: "p"})
	p.subscribe(1, "wattle/plug/set")
	m := gateway.Message{Topic: "wattle/plug/set", Payload: []byte("on"), QoS: 1}
	if err := h.Publish(m); err != nil {
		t.Fatal(err)
	}
	if n := p.receive(); n.payload != "on" || n.qos != 1 {
		t.Errorf("got %+v", n)
	}
}
