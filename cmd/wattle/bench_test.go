package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattle-home/wattle/store/household"
)

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
	readings := household.Days(1, 0)
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
				if err := publishWindow(conns[i], l, readings[i][:100]); err != nil {
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
