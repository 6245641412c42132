package broker_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// Shape of the load: what a household with many plugs looks like to a broker.
const (
	benchClients = 30
	benchWindow  = 20
	benchPayload = `{"time":1795500000,"power_w":812.5,"energy_wh":123456.7}`
)

// benchHouse is a house whose clients may send as fast as they can.
func benchHouse(b *testing.B) *house {
	return open(b, func(cfg *broker.Config) {
		cfg.Logger = slog.New(slog.DiscardHandler)
		cfg.Limits.ClientRate = -1
		cfg.Limits.Unauthenticated = 1000
		cfg.Limits.Connections = 1000
		cfg.Limits.SessionsPerCredential = 1000
		cfg.Limits.Sessions = 1000
		cfg.Handle = func(_ gateway.Message, done func(error)) error {
			if done != nil {
				done(nil)
			}
			return nil
		}
	})
}

// drive has benchClients publish n messages and returns the time it took until
// the last was acknowledged, or with QoS 0 until the last ping was answered.
func drive(b *testing.B, addr string, qos byte, n int) time.Duration {
	var clients []*peer
	for i := range benchClients {
		p := join(b, addr, link{user: "hass", id: fmt.Sprint("bench", i)})
		if p.connack[1] != 0 {
			b.Fatalf("CONNACK %x", p.connack)
		}
		clients = append(clients, p)
	}
	var wg sync.WaitGroup
	start := time.Now()
	for i, p := range clients {
		share := n / benchClients
		if i < n%benchClients {
			share++
		}
		topic := fmt.Sprintf("wattle/plug%d/reading", i)
		wg.Go(func() {
			if qos == 0 {
				pushQoS0(b, p.c, p.publishBytes(topic, benchPayload, 0, false, 0), share)
			} else {
				pushQoS1(b, p.c, p.publishBytes(topic, benchPayload, 1, false, 1), len(topic), share)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	for _, p := range clients {
		p.send([]byte{0xe0, 0})
		_ = p.c.Close()
	}
	return took
}

// pushQoS0 sends n times frame and waits for a ping.
func pushQoS0(b *testing.B, c net.Conn, frame []byte, n int) {
	w := bufio.NewWriterSize(c, 4096)
	for range n {
		_, _ = w.Write(frame)
	}
	_, _ = w.Write([]byte{0xc0, 0})
	_ = w.Flush()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
		b.Error(err)
	}
}

// pushQoS1 sends n times frame, with at most benchWindow unacknowledged.
func pushQoS1(b *testing.B, c net.Conn, frame []byte, topic, n int) {
	frame = append([]byte(nil), frame...)
	at := 2 + 2 + topic
	r := bufio.NewReader(c)
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	sent, acked := 0, 0
	var ack [4]byte
	batch := make([]byte, 0, benchWindow*len(frame))
	for acked < n {
		batch = batch[:0]
		for sent < n && sent-acked < benchWindow {
			sent++
			binary.BigEndian.PutUint16(frame[at:], uint16(sent%65000+1))
			batch = append(batch, frame...)
		}
		if len(batch) > 0 {
			if _, err := c.Write(batch); err != nil {
				b.Error(err)
				return
			}
		}
		for first := true; first || r.Buffered() >= 4; first = false {
			if _, err := io.ReadFull(r, ack[:]); err != nil {
				b.Error(err)
				return
			}
			acked++
		}
	}
}

// benchBoth measures this broker and the bare library one after the other.
func benchBoth(b *testing.B, qos byte) {
	h := benchHouse(b)
	_, addr := bareOpen(b, nil, nil)
	n := max(b.N, benchClients)
	drive(b, h.addr, qos, benchClients*100) // warm up
	drive(b, addr, qos, benchClients*100)
	b.ResetTimer()
	ours := drive(b, h.addr, qos, n)
	b.StopTimer()
	theirs := drive(b, addr, qos, n)
	b.ReportMetric(float64(n)/ours.Seconds(), "msg/s")
	b.ReportMetric(float64(n)/theirs.Seconds(), "bare-msg/s")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-bare")
}

// BenchmarkBroker_acknowledged counts QoS 1 messages a second that were
// acknowledged.
func BenchmarkBroker_acknowledged(b *testing.B) { benchBoth(b, 1) }

// BenchmarkBroker_unacknowledged counts QoS 0 messages a second.
func BenchmarkBroker_unacknowledged(b *testing.B) { benchBoth(b, 0) }

// BenchmarkBroker_idle tells the memory of an idle client.
func BenchmarkBroker_idle(b *testing.B) {
	h := benchHouse(b)
	_, addr := bareOpen(b, nil, nil)
	for b.Loop() {
		b.ReportMetric(idleBytes(b, h.addr)/1024, "KiB/client")
		b.ReportMetric(idleBytes(b, addr)/1024, "bare-KiB/client")
	}
}

// idleBytes returns how much memory one more idle client takes, with the
// stacks of its goroutines and the test's end of the connection.
func idleBytes(b testing.TB, addr string) float64 {
	const clients = 200
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := inUse()
	var all []net.Conn
	for i := range clients {
		p := join(b, addr, link{user: "hass", id: fmt.Sprint("idle", i), keepAlive: 60})
		all = append(all, p.c)
	}
	used := float64(inUse()-before) / clients
	for _, c := range all {
		_ = c.Close()
	}
	return used
}
