package link_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/link"
)

// client makes a client or ends the test.
func client(t *testing.T, o link.Options) *link.Client {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	c, err := link.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewClient_refuses(t *testing.T) {
	for _, o := range []link.Options{
		{Broker: "", ClientID: "x"},
		{Broker: "localhost", ClientID: "x"},
		{Broker: "mqtt://", ClientID: "x"},
		{Broker: "http://localhost:1883", ClientID: "x"},
		{Broker: "mqtt://localhost:1883/topic", ClientID: "x"},
		{Broker: "mqtt://localhost:1883", ClientID: ""},
	} {
		if _, err := link.NewClient(o); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("%+v: got %v, want it refused as invalid", o, err)
		}
	}
	_, err := link.NewClient(link.Options{Broker: "http://me:secret@host/", ClientID: "x"})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error without the password", err)
	}
}

func TestClient_Run_presence(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("#")
	c := client(t, link.Options{
		Broker: b.url(), ClientID: "one",
		Birth: &gateway.Message{Topic: "one/up", Payload: []byte("yes"), Retain: true},
		Will:  &gateway.Message{Topic: "one/up", Payload: []byte("no"), QoS: 1, Retain: true},
	})
	stop := background(t, c.Run)
	o.after("one/up", 0, is("yes"))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	o.after("one/up", 0, is("no"))
	// Somebody who comes later finds it retained.
	late := b.observe("one/#")
	if m := late.after("one/up", 0, anything); m.retained != "1" || m.payload != "no" {
		t.Errorf("got %+v, want a retained no", m)
	}
}

func TestClient_Run_wrongPassword(t *testing.T) {
	b := startMosquitto(t, "right:word")
	c := client(t, link.Options{
		Broker: b.url(), ClientID: "one", Username: "right", Password: "wrong",
	})
	err := c.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "right") ||
		!strings.Contains(err.Error(), "not authorized") {
		t.Errorf("got %v, want the user name and that it is not authorized", err)
	}
	if err != nil && strings.Contains(err.Error(), "wrong") {
		t.Errorf("the password stands in %q", err)
	}
}

func TestClient_Send_brokerRestarts(t *testing.T) {
	b := startMosquitto(t, "user:word")
	var (
		mu      sync.Mutex
		settled []string
	)
	c := client(t, link.Options{
		Broker: b.url(), ClientID: "one", Username: "user", Password: "word",
		Subscribe: []string{"one/set"},
		Settled: func(m gateway.Message, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", m.Payload, err)
			}
			settled = append(settled, string(m.Payload))
		},
	})
	background(t, c.Run)
	send := func(from, to int) {
		for i := from; i < to; i++ {
			c.Send(gateway.Message{Topic: "one/n", Payload: fmt.Append(nil, i), QoS: 1})
		}
	}
	flush := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	send(0, 50)
	flush()
	b.stop()
	eventually(t, "the client notices", func() bool { return !c.Online() })
	send(50, 100)
	c.Send(gateway.Message{Topic: "one/now", Payload: []byte("late"), QoS: 0})
	b.start()
	o := b.observe("one/#")
	flush()
	mu.Lock()
	defer mu.Unlock()
	want := make([]string, 100)
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if !slices.Equal(settled, want) {
		t.Errorf("acknowledged %q, want 0 to 99 in order", settled)
	}
	if late := o.all("one/now"); len(late) > 0 {
		t.Errorf("QoS 0 without a connection came later: %q", late)
	}
}

func TestClient_Run_receives(t *testing.T) {
	before := runtime.NumGoroutine()
	b := startMosquitto(t)
	got := make(chan gateway.Message, 1)
	c := client(t, link.Options{
		Broker: b.url(), ClientID: "one", Subscribe: []string{"one/set"},
		Received: func(m gateway.Message) { got <- m },
	})
	stop := background(t, c.Run)
	eventually(t, "the client is there", c.Online)
	b.publish("one/set", "hello")
	if m := <-got; m.Topic != "one/set" || string(m.Payload) != "hello" {
		t.Errorf("got %+v", m)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.stop()
	noLeak(t, before)
}

func TestClient_Send_full(t *testing.T) {
	c := client(t, link.Options{Broker: "mqtt://127.0.0.1:1", ClientID: "one", Queue: 10})
	for i := range 25 {
		c.Send(gateway.Message{Topic: "n", Payload: fmt.Append(nil, i), QoS: 1})
	}
	if got := c.Dropped(); got != 15 {
		t.Errorf("%d messages dropped, want 15", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.SendWait(ctx, gateway.Message{Topic: "n", QoS: 1}); err == nil {
		t.Error("a full queue took one more")
	}
}
