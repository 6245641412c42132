package systemd_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
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

// newNotifier returns a Notifier in an environment of its own, and its log.
func newNotifier(t *testing.T, socket, usec string) (*systemd.Notifier, *bytes.Buffer) {
	t.Helper()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", usec)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	var log bytes.Buffer
	return systemd.New(slog.New(slog.NewTextHandler(&log, nil))), &log
}

func TestNotifier_sockets(t *testing.T) {
	for _, name := range []string{
		filepath.Join(t.TempDir(), "notify"),
		fmt.Sprintf("@wattle-test-%d-%d", os.Getpid(), time.Now().UnixNano()),
	} {
		m := listen(t, name)
		n, log := newNotifier(t, name, "")
		n.Ready("http://127.0.0.1:8480")
		if got, want := m.next(), "READY=1\nSTATUS=http://127.0.0.1:8480"; got != want {
			t.Errorf("ready: got %q, want %q", got, want)
		}
		n.Status("12 devices\nREADY=0")
		if got, want := m.next(), "STATUS=12 devices READY=0"; got != want {
			t.Errorf("status: got %q, want %q", got, want)
		}
		n.Stopping()
		if got, want := m.next(), "STOPPING=1"; got != want {
			t.Errorf("stopping: got %q, want %q", got, want)
		}
		if log.Len() > 0 {
			t.Errorf("logged %s", log)
		}
	}
}

func TestNotifier_nobodyListens(t *testing.T) {
	n, log := newNotifier(t, "", "1000")
	n.Ready("here")
	n.Watchdog(t.Context(), func() bool {
		t.Error("asked for progress though nobody listens")
		return true
	})
	if log.Len() > 0 {
		t.Errorf("logged %s", log)
	}
}

func TestNotifier_faultsAreLogged(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	tests := []struct{ name, socket, usec, want string }{
		{"socket gone", gone, "", gone},
		{"relative socket", "run/notify", "", "NOTIFY_SOCKET is"},
		{"no number", gone, "30s", "WATCHDOG_USEC is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, log := newNotifier(t, tt.socket, tt.usec)
			n.Ready("here")
			if !strings.Contains(log.String(), tt.want) {
				t.Errorf("logged %q, want it to hold %q", log, tt.want)
			}
		})
	}
}

func TestNotifier_Watchdog_onlyWithProgress(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m := listen(t, name)
	n, _ := newNotifier(t, name, "20000")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan struct{})
	answer := make(chan bool)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Watchdog(ctx, func() bool {
			select {
			case asked <- struct{}{}:
				return <-answer
			case <-ctx.Done():
				return false
			}
		})
	}()
	// Messages keep their order, so a mark shows that nothing was sent before.
	mark := func(text string) {
		t.Helper()
		n.Status(text)
		if got, want := m.next(), "STATUS="+text; got != want {
			t.Errorf("got %q, want %q and nothing before it", got, want)
		}
	}

	for range 3 {
		<-asked
		answer <- false
	}
	<-asked
	mark("stalled")
	answer <- true
	if got := m.next(); got != "WATCHDOG=1" {
		t.Errorf("got %q, want WATCHDOG=1", got)
	}
	<-asked
	cancel()
	answer <- false
	<-done
	mark("ended")
}
