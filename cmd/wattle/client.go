package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway"
)

// socketName is the gateway's own socket in the data directory.
const socketName = "wattle.sock"

// client talks to the gateway: over its Unix socket while it runs, else to an
// API of our own on the same data.
type client struct {
	http  *http.Client
	json  bool
	out   io.Writer
	close func() error
}

// localFlags are the flags of every maintenance command.
type localFlags struct {
	dataDir string
	json    bool
	creates bool // the command may begin a household where there is none
}

// add declares the flags.
func (f *localFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dataDir, "data-dir", dataDirDefault(), "directory of the gateway's data")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// dataDirDefault is the data directory without a flag.
func dataDirDefault() string {
	if dir := os.Getenv("WATTLE_DATA_DIR"); dir != "" {
		return dir
	}
	return "./wattle-data"
}

// connect finds the gateway. The caller closes the client.
func (f *localFlags) connect(cmd *cobra.Command) (*client, error) {
	path := filepath.Join(f.dataDir, socketName)
	c := &client{json: f.json, out: cmd.OutOrStdout(), close: func() error { return nil }}
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		_ = conn.Close() // only tried whether somebody listens
		c.http = socketClient(path)
		return c, nil
	case !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("talking to the gateway at %s: %w", path, err)
	}
	if _, err := os.Stat(filepath.Join(f.dataDir, databaseName)); err != nil && !f.creates {
		return nil, fmt.Errorf("there is no gateway's data in %s; --data-dir says where it is: %w",
			f.dataDir, err)
	}
	local, err := serveOffline(cmd.Context(), f.dataDir)
	if err != nil {
		return nil, err
	}
	c.http, c.close = socketClient(local.socket), local.close
	return c, nil
}

// socketClient speaks HTTP over a Unix socket.
func socketClient(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
}

// base is where the API stands on the socket; the host is not looked at.
const apiBase = "http://wattle.local/api/v1"

// request sends a request and returns the answer if it is a success, else
// the problem that it tells as an error. The caller closes the body.
func (c *client) request(
	ctx context.Context, method, path, contentType string, body io.Reader,
) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, apiBase+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("talking to the gateway: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var p struct {
		Detail string               `json:"detail"`
		Title  string               `json:"title"`
		Errors []gateway.FieldError `json:"errors"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("the gateway answered %s", resp.Status)
	}
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, f := range p.Errors {
		if !strings.Contains(text, f.Detail) {
			text += "; " + f.Field + ": " + f.Detail
		}
	}
	return nil, errors.New(text)
}

// call sends in as JSON (nil for no body) and reads the answer into out (nil
// for none).
func (c *client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	contentType := ""
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, contentType = bytes.NewReader(text), "application/json"
	}
	resp, err := c.request(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err := io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// print writes v as JSON if that was asked for, else what text writes.
func (c *client) print(v any, text func(w io.Writer)) error {
	if c.json {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	text(c.out)
	return nil
}

// local is the body of a maintenance command: it connects, runs fn and closes.
func (f *localFlags) local(
	fn func(ctx context.Context, c *client, args []string) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) (err error) {
		c, err := f.connect(cmd)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		return fn(cmd.Context(), c, args)
	}
}

// exactArgs refuses another number of arguments as wrong usage.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// minArgs refuses fewer arguments as wrong usage.
func minArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MinimumNArgs(n)(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
