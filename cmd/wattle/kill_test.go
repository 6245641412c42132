package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/config"
	"github.com/wattle-home/wattle/store"
)

// killCycles is how often the gateway is killed under load.
const killCycles = 50

// TestKill_nothingAcknowledgedIsLost kills the gateway again and again while
// clients publish, and looks for each acknowledged reading afterwards.
func TestKill_nothingAcknowledgedIsLost(t *testing.T) {
	program := buildProgram(t)
	dir := shortDir(t)
	const clients = 5
	devices := killDevices(t, dir, clients)
	var mu sync.Mutex
	acked := map[gateway.DeviceID][]gateway.Instant{}
	next := gateway.InstantOf(time.Now().Add(-24 * time.Hour))
	var slowest time.Duration
	for range killCycles {
		started := time.Now()
		cmd := startProgram(t, program, dir)
		slowest = max(slowest, time.Since(started))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, d := range devices {
			wg.Go(func() {
				publishUntil(ctx, t, cmd.mqtt, d, func() gateway.Instant {
					mu.Lock()
					defer mu.Unlock()
					next += 7
					return next
				}, func(at gateway.Instant) {
					mu.Lock()
					defer mu.Unlock()
					acked[gateway.DeviceID(d.ID)] = append(acked[gateway.DeviceID(d.ID)], at)
				})
			})
		}
		time.Sleep(time.Duration(50+rand.IntN(250)) * time.Millisecond) // the moment is the point
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		cancel()
		wg.Wait()
	}
	t.Logf("ready again after %v at the slowest of %d kills", slowest.Round(time.Millisecond), killCycles)
	if slowest > 5*time.Second {
		t.Errorf("ready again after %v; 5 s are the most", slowest)
	}
	st, err := store.Open(t.Context(), store.Config{
		Path: filepath.Join(dir, databaseName), Logger: newLogger(testLog{t}, "text"), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := st.Check(t.Context()); err != nil {
		t.Error(err)
	}
	total, lost := 0, 0
	for id, want := range acked {
		have := map[gateway.Instant]bool{}
		err := st.Scan(t.Context(), id, 0, 1<<60, func(rs []gateway.Reading) error {
			for _, r := range rs {
				have[r.At] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range want {
			total++
			if !have[at] {
				lost++
			}
		}
	}
	t.Logf("%d readings were acknowledged, %d lost", total, lost)
	if lost > 0 || total < killCycles {
		t.Errorf("%d of %d acknowledged readings are lost", lost, total)
	}
}

// killDevices adds devices while no gateway runs.
func killDevices(t testing.TB, dir string, n int) []deviceJSON {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = dir
	local, err := serveOffline(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := local.close(); err != nil {
			t.Error(err)
		}
	}()
	c := &client{http: socketClient(local.socket)}
	out := make([]deviceJSON, n)
	for i := range out {
		err := c.call(t.Context(), "POST", "/devices", map[string]string{"alias": fmt.Sprintf("plug%d", i)}, &out[i])
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// process is a running gateway and its addresses.
type process struct {
	*exec.Cmd
	http, mqtt string
}

// startProgram starts the gateway and waits for its line.
func startProgram(t testing.TB, program, dir string) process {
	t.Helper()
	cmd := exec.Command(program, "serve", "--data-dir", dir, "--http", "127.0.0.1:0",
		"--mqtt", "127.0.0.1:0", "--trust-clock", "--commit-interval", "20ms")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway did not become ready: %v", err)
	}
	p := process{Cmd: cmd}
	if _, err := fmt.Sscanf(line, "wattle is ready: http://%s mqtt://%s", &p.http, &p.mqtt); err != nil {
		t.Fatalf("the gateway said %q", line)
	}
	p.http = strings.TrimSuffix(p.http, "/")
	return p
}

// publishUntil publishes readings one after the other until the connection
// breaks, and tells of each that was acknowledged.
func publishUntil(
	ctx context.Context, t *testing.T, addr string, d deviceJSON,
	next func() gateway.Instant, acked func(gateway.Instant),
) {
	c, err := dialPaho(ctx, addr, d.MQTT.Username, d.MQTT.Password, paho.ClientConfig{})
	if err != nil {
		return // killed already
	}
	defer c.Conn.Close()
	for ctx.Err() == nil {
		at := next()
		payload, err := json.Marshal(map[string]any{"time": at.String(), "power_w": int64(at) % 1000})
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := c.Publish(ctx, &paho.Publish{
			QoS: 1, Topic: "wattle/" + d.Topic + "/reading", Payload: payload,
		})
		if err != nil || resp.ReasonCode >= 0x80 {
			return
		}
		acked(at)
	}
}
