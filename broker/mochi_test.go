package broker_test

import (
	"bytes"
	"log/slog"
	"net"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// allowAll admits everybody to the bare library.
type allowAll struct{ mqtt.HookBase }

// ID implements mqtt.Hook.
func (*allowAll) ID() string { return "allow" }

// Provides implements mqtt.Hook.
func (*allowAll) Provides(b byte) bool {
	return bytes.IndexByte([]byte{mqtt.OnConnectAuthenticate, mqtt.OnACLCheck}, b) >= 0
}

// OnConnectAuthenticate implements mqtt.Hook.
func (*allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck implements mqtt.Hook.
func (*allowAll) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// bare starts the library as it is, for comparison, and returns its address.
// change, if not nil, changes its options.
func bare(t testing.TB, hook mqtt.Hook, change func(*mqtt.Options)) (*mqtt.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &mqtt.Options{Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(o)
	}
	s := mqtt.New(o)
	if hook == nil {
		hook = &allowAll{}
	}
	if err := s.AddHook(hook, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("bare", l)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	return s, l.Addr().String()
}

// bareOpen is bare, off the network at the end of the test. It is not closed:
// the library's Close races with its connections, which the race detector
// reports.
func bareOpen(t testing.TB, hook mqtt.Hook, change func(*mqtt.Options)) (*mqtt.Server, string) {
	t.Helper()
	s, addr := bare(t, hook, change)
	t.Cleanup(func() {
		if l, ok := s.Listeners.Get("bare"); ok {
			l.Close(func(string) {})
		}
	})
	return s, addr
}
