package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	mochi "github.com/mochi-mqtt/server/v2/listeners"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/config"
	"github.com/wattle-home/wattle/store"
	"github.com/wattle-home/wattle/store/household"
)

// Load of the benchmarks: what a large household could never do.
const (
	benchClients = household.Plugs
	benchWindow  = 20
	// so many that how it begins and ends does not count: 777,600 readings
	benchDays = 3
)

// login is how a client of a benchmark connects.
type login struct{ user, password, topic string }

// field writes a length-prefixed text of MQTT.
func field(b []byte, text string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(text)))
	return append(b, text...)
}

// frame writes an MQTT packet.
func frame(first byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{first}, uint64(len(body))), body...)
}

// dialRaw connects with MQTT 3.1.1 and waits for CONNACK.
func dialRaw(tb testing.TB, addr string, l login) net.Conn {
	tb.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	body := append(field(nil, "MQTT"), 4, 0xc2, 0, 60)
	for _, text := range []string{l.user, l.user, l.password} {
		body = field(body, text)
	}
	if _, err := conn.Write(frame(0x10, body)); err != nil {
		tb.Fatal(err)
	}
	ack := make([]byte, 4)
	if _, err := io.ReadFull(conn, ack); err != nil || ack[3] != 0 {
		tb.Fatalf("CONNACK %x: %v", ack, err)
	}
	return conn
}

// readingBody returns what follows the fixed header of a PUBLISH with QoS 1,
// packet identifier id, or with QoS 0 if that is 0.
func readingBody(topic string, id int, r gateway.Reading) []byte {
	body := field(nil, topic)
	if id > 0 {
		body = binary.BigEndian.AppendUint16(body, uint16(id))
	}
	return fmt.Appendf(body, `{"time":%d.%03d,"power_w":%d.%03d,"energy_wh":%d.%03d}`,
		r.At/1000, r.At%1000, r.Power/1000, r.Power%1000, r.Energy/1000, r.Energy%1000)
}

// publishFlood publishes readings with QoS 0 as fast as they are taken, and
// returns when the last of them was read.
func publishFlood(conn net.Conn, l login, rs []gateway.Reading) error {
	w := bufio.NewWriter(conn)
	for _, r := range rs {
		if _, err := w.Write(frame(0x30, readingBody(l.topic, 0, r))); err != nil {
			return err
		}
	}
	if _, err := w.Write([]byte{0xc0, 0}); err != nil { // PINGREQ
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 2))
	return err
}

