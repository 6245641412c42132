package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

func TestRunParts_stopInTheirOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	waits := func(name string) part {
		return part{name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
			return nil
		}}
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		culprit part
		want    string
	}{
		"failure": {part{"c", func(context.Context) error { return broken }}, "broken"},
		"panic":   {part{"c", func(context.Context) error { panic("a bug of ours") }}, "c: panic: a bug of ours"},
		"early":   {part{"c", func(context.Context) error { return nil }}, ""},
	} {
		order = nil
		err := runParts(t.Context(), []part{waits("a"), waits("b"), c.culprit, waits("d")})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v", name, err)
		}
		if want := []string{"a", "b", "d"}; !slices.Equal(order, want) {
			t.Errorf("%s: stopped %v, want %v", name, order, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	early := part{"e", func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("reading: %w", ctx.Err())
	}}
	if err := runParts(ctx, []part{waits("a"), early}); err != nil {
		t.Errorf("a context that ended: %v", err)
	}
}

func TestLimited_closesOneTooMany(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := limit(inner)
	defer l.Close()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	var kept []net.Conn
	for range httpPerHost {
		dial()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, conn)
	}
	extra := dial()
	accepted := make(chan net.Conn, 1)
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	if _, err := extra.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one too many reads %v, want it closed", err)
	}
	_ = kept[0].Close()
	_ = kept[0].Close() // counted once
	dial()
	(<-accepted).Close()
}

// TestProgram_endsCleanly stops the program while a request is half sent.
func TestProgram_endsCleanly(t *testing.T) {
	dir := shortDir(t)
	cmd := startProgram(t, buildProgram(t), dir)
	defer func() { _ = cmd.Process.Kill() }() // if it did not end
	url := cmd.http
	conn, err := net.Dial("tcp", url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/login HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", url)
	idle, err := net.Dial("tcp", cmd.mqtt) // and a client of MQTT that says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	t.Logf("it ended after %v", time.Since(begin).Round(time.Millisecond))
}

func TestCommands_ofAFormerRunAreExpired(t *testing.T) {
	dir := shortDir(t)
	devices := killDevices(t, dir, 1)
	program := buildProgram(t)
	cmd := startProgram(t, program, dir)
	f := localFlags{dataDir: dir}
	c := &client{http: socketClient(dir + "/" + socketName)}
	var sent struct{ ID, Status string }
	path := fmt.Sprintf("/devices/%d/commands", devices[0].ID)
	if err := c.call(t.Context(), "POST", path, map[string]string{"action": "on"}, &sent); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command to be written down", func() bool { return stored(t, dir, sent.ID) })
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	cmd = startProgram(t, program, f.dataDir)
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	if err := c.call(t.Context(), "GET", "/commands/"+sent.ID, nil, &sent); err != nil {
		t.Fatal(err)
	}
	if sent.Status != string(gateway.CommandExpired) {
		t.Errorf("after the crash the command is %s", sent.Status)
	}
}

// stored asks the database itself for a command.
func stored(t *testing.T, dir, id string) bool {
	t.Helper()
	out, err := exec.Command("sqlite3", "-readonly", dir+"/"+databaseName,
		"SELECT count(*) FROM command WHERE id = '"+id+"' AND status = 'sent'").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out)) == "1"
}

func TestRecorder_newestOfACommand(t *testing.T) {
	r := newRecorder(newLogger(testLog{t}, "text"))
	var saved []gateway.CommandStatus
	save := func(_ context.Context, c gateway.Command) error {
		saved = append(saved, c.Status)
		return nil
	}
	for range 10 * recorderQueue {
		r.command(gateway.Command{ID: "a", Status: gateway.CommandSent}, save)
	}
	r.command(gateway.Command{ID: "a", Status: gateway.CommandConfirmed}, save)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.run(ctx); err != nil {
		t.Fatal(err)
	}
	if want := []gateway.CommandStatus{gateway.CommandConfirmed}; !slices.Equal(saved, want) {
		t.Errorf("saved %v", saved)
	}
}
