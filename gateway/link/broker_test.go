package link_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

// mosquitto is a running broker, foreign to us.
type mosquitto struct {
	t    *testing.T
	port string
	dir  string
	auth []string // arguments of the foreign clients
	cmd  *exec.Cmd
}

// startMosquitto starts Debian's broker on a free port; it ends with the
// test. users are name:password; with none, anyone may come.
func startMosquitto(t *testing.T, users ...string) *mosquitto {
	t.Helper()
	m := &mosquitto{t: t, dir: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, m.port, _ = net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	conf := "listener " + m.port + " 127.0.0.1\nset_tcp_nodelay true\n" +
		"max_inflight_messages 10\nmax_queued_messages 100000\n"
	if os.Getuid() == 0 {
		conf += "user root\n"
	}
	if len(users) == 0 {
		conf += "allow_anonymous true\n"
	} else {
		file := filepath.Join(m.dir, "passwords")
		write(t, file, strings.Join(users, "\n")+"\n")
		run(t, "mosquitto_passwd", "-U", file)
		conf += "password_file " + file + "\n"
		name, word, _ := strings.Cut(users[0], ":")
		m.auth = []string{"-u", name, "-P", word}
	}
	write(t, filepath.Join(m.dir, "conf"), conf)
	m.start()
	t.Cleanup(m.stop)
	return m
}

// start starts the broker and waits until it accepts connections.
func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(program(m.t, "mosquitto"), "-c", filepath.Join(m.dir, "conf"))
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "mosquitto accepts connections", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+m.port)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}

// stop ends the broker, if it runs.
func (m *mosquitto) stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill()
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// url returns the broker's address.
func (m *mosquitto) url() string { return "mqtt://127.0.0.1:" + m.port }

// publish has mosquitto_pub send a message.
func (m *mosquitto) publish(topic, payload string) {
	m.t.Helper()
	args := append([]string{"-h", "127.0.0.1", "-p", m.port, "-q", "1", "-t", topic}, m.auth...)
	if payload == "" {
		args = append(args, "-n")
	} else {
		args = append(args, "-m", payload)
	}
	run(m.t, "mosquitto_pub", args...)
}

// message is one that mosquitto_sub saw.
type message struct {
	topic, retained, payload string
	at                       time.Time
}

// observer is a mosquitto_sub that keeps what it sees.
type observer struct {
	t    *testing.T
	stop func()
	mu   sync.Mutex
	seen []message
}

// observe subscribes to a filter until the test ends.
func (m *mosquitto) observe(filter string) *observer {
	m.t.Helper()
	args := append([]string{
		"-h", "127.0.0.1", "-p", m.port, "-q", "1", "-F", "%t\t%r\t%p", "-t", filter,
		"-t", "ready/#",
	}, m.auth...)
	cmd := exec.Command(program(m.t, "mosquitto_sub"), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	o := &observer{t: m.t}
	var wg sync.WaitGroup
	wg.Go(func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			f := strings.SplitN(lines.Text(), "\t", 3)
			o.mu.Lock()
			o.seen = append(o.seen, message{f[0], f[1], f[2], time.Now()})
			o.mu.Unlock()
		}
	})
	o.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		wg.Wait()
		_ = cmd.Wait()
	})
	m.t.Cleanup(o.stop)
	// Its subscription stands when it sees something of ours.
	eventually(m.t, "mosquitto_sub subscribes", func() bool {
		m.publish("ready/x", "1")
		return len(o.all("ready/x")) > 0
	})
	return o
}

// all returns the payloads seen on a topic, in order.
func (o *observer) all(topic string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []string
	for _, m := range o.seen {
		if m.topic == topic {
			list = append(list, m.payload)
		}
	}
	return list
}

// snapshot returns everything seen so far, in order.
func (o *observer) snapshot() []message {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

// after returns the first message on topic, from the n-th of them on, that
// pleases.
func (o *observer) after(topic string, n int, pleases func(payload string) bool) message {
	o.t.Helper()
	var found message
	eventually(o.t, "a message on "+topic, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		i := 0
		for _, m := range o.seen {
			if m.topic != topic {
				continue
			}
			if i++; i > n && pleases(m.payload) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// anything pleases.
func anything(string) bool { return true }

// is pleases with one payload.
func is(want string) func(string) bool { return func(s string) bool { return s == want } }

// holds pleases with payloads that hold a text.
func holds(part string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, part) }
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

// program finds a program, also where Debian puts servers.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	if err != nil {
		t.Fatalf("%s is missing: make deps installs it", name)
	}
	return path
}

// run runs a program that must succeed.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program(t, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// write makes a file.
func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// quiet is a logger for tests that expect what it would say.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// background runs f until the test or the returned function ends it, which
// returns f's error.
func background(t *testing.T, f func(ctx context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return fmt.Errorf("did not end within %s", patience)
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

// noLeak checks that no more goroutines run than before.
func noLeak(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%d goroutines, %d before:\n%s",
				runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