// publishWindow publishes readings with QoS 1, benchWindow of them under
// way, and returns when the last was acknowledged.
func publishWindow(conn net.Conn, l login, rs []gateway.Reading) error {
	tokens := make(chan struct{}, benchWindow)
	failed := make(chan error, 1)
	go func() {
		r := bufio.NewReader(conn)
		ack := make([]byte, 4)
		for range rs {
			if _, err := io.ReadFull(r, ack); err != nil {
				failed <- err
				return
			}
			<-tokens
		}
		failed <- nil
	}()
	w := bufio.NewWriter(conn)
	for i, r := range rs {
		select {
		case tokens <- struct{}{}:
		default:
			if err := w.Flush(); err != nil {
				return err
			}
			tokens <- struct{}{}
		}
		if _, err := w.Write(frame(0x32, readingBody(l.topic, i%60000+1, r))); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return <-failed
}

// publishAll has all clients publish with publish, waits for what comes
// afterwards, and returns how many readings a second that were.
func publishAll(
	b *testing.B, addr string, logins []login,
	publish func(conn net.Conn, l login, rs []gateway.Reading) error, afterwards func(),
) float64 {
	b.Helper()
	conns := make([]net.Conn, len(logins))
	for i, l := range logins {
		conns[i] = dialRaw(b, addr, l)
		defer conns[i].Close()
	}
	all := household.Days(benchDays, 0)
	begin := time.Now()
	var wg sync.WaitGroup
	for i, l := range logins {
		wg.Go(func() {
			if err := publish(conns[i], l, all[i]); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	afterwards()
	return float64(len(logins)*len(all[0])) / time.Since(begin).Seconds()
}

// bareMochi runs the bare library, which lets everyone in and stores nothing.
func bareMochi(b *testing.B) string {
	b.Helper()
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		b.Fatal(err)
	}
	l := mochi.NewTCP(mochi.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := s.AddListener(l); err != nil {
		b.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return l.Address()
}

// benchGateway runs a gateway without rate limits, with a device for each
// client.
func benchGateway(b *testing.B) (d *daemon, addr string, logins []login) {
	b.Helper()
	cfg := testConfig(benchDir(b))
	cfg.Commit, cfg.Rate = config.Default().Commit, config.Rate{}
	d, err := assemble(b.Context(), cfg, modeServe, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchClients {
		topic := fmt.Sprintf("plug%02d", i)
		dev, err := d.store.AddDevice(b.Context(), gateway.Device{Alias: topic, Dialect: "native", Topic: topic})
		if err != nil {
			b.Fatal(err)
		}
		secret, hash := api.NewDeviceSecret()
		if _, err := d.store.AddCredential(b.Context(), gateway.Credential{
			Name: topic, Kind: gateway.KindDevice, Username: topic, Device: dev.ID,
		}, hash); err != nil {
			b.Fatal(err)
		}
		logins = append(logins, login{topic, secret, "wattle/" + topic + "/reading"})
	}
	if err := d.loadDevices(b.Context()); err != nil {
		b.Fatal(err)
	}
	l := runDaemon(b, d)
	return d, l.mqtt.Addr().String(), logins
}

// benchDir returns a directory with a name short enough for a socket.
func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// benchBoth measures the rate of the gateway and of the bare library, which
// lets everyone in and forgets everything, one after the other.
func benchBoth(
	b *testing.B, publish func(conn net.Conn, l login, rs []gateway.Reading) error,
	afterwards func(s *store.Store),
) {
	b.Helper()
	mochi := bareMochi(b)
	d, addr, logins := benchGateway(b)
	bare := publishAll(b, mochi, logins, publish, func() {})
	ours := publishAll(b, addr, logins, publish, func() { afterwards(d.store) })
	b.ReportMetric(ours, "readings/s")
	b.ReportMetric(bare, "mochi/s")
	b.ReportMetric(ours/bare, "×mochi")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkGateway_acknowledged counts readings that are on the disk when they
// are acknowledged.
func BenchmarkGateway_acknowledged(b *testing.B) {
	benchBoth(b, publishWindow, func(*store.Store) {})
}

// BenchmarkGateway_unacknowledged counts readings that come with QoS 0, until
// all of them are on the disk.
func BenchmarkGateway_unacknowledged(b *testing.B) {
	benchBoth(b, publishFlood, func(s *store.Store) {
		const n = benchClients * benchDays * 8640
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			stored := 0
			for id := range gateway.DeviceID(benchClients) {
				count, err := s.Count(b.Context(), id+1)
				if err != nil {
					b.Fatal(err)
				}
				stored += int(count)
			}
			if stored == n {
				return
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d of %d readings are stored", stored, n)
			}
		}
	})
}

// BenchmarkGateway_idle measures how long a client waits for a PUBACK when it
// is the only one and sends one reading after the other, beside an fdatasync
// of as much at the end of a file on the same disk.
func BenchmarkGateway_idle(b *testing.B) {
	_, addr, logins := benchGateway(b)
	conn := dialRaw(b, addr, logins[0])
	defer conn.Close()
	f, err := os.Create(filepath.Join(benchDir(b), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var puback, sync []time.Duration
	ack, page := make([]byte, 4), make([]byte, 1048)
	for _, r := range household.Days(1, 0)[0][:2000] {
		begin := time.Now()
		if _, err := conn.Write(frame(0x32, readingBody(logins[0].topic, 1, r))); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, ack); err != nil {
			b.Fatal(err)
		}
		puback = append(puback, time.Since(begin))
		begin = time.Now()
		if _, err := f.Write(page); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
		sync = append(sync, time.Since(begin))
	}
	p50, base := median(puback), median(sync)
	b.ReportMetric(float64(p50.Microseconds()), "µs-p50")
	b.ReportMetric(float64(base.Microseconds()), "µs-fdatasync")
	b.ReportMetric(float64(p50)/float64(2*base+200*time.Microsecond), "×bound")
	b.ReportMetric(0, "ns/op")
}

// median returns the middle one of ds.
func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}
