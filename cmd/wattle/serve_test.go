package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// buffer is a bytes.Buffer that several goroutines use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestDemo_aHouseholdWithHistory(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), buildProgram(t), "serve", "--demo",
		"--http", "127.0.0.1:0", "--timezone", "Europe/Berlin")
	var out buffer
	cmd.Stdout = &out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	}()
	eventually(t, "the demo to be ready", func() bool { return strings.Contains(out.String(), "ready: ") })
	took := time.Since(begin)
	t.Logf("60 days of history were made and the gateway was ready in %v", took.Round(time.Millisecond))
	if took > 5*20*time.Second {
		t.Errorf("it took %v", took)
	}
	_, rest, _ := strings.Cut(out.String(), "ready: ")
	url, _, _ := strings.Cut(rest, "/ ")
	get := func(path string, v any) {
		t.Helper()
		resp, err := http.Get(url + "/api/v1" + path) // no login
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s, %v", path, resp.Status, err)
		}
	}
	var ds []deviceJSON
	dialects := map[string]int{}
	eventually(t, "all devices to be online", func() bool {
		get("/devices", &ds)
		online := 0
		for _, d := range ds {
			if d.Online && d.PowerW != nil {
				online++
			}
		}
		return online >= 8 && online == len(ds)
	})
	for _, d := range ds {
		dialects[d.Dialect]++
	}
	if len(dialects) < 3 {
		t.Errorf("the dialects are %v", dialects)
	}
	var series struct {
		Devices []struct {
			Points []struct {
				EnergyKWh float64 `json:"energy_kwh"`
			}
		}
	}
	now := time.Now()
	get(fmt.Sprintf("/series?step=1d&from=%d&to=%d", now.AddDate(0, 0, -61).Unix(), now.Unix()), &series)
	for i, d := range series.Devices {
		sum := 0.0
		for _, p := range d.Points {
			sum += p.EnergyKWh
		}
		if len(d.Points) < 60 || sum <= 0 || sum > 2000 {
			t.Errorf("device %d: %d days, %.1f kWh", i+1, len(d.Points), sum)
		}
	}
}

func TestLoopback_staysOnThisMachine(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:0": "127.0.0.1:0", ":7000": "127.0.0.1:7000", "localhost:1": "localhost:1", "[::1]:5": "[::1]:5",
	} {
		if got, err := loopback(addr, demoHTTP); err != nil || got != want {
			t.Errorf("%s becomes %s, %v; want %s", addr, got, err, want)
		}
	}
	for _, addr := range []string{"0.0.0.0:1", "192.168.1.2:80", "[::]:1", "example.org:80", "nonsense"} {
		if got, err := loopback(addr, demoHTTP); err == nil {
			t.Errorf("%s becomes %s", addr, got)
		}
	}
}

func TestLive_snapshotThenChanges(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Lamp", "native", "lamp")
	p := newPlug(t, g, d)
	p.send("/state", `{"on":true}`)
	req, err := http.NewRequestWithContext(t.Context(), "GET", g.http+"/api/v1/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func(kind string) (data map[string]any) {
		t.Helper()
		for lines.Scan() {
			if lines.Text() == "event: "+kind {
				lines.Scan()
				unmarshal(t, []byte(strings.TrimPrefix(lines.Text(), "data: ")), &data)
				return data
			}
		}
		t.Fatalf("the stream ended before %s: %v", kind, lines.Err())
		return nil
	}
	if s := next("state"); s["device_id"] != float64(d.ID) || s["on"] != true || s["online"] != true {
		t.Errorf("the snapshot is %v", s)
	}
	p.send("/reading", `{"power_w":9.5}`)
	if r := next("reading"); r["device_id"] != float64(d.ID) || r["power_w"] != 9.5 {
		t.Errorf("the reading is %v", r)
	}
	g.command(d.ID, `{"action":"off"}`)
	if c := next("command"); c["status"] != "queued" || c["action"] != "off" {
		t.Errorf("the command is %v", c)
	}
	if s := next("state"); s["on"] != false {
		t.Errorf("the state is %v", s)
	}
	if e := next("event"); e["kind"] != "switched" {
		t.Errorf("the event is %v", e)
	}
	req.Header.Set("Origin", "http://evil.example")
	foreign, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Body.Close()
	if foreign.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another site gets %s", foreign.Status)
	}
}

