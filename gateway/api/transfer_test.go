package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
)

// countingImporter counts the bytes of a file and takes a minute to store it.
type countingImporter struct{ ended chan error }

// Import implements api.Importer.
func (c countingImporter) Import(ctx context.Context, f api.ImportFile) (api.ImportResult, error) {
	n, err := io.Copy(io.Discard, f.Body)
	c.ended <- err
	if err != nil {
		return api.ImportResult{}, gateway.Invalidf("the file does not end")
	}
	select {
	case <-time.After(time.Minute):
		return api.ImportResult{Rows: n}, nil
	case <-ctx.Done():
		return api.ImportResult{}, ctx.Err()
	}
}

// pipeListener hands one end of a pipe to a server.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

// Accept implements net.Listener.
func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l pipeListener) Close() error { close(l.done); return nil }

// Addr implements net.Listener.
func (pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// dialAPI connects to a server with the time limits of the real one, within a
// bubble.
func dialAPI(t *testing.T, im api.Importer) net.Conn {
	t.Helper()
	s := api.New(api.Config{
		Logger: slog.New(slog.DiscardHandler), Devices: noDevices{}, Importer: im,
		Zone: time.UTC, Now: time.Now,
	})
	srv := &http.Server{
		Handler:           s.LocalHandler(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
	}
	l := pipeListener{make(chan net.Conn, 1), make(chan struct{})}
	ours, theirs := net.Pipe()
	l.conns <- theirs
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = ours.Close() // it may be closed already
		_ = srv.Close()  // the same
		<-served
	})
	return ours
}

const importHead = "POST /api/v1/imports?dry_run=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"

func TestServer_importMayBeSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := dialAPI(t, countingImporter{make(chan error, 1)})
		fmt.Fprintf(conn, importHead, 20)
		for range 20 { // over five minutes
			time.Sleep(15 * time.Second)
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatalf("after %v: %v", time.Now(), err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"rows":20`) {
			t.Errorf("got %s %s, %v", resp.Status, text, err)
		}
	})
}

func TestServer_importMustGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		im := countingImporter{make(chan error, 1)}
		conn := dialAPI(t, im)
		began := time.Now()
		fmt.Fprintf(conn, importHead, 20)
		fmt.Fprint(conn, "half")
		if err := <-im.ended; err == nil {
			t.Error("half a file is taken for a whole one")
		}
		if waited := time.Since(began); waited > 40*time.Second {
			t.Errorf("the gateway waited %v for the rest", waited)
		}
	})
}
