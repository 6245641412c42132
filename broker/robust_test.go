package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// seeds are valid packets of the given version.
func seeds(version byte) [][]byte {
	p := &peer{version: version}
	none := []byte{}
	if version == 5 {
		none = []byte{0}
	}
	all := [][]byte{
		hello(link{version: version, user: "hass", id: "x"}),
		hello(link{version: version, user: "plug", keep: true, will: &testWill{
			topic: "wattle/plug/a", payload: "b", qos: 1, retain: true,
		}}),
		p.publishBytes("a", "payload", 0, true, 0), p.publishBytes("a/b", "payload", 1, false, 1),
		p.publishBytes("a/b", "payload", 2, true, 2),
		{0x40, 2, 0, 1},
		{0x50, 2, 0, 1},
		{0x62, 2, 0, 1},
		{0x70, 2, 0, 1},
		{0xc0, 0},
		{0xe0, 0},
		packet(0x82, []byte{0, 1}, none, str("a/+/#"), []byte{1}, str("b"), []byte{2}),
		packet(0xa2, []byte{0, 1}, none, str("a/+/#"), str("b")),
	}
	if version == 5 {
		all = append(all,
			packet(0x32, str("a"), []byte{0, 1}, props([]byte{
				1, 1, 2, 0, 0, 0, 9, 3, 0, 1, 'c', 8, 0, 1, 'r', 9, 0, 1, 'd', 38, 0, 1, 'k', 0, 1, 'v',
			}), []byte("x")),
			packet(0x82, []byte{0, 1}, props([]byte{11, 0x80, 1, 38, 0, 1, 'k', 0, 1, 'v'}),
				str("a"), []byte{0x2d}),
			packet(0x40, []byte{0, 1, 0x10}, props([]byte{31, 0, 1, 'r'})),
			packet(0xe0, []byte{4}, props([]byte{17, 0, 0, 0, 0})),
		)
	}
	return all
}

// mutate damages a packet in one of several ways.
func mutate(r *mrand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + r.IntN(3) {
		i := r.IntN(len(b))
		switch r.IntN(6) {
		case 0:
			b[i] ^= 1 << r.IntN(8)
		case 1:
			b[i] = byte(r.Uint32())
		case 2:
			b[i] = []byte{0, 1, 0x7f, 0x80, 0xff}[r.IntN(5)]
		case 3:
			b = b[:i+1]
		case 4: // cut, with a length that fits
			if b = b[:i+1]; len(b) > 1 {
				b[1] = byte(len(b) - 2)
			}
		case 5:
			b = append(b[:i:i], append([]byte{byte(r.Uint32())}, b[i:]...)...)
		}
	}
	return b
}

func TestBroker_mutatedPackets(t *testing.T) {
	const packets = 8000
	h := open(t, func(c *broker.Config) {
		c.Limits.DeviceRate = -1
		c.Limits.ConnectTimeout, c.Limits.KeepAlive = time.Second, time.Second
		c.Limits.FrameTimeout = time.Second
	})
	witness := h.enter(link{version: 5, user: "nodred", id: "w"})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			r := mrand.New(mrand.NewPCG(1, uint64(worker)))
			for n := 0; n < packets/4; {
				version := byte(4 + r.IntN(2))
				all := seeds(version)
				c, err := net.Dial("tcp", h.addr)
				if err != nil {
					t.Error(err)
					return
				}
				if r.IntN(4) > 0 {
					_, _ = c.Write(hello(link{version: version, user: "hass", id: fmt.Sprint("m", worker)}))
				}
				for range 1 + r.IntN(8) {
					n++
					_, _ = c.Write(mutate(r, all[r.IntN(len(all))]))
				}
				_ = c.Close()
			}
		})
	}
	wg.Wait()
	witness.ping()
	eventually(t, "all are gone", func() bool { return h.Stats().Connections == 1 })
	if n := h.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
	eventually(t, "a client comes in", func() bool { // the backlog may still crowd it out
		p := dial(t, h.addr)
		p.send(hello(link{user: "hass", id: "after"}))
		first, body, err := p.next()
		return err == nil && first == 0x20 && body[1] == 0
	})
}