func TestSimulate_recordedHousehold(t *testing.T) {
	g := startGateway(t)
	file := filepath.Join(t.TempDir(), "house.csv")
	var csv strings.Builder
	csv.WriteString("device,time,power_w\n")
	for i := range 120 {
		fmt.Fprintf(&csv, "Fridge,2026-03-01 10:%02d:%02d,%d\n", i/2, i%2*30, 80+i)
	}
	if err := os.WriteFile(file, []byte(csv.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	var out buffer
	root.SetOut(&out)
	root.SetErr(testLog{t})
	root.SetArgs([]string{
		"simulate", "--broker", "mqtt://" + g.mqtt, "--data-dir", g.dir,
		"--data", file, "--speed", "3600x", "--zone", "Europe/Berlin",
	})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "120 readings of 1 devices published, 120 acknowledged"; !strings.Contains(out.String(), want) {
		t.Errorf("it says %q, want %q", out.String(), want)
	}
	var ds []deviceJSON
	g.get("/devices", &ds)
	rs := g.readings(ds[0].ID)
	if len(rs) != 120 || *rs[119].PowerW != 199 || !rs[0].Time.Equal(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("%d readings are stored, the first of %v", len(rs), rs[0].Time)
	}
}

func TestServe_filesAreTheOwnersAlone(t *testing.T) {
	g := startGateway(t)
	info, err := os.Stat(g.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory has the mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", e.Name(), info.Mode())
		}
	}
}

// nobody returns how to start a program without rights, or nil if this
// process has none itself.
func nobody(t *testing.T) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func TestServe_withoutRights(t *testing.T) {
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := buildProgram(t)
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dataDir, want string }{
		{locked, "permission denied"},
		{filepath.Join(locked, "data"), "permission denied"},
		{program, "not a directory"},
	} {
		cmd := exec.Command(program, "serve", "--data-dir", c.dataDir, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0")
		cmd.SysProcAttr = nobody(t)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitFailure {
			t.Errorf("%s: ended with %v", c.dataDir, err)
		}
		text := strings.TrimSpace(string(out))
		if strings.Count(text, "\n") != 0 || !strings.Contains(text, c.want) || !strings.Contains(text, c.dataDir) {
			t.Errorf("%s: it says %q, want one line with %q", c.dataDir, text, c.want)
		}
	}
}

// TestServe_storeFails lets the gateway know that nothing can be stored: it
// says so and goes on controlling.
func TestServe_storeFails(t *testing.T) {
	g := startGateway(t)
	d := g.addDevice("Lamp", "native", "lamp")
	p := newPlug(t, g, d)
	p.send("/state", `{"on":false}`)
	g.d.storeFailing(gateway.Unavailablef("the disk is full"))
	if a := g.doAs("", "GET", "/readyz", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("/readyz while storing fails: %d", a.status)
	}
	if a := g.doAs("", "GET", "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("/healthz while storing fails: %d", a.status)
	}
	if c := g.command(d.ID, `{"action":"on"}`); c["status"] != "confirmed" {
		t.Errorf("a command while storing fails ended %v", c["status"])
	}
	g.d.storeFailing(nil)
	if a := g.doAs("", "GET", "/readyz", nil); a.status != http.StatusOK {
		t.Errorf("/readyz afterwards: %d", a.status)
	}
}

func TestServe_survivesGarbage(t *testing.T) {
	g := startGateway(t)
	for _, addr := range []string{g.mqtt, strings.TrimPrefix(g.http, "http://")} {
		for _, garbage := range []string{"\x00", "GET / HTTP/1.1\r\n", "\x10\xff\xff\xff\x7f", strings.Repeat("\xff", 4096)} {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write([]byte(garbage)) // refused or not
			_ = conn.Close()
		}
	}
	if a := g.doAs("", "GET", "/readyz", nil); a.status != http.StatusOK {
		t.Errorf("afterwards: %d", a.status)
	}
}
