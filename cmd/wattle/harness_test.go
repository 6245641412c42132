package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/config"
)

// testGateway is a whole gateway in this process, on free ports of loopback.
type testGateway struct {
	t     *testing.T
	d     *daemon
	dir   string
	http  string // base of the URL
	mqtt  string // host:port
	token string // of an owner
}

// shortDir is a directory for data whose path leaves room for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// testConfig is a configuration on free ports that commits at once.
func testConfig(dir string) config.Config {
	cfg := config.Default()
	cfg.DataDir, cfg.HTTP, cfg.MQTT = dir, "127.0.0.1:0", "127.0.0.1:0"
	cfg.Timezone, cfg.TrustClock = "Europe/Berlin", true
	cfg.Commit = config.Commit{}
	return cfg
}

// startGateway runs a gateway until the test ends.
func startGateway(t *testing.T, change ...func(*config.Config)) *testGateway {
	t.Helper()
	cfg := testConfig(shortDir(t))
	for _, f := range change {
		f(&cfg)
	}
	log := slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := assemble(t.Context(), cfg, modeServe, log)
	if err != nil {
		t.Fatal(err)
	}
	l := runDaemon(t, d)
	g := &testGateway{
		t: t, d: d, dir: cfg.DataDir,
		http: "http://" + l.http.Addr().String(), mqtt: l.mqtt.Addr().String(),
	}
	g.token = g.newToken("test-owner", "owner")
	return g
}

// runDaemon runs a daemon until the test ends, and closes it then.
func runDaemon(tb testing.TB, d *daemon) listeners {
	tb.Helper()
	l, err := d.listen()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, l) }()
	tb.Cleanup(func() {
		stop()
		if err := errors.Join(<-done, d.close()); err != nil {
			tb.Errorf("the gateway ended with %v", err)
		}
	})
	return l
}

// testLog writes the gateway's log to the test's.
type testLog struct{ t *testing.T }

// Write implements io.Writer.
func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil { // later the test is over
		l.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// local sends a request over the gateway's Unix socket.
func (g *testGateway) local(method, path string, in any) []byte {
	g.t.Helper()
	c := &client{http: socketClient(filepath.Join(g.dir, socketName))}
	var out json.RawMessage
	if err := c.call(g.t.Context(), method, path, in, &out); err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	return out
}

// newToken makes a token with a role.
func (g *testGateway) newToken(name, role string) string {
	g.t.Helper()
	var out struct{ Token string }
	unmarshal(g.t, g.local("POST", "/tokens", map[string]string{"name": name, "role": role}), &out)
	return out.Token
}

// answer is an answer of the API.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request with the owner's token; in is sent as JSON, a string as
// it is.
func (g *testGateway) do(method, path string, in any) answer {
	g.t.Helper()
	return g.doAs("Bearer "+g.token, method, path, in)
}

// doAs does so with other credentials; "" sends none.
func (g *testGateway) doAs(auth, method, path string, in any) answer {
	g.t.Helper()
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case string:
		body = strings.NewReader(v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			g.t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.http+path, body)
	if err != nil {
		g.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, text}
}

// get reads a resource of the API into out.
func (g *testGateway) get(path string, out any) {
	g.t.Helper()
	a := g.do("GET", "/api/v1"+path, nil)
	if a.status != http.StatusOK {
		g.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	unmarshal(g.t, a.body, out)
}

// must sends a request that has to succeed and reads the answer into out.
func (g *testGateway) must(method, path string, in, out any) {
	g.t.Helper()
	a := g.do(method, "/api/v1"+path, in)
	if a.status >= 300 {
		g.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if out != nil {
		unmarshal(g.t, a.body, out)
	}
}

func unmarshal(t *testing.T, text []byte, out any) {
	t.Helper()
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatalf("reading %s: %v", text, err)
	}
}

// addDevice adds a device and returns it with its secret.
func (g *testGateway) addDevice(alias, dialect, topic string) deviceJSON {
	g.t.Helper()
	var d deviceJSON
	g.must("POST", "/devices", map[string]string{"alias": alias, "dialect": dialect, "topic": topic}, &d)
	return d
}

// readings returns all readings of a device.
func (g *testGateway) readings(id int64) []readingJSON {
	g.t.Helper()
	var page struct{ Items []readingJSON }
	g.get("/devices/"+strconv.FormatInt(id, 10)+"/readings?per_page=10000", &page)
	return page.Items
}

// readingJSON is a reading of the API.
type readingJSON struct {
	Time     time.Time `json:"time"`
	PowerW   *float64  `json:"power_w"`
	EnergyWh *float64  `json:"energy_wh"`
}

// eventually polls until ok says yes, or fails after a time that is long for
// what it waits for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		pause()
	}
}

// state returns what a device does now.
func (g *testGateway) state(id int64) gateway.DeviceState {
	s, _ := g.d.devices.State(gateway.DeviceID(id))
	return s
}

// pause is a poll's rest.
func pause() { time.Sleep(20 * time.Millisecond) }

// pahoClient is a client of MQTT 5 with its connection.
type pahoClient struct {
	*paho.Client
	Conn net.Conn
}

// dialPaho connects with paho.
func dialPaho(ctx context.Context, addr, user, password string, cfg paho.ClientConfig) (pahoClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return pahoClient{}, err
	}
	cfg.Conn = conn
	if cfg.OnClientError == nil {
		cfg.OnClientError = func(error) {}
	}
	c := paho.NewClient(cfg)
	_, err = c.Connect(ctx, &paho.Connect{
		ClientID: user, KeepAlive: 30, CleanStart: true,
		Username: user, UsernameFlag: true, Password: []byte(password), PasswordFlag: true,
	})
	if err != nil {
		_ = conn.Close() // there is nothing on it
		return pahoClient{}, err
	}
	return pahoClient{c, conn}, nil
}

// connectPaho does so until the test ends.
func connectPaho(t *testing.T, addr, user, password string, cfg paho.ClientConfig) *paho.Client {
	t.Helper()
	c, err := dialPaho(t.Context(), addr, user, password, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return c.Client
}

// buildProgram builds the program without the race detector, once for all
// tests, where everybody may start it.
func buildProgram(tb testing.TB) string {
	tb.Helper()
	path, err := builtProgram()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// builtProgram is the program that buildProgram built.
var builtProgram = sync.OnceValues(func() (string, error) {
	dir := os.Getenv(programDir)
	path := filepath.Join(dir, "wattle")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the program: %w: %s", err, out)
	}
	return path, os.Chmod(dir, 0o755)
})
