package systemd_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattle-home/wattle/systemd"
)

// manager is the service manager's end of the socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

// listen opens a socket of that name.
func listen(t *testing.T, name string) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return manager{t, conn}
}

// next returns the next message, or fails after a while.
func (m manager) next() string {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		m.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := m.conn.Read(buf)
	if err != nil {
		m.t.Fatalf("no message came: %v", err)
	}
	return string(buf[:n])
}

func TestNotifier_sockets(t *testing.T) {
	for _, name := range []string{
		filepath.Join(t.TempDir(), "notify"),
		fmt.Sprintf("@wattle-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	} {
		m := listen(t, name)
		n := systemd.New(systemd.Config{Socket: name})
		if err := n.Ready("http://127.0.0.1:8480"); err != nil {
			t.Fatal(err)
		}
		if got, want := m.next(), "READY=1\nSTATUS=http://127.0.0.1:8480"; got != want {
			t.Errorf("ready: got %q, want %q", got, want)
		}
		if err := n.Status("12 devices\nREADY=0"); err != nil {
			t.Fatal(err)
		}
		if got, want := m.next(), "STATUS=12 devices READY=0"; got != want {
			t.Errorf("status: got %q, want %q", got, want)
		}
		if err := n.Stopping("writing"); err != nil {
			t.Fatal(err)
		}
		if got, want := m.next(), "STOPPING=1\nSTATUS=writing"; got != want {
			t.Errorf("stopping: got %q, want %q", got, want)
		}
	}
}

func TestNotifier_nobodyListens(t *testing.T) {
	n := systemd.New(systemd.Config{Interval: time.Millisecond})
	if err := n.Ready("here"); err != nil {
		t.Errorf("ready without a service manager: %v", err)
	}
	err := n.Watchdog(t.Context(), func() bool {
		t.Error("asked for progress though nobody listens")
		return true
	})
	if err != nil {
		t.Errorf("watchdog without a service manager: %v", err)
	}
}

func TestNotifier_socketGone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gone")
	err := systemd.New(systemd.Config{Socket: name}).Ready("here")
	if err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("got %v, want an error that names %s", err, name)
	}
}

func TestNotifier_Watchdog_onlyWithProgress(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m := listen(t, name)
	n := systemd.New(systemd.Config{Socket: name, Interval: 20 * time.Millisecond})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{})
	answer := make(chan bool)
	done := make(chan error, 1)
	go func() {
		done <- n.Watchdog(ctx, func() bool { asked <- struct{}{}; return <-answer })
	}()

	for range 3 { // stalled
		<-asked
		answer <- false
	}
	<-asked
	mark := func(text string) {
		t.Helper()
		if err := n.Status(text); err != nil {
			t.Fatal(err)
		}
		if got, want := m.next(), "STATUS="+text; got != want {
			t.Errorf("got %q, want %q and nothing before it", got, want)
		}
	}
	mark("stalled")
	answer <- true
	if got := m.next(); got != "WATCHDOG=1" {
		t.Errorf("got %q, want WATCHDOG=1", got)
	}
	<-asked
	cancel()
	answer <- false
	if err := <-done; err != nil {
		t.Error(err)
	}
	mark("ended")
}

func TestFromEnv(t *testing.T) {
	const pid = 42
	tests := []struct {
		name     string
		env      map[string]string
		socket   string
		interval time.Duration
		fault    string
	}{
		{name: "nothing"},
		{
			name:   "all",
			env:    map[string]string{"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"},
			socket: "/run/n", interval: 30 * time.Second,
		},
		{
			name:   "abstract, no pid",
			env:    map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1500"},
			socket: "@n", interval: 1500 * time.Microsecond,
		},
		{
			name:   "watchdog of another process",
			env:    map[string]string{"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1500", "WATCHDOG_PID": "41"},
			socket: "@n",
		},
		{
			name:  "relative socket",
			env:   map[string]string{"NOTIFY_SOCKET": "run/n"},
			fault: `NOTIFY_SOCKET is "run/n"`,
		},
		{
			name:   "not a number",
			env:    map[string]string{"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "30s"},
			socket: "/n", fault: `WATCHDOG_USEC is "30s"`,
		},
		{name: "zero", env: map[string]string{"WATCHDOG_USEC": "0"}, fault: `WATCHDOG_USEC is "0"`},
		{
			name:  "overflow",
			env:   map[string]string{"WATCHDOG_USEC": "9223372036854775807"},
			fault: "WATCHDOG_USEC is",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := systemd.FromEnv(func(k string) string { return tt.env[k] }, pid)
			if cfg.Socket != tt.socket || cfg.Interval != tt.interval {
				t.Errorf("got socket %q, interval %v, want %q, %v",
					cfg.Socket, cfg.Interval, tt.socket, tt.interval)
			}
			switch {
			case tt.fault == "" && err != nil:
				t.Error(err)
			case tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)):
				t.Errorf("got error %v, want one that holds %q", err, tt.fault)
			}
		})
	}
}