func TestBroker_churn(t *testing.T) {
	h := open(t, nil)
	round := func(n int) {
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for i := range n / 4 {
					l := link{version: byte(4 + i%2), user: "hass", id: fmt.Sprint(worker, i%3), keep: i%5 == 0}
					c, err := net.Dial("tcp", h.addr)
					if err != nil {
						t.Error(err)
						return
					}
					p := &peer{version: l.version}
					_, _ = c.Write(hello(l))
					_, _ = c.Write(packet(0x82, subscription(l.version, "a/#")...))
					_, _ = c.Write(p.publishBytes("a/b", "x", byte(i%3), false, 1))
					if i%7 > 0 {
						_, _ = c.Read(make([]byte, 4))
					}
					if i%2 == 0 {
						_, _ = c.Write([]byte{0xe0, 0})
					}
					_ = c.Close()
				}
			})
		}
		wg.Wait()
		eventually(t, "all are gone", func() bool { return h.Stats().Connections == 0 })
		h.Drop(4)
	}
	round(200)
	before := runtime.NumGoroutine()
	round(3000)
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	if s := h.Stats(); s.Sessions != 0 || s.QueueBytes != 0 || s.WriteBytes != 0 || s.Panics != 0 {
		t.Errorf("left over: %+v", s)
	}
}

func TestBroker_idleMemory(t *testing.T) {
	h := open(t, func(c *broker.Config) {
		c.Limits.SessionsPerCredential, c.Limits.Connections, c.Limits.Unauthenticated = 300, 300, 300
	})
	_, addr := bareOpen(t, nil, nil)
	theirs := idleBytes(t, addr)
	if ours := idleBytes(t, h.addr); ours > theirs/2 {
		t.Errorf("an idle client takes %.0f bytes, with the bare library %.0f", ours, theirs)
	}
}

func TestRun_stops(t *testing.T) {
	h := open(t, nil)
	p := h.enter(link{version: 5, user: "hass", id: "x"})
	silent := dial(t, h.addr)
	stuck := h.enter(link{user: "hass", id: "stuck"})
	stuck.subscribe(0, "#")
	eventually(t, "the kernel is full", func() bool {
		_ = h.Publish(gateway.Message{Topic: "a", Payload: make([]byte, 100<<10)})
		return h.Stats().WriteBytes > 500<<10
	})
	go p.c.SetReadDeadline(time.Now().Add(patience))
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if got := p.gone(); got != 0x8b {
		t.Errorf("got reason %#x, want server shutting down", got)
	}
	silent.gone()
	if _, err := net.Dial("tcp", h.addr); err == nil {
		t.Error("still listening")
	}
}

func TestBroker_tls(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := openOn(t, l)
	dial(t, l.Addr().String()) // never begins the handshake
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write(hello(link{user: "plug", id: "x"}))
	_, _ = c.Write(packet(0x82, []byte{0, 1}, str("wattle/plug/set"), []byte{0}))
	want := []byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 0}
	got := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(want) {
		t.Fatalf("got %x, %v", got, err)
	}
	at := time.Now().Add(50 * time.Millisecond)
	_ = h.Publish(gateway.Message{
		Topic: "wattle/plug/set", Payload: []byte("on"), Expires: gateway.InstantOf(at),
	})
	if _, err := io.ReadFull(c, make([]byte, 21)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(at))
	_, _ = c.Write([]byte{0xc0, 0}) // it was taken: no reset
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		t.Error(err)
	}
}

// pipes is a listener whose connections are in memory.
type pipes struct{ next chan net.Conn }

// Accept implements net.Listener.
func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.next; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (p pipes) Close() error { return nil }

// Addr implements net.Listener.
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// FuzzFrame sends arbitrary bytes before and after a CONNECT. Nothing may
// panic, not even where it would be survived, and every connection ends.
func FuzzFrame(f *testing.F) {
	for version := byte(4); version <= 5; version++ {
		for _, b := range seeds(version) {
			f.Add(version, true, b)
			f.Add(version, false, b)
		}
	}
	f.Add(byte(5), true, cut)
	l := pipes{make(chan net.Conn)}
	h := &house{accounts: standard()}
	b, err := broker.New(broker.Config{
		Logger: slog.New(slog.DiscardHandler), Authenticate: h.authenticate,
		Handle: func(_ gateway.Message, done func(error)) error {
			if done != nil {
				done(nil)
			}
			return nil
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, l) }()
	f.Cleanup(func() {
		cancel()
		close(l.next)
		<-ended
	})
	f.Fuzz(func(t *testing.T, version byte, connected bool, data []byte) {
		ours, theirs := net.Pipe()
		l.next <- theirs
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, ours)
		}()
		_ = ours.SetWriteDeadline(time.Now().Add(patience))
		if connected {
			_, _ = ours.Write(hello(link{version: 4 + version%2, user: "hass", id: "x"}))
		}
		_, _ = ours.Write(data)
		_ = ours.Close()
		<-read
		for end := time.Now().Add(patience); b.Stats().Connections > 0; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatal("the connection does not end")
			}
		}
		if n := b.Stats().Panics; n != 0 {
			t.Fatalf("%d panics", n)
		}
	})
}
