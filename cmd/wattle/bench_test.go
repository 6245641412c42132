package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	mochi "github.com/mochi-mqtt/server/v2/listeners"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/config"
)

// Load of the benchmarks: what a large household could never do.
const (
	benchClients = 30
	benchWindow  = 20
	// so many that the last of them, which wait a second for others, do not count
	benchReadings = 200_000
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

// publishWindow publishes n readings with QoS 1, benchWindow of them under
// way, and returns when the last was acknowledged.
func publishWindow(conn net.Conn, l login, n int) error {
	tokens := make(chan struct{}, benchWindow)
	failed := make(chan error, 1)
	go func() {
		r := bufio.NewReader(conn)
		ack := make([]byte, 4)
		for range n {
			if _, err := io.ReadFull(r, ack); err != nil {
				failed <- err
				return
			}
			<-tokens
		}
		failed <- nil
	}()
	start := time.Now().Add(-time.Hour).UnixMilli()
	w := bufio.NewWriter(conn)
	for i := range n {
		select {
		case tokens <- struct{}{}:
		default:
			if err := w.Flush(); err != nil {
				return err
			}
			tokens <- struct{}{}
		}
		at := start + int64(i)
		body := field(nil, l.topic)
		body = binary.BigEndian.AppendUint16(body, uint16(i%60000+1))
		body = fmt.Appendf(body, `{"time":%d.%03d,"power_w":%d,"energy_wh":%d}`, at/1000, at%1000, i%2000, i)
		if _, err := w.Write(frame(0x32, body)); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return <-failed
}

// acknowledged publishes n readings over all clients and returns how many a
// second were acknowledged.
func acknowledged(b *testing.B, addr string, logins []login, n int) float64 {
	b.Helper()
	conns := make([]net.Conn, len(logins))
	for i, l := range logins {
		conns[i] = dialRaw(b, addr, l)
		defer conns[i].Close()
	}
	each := max(1, n/len(logins))
	begin := time.Now()
	var wg sync.WaitGroup
	for i, l := range logins {
		wg.Go(func() {
			if err := publishWindow(conns[i], l, each); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return float64(each*len(logins)) / time.Since(begin).Seconds()
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
func benchGateway(b *testing.B) (addr string, logins []login) {
	b.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := testConfig(dir)
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
	return l.mqtt.Addr().String(), logins
}

// BenchmarkGateway_acknowledged counts readings that are on the disk when they
// are acknowledged, beside the bare library, which acknowledges what it
// forgets.
func BenchmarkGateway_acknowledged(b *testing.B) {
	mochi := bareMochi(b)
	addr, logins := benchGateway(b)
	n := max(b.N, benchReadings)
	bare := acknowledged(b, mochi, logins, n)
	b.ResetTimer()
	ours := acknowledged(b, addr, logins, n)
	b.StopTimer()
	b.ReportMetric(ours, "readings/s")
	b.ReportMetric(bare, "mochi/s")
	b.ReportMetric(ours/bare, "×mochi")
	b.ReportMetric(0, "ns/op")
}

// resident returns the resident memory of a process in MiB.
func resident(tb testing.TB, pid int) float64 {
	tb.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				tb.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	tb.Fatal("the kernel does not tell the resident memory")
	return 0
}

// BenchmarkProgram builds the program and measures it from outside: its size
// for a Raspberry Pi, how soon it is ready, and its memory at rest and with 30
// devices that have published 100 readings each.
func BenchmarkProgram(b *testing.B) {
	dir := b.TempDir()
	build := func(arch, name string) {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", name, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
	program, arm := filepath.Join(dir, "wattle"), filepath.Join(dir, "arm64")
	build("arm64", arm)
	build("amd64", program)
	info, err := os.Stat(arm)
	if err != nil {
		b.Fatal(err)
	}
	data, err := os.MkdirTemp("", "w")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(data)
	devices := killDevices(b, data, benchClients)
	var ready time.Duration
	var rest, busy float64
	rounds := 0
	for b.Loop() {
		rounds++
		begin := time.Now()
		cmd := startProgram(b, program, data)
		ready += time.Since(begin)
		rest += resident(b, cmd.Process.Pid)
		conns := make([]net.Conn, len(devices))
		var wg sync.WaitGroup
		for i, d := range devices {
			l := login{d.MQTT.Username, d.MQTT.Password, "wattle/" + d.Topic + "/reading"}
			conns[i] = dialRaw(b, cmd.mqtt, l)
			wg.Go(func() {
				if err := publishWindow(conns[i], l, 100); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		busy += resident(b, cmd.Process.Pid)
		for _, c := range conns {
			_ = c.Close() // the program is about to end
		}
		if err := cmd.Process.Kill(); err != nil {
			b.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	n := float64(rounds)
	b.ReportMetric(float64(info.Size())/1e6, "MB-arm64")
	b.ReportMetric(float64(ready.Milliseconds())/n, "ms-to-ready")
	b.ReportMetric(rest/n, "MiB-at-rest")
	b.ReportMetric(busy/n, "MiB-with-30-devices")
	b.ReportMetric(0, "ns/op")
}
