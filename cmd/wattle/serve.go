package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/config"
	"github.com/wattle-home/wattle/systemd"
)

// newServe returns `wattle serve`.
func newServe() *cobra.Command {
	var file string
	var demo bool
	flags := config.Config{}
	cmd := &cobra.Command{Use: "serve", Short: "Run the gateway", Args: noArgs}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := serveConfig(cmd, file, flags)
		if err != nil {
			return usageError{err}
		}
		log := newLogger(cmd.ErrOrStderr(), cfg.LogFormat)
		if demo {
			return serveDemo(cmd.Context(), cfg, log, cmd.OutOrStdout())
		}
		return serve(cmd.Context(), cfg, log, cmd.OutOrStdout())
	}
	def := config.Default()
	f := cmd.Flags()
	f.StringVar(&file, "config", "",
		"settings file (WATTLE_CONFIG; "+config.DefaultFile+" if it is there)")
	f.StringVar(&flags.DataDir, "data-dir", def.DataDir, "database and keys (WATTLE_DATA_DIR)")
	f.StringVar(&flags.HTTP, "http", def.HTTP, "address of REST API and dashboard (WATTLE_HTTP)")
	f.StringVar(&flags.MQTT, "mqtt", def.MQTT, "address of the MQTT broker (WATTLE_MQTT)")
	f.StringVar(&flags.Timezone, "timezone", "",
		"the household's IANA time zone (WATTLE_TIMEZONE; the system's)")
	f.StringArrayVar(&flags.Names, "name", nil, "a further host name of the gateway; repeatable")
	f.StringVar(&flags.LogFormat, "log-format", def.LogFormat, "text or json")
	f.BoolVar(&flags.TrustClock, "trust-clock", false,
		"run schedules though nothing vouches for the clock (WATTLE_TRUST_CLOCK)")
	f.DurationVar(&flags.Commit.Acknowledged, "commit-interval", def.Commit.Acknowledged,
		"how long an acknowledged reading may wait for others, 0s to 10s")
	f.DurationVar(&flags.Commit.Unacknowledged, "commit-interval-qos0", def.Commit.Unacknowledged,
		"the same for readings that nobody waits for")
	f.Float64Var(&flags.Rate.PerSecond, "mqtt-rate", def.Rate.PerSecond,
		"messages a second that a device may publish; 0 for no limit")
	f.IntVar(&flags.Rate.Burst, "mqtt-burst", def.Rate.Burst, "how many it may publish at once")
	f.IntVar(&flags.Retention.Days, "keep-days", def.Retention.Days,
		"days for which single readings are kept, 0 for ever; their sums stay")
	f.IntVar(&flags.Retention.Megabytes, "max-megabytes", def.Retention.Megabytes,
		"size of the database beyond which the oldest readings go, 0 for no bound")
	f.BoolVar(&demo, "demo", false, "a simulated household on loopback, without login")
	return cmd
}

// serveConfig joins file, environment and flags; the later win.
func serveConfig(cmd *cobra.Command, file string, flags config.Config) (config.Config, error) {
	if file == "" {
		file = os.Getenv("WATTLE_CONFIG")
	}
	cfg, err := config.Read(file)
	if err != nil {
		return cfg, err
	}
	env := func(name string, to *string) {
		if v, ok := os.LookupEnv(name); ok && v != "" {
			*to = v
		}
	}
	env("WATTLE_DATA_DIR", &cfg.DataDir)
	env("WATTLE_HTTP", &cfg.HTTP)
	env("WATTLE_MQTT", &cfg.MQTT)
	env("WATTLE_TIMEZONE", &cfg.Timezone)
	if v := os.Getenv("WATTLE_TRUST_CLOCK"); v != "" {
		if cfg.TrustClock, err = strconv.ParseBool(v); err != nil {
			return cfg, fmt.Errorf("WATTLE_TRUST_CLOCK=%q: want true or false", v)
		}
	}
	for name, set := range map[string]func(){
		"data-dir":             func() { cfg.DataDir = flags.DataDir },
		"http":                 func() { cfg.HTTP = flags.HTTP },
		"mqtt":                 func() { cfg.MQTT = flags.MQTT },
		"timezone":             func() { cfg.Timezone = flags.Timezone },
		"name":                 func() { cfg.Names = append(cfg.Names, flags.Names...) },
		"log-format":           func() { cfg.LogFormat = flags.LogFormat },
		"trust-clock":          func() { cfg.TrustClock = flags.TrustClock },
		"commit-interval":      func() { cfg.Commit.Acknowledged = flags.Commit.Acknowledged },
		"commit-interval-qos0": func() { cfg.Commit.Unacknowledged = flags.Commit.Unacknowledged },
		"mqtt-rate":            func() { cfg.Rate.PerSecond = flags.Rate.PerSecond },
		"mqtt-burst":           func() { cfg.Rate.Burst = flags.Rate.Burst },
		"keep-days":            func() { cfg.Retention.Days = flags.Retention.Days },
		"max-megabytes":        func() { cfg.Retention.Megabytes = flags.Retention.Megabytes },
	} {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
	return cfg, cfg.Check()
}

// newLogger writes logs to w.
func newLogger(w io.Writer, format string) *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelInfo}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// serve runs the gateway until ctx ends.
func serve(ctx context.Context, cfg config.Config, log *slog.Logger, out io.Writer) (err error) {
	// What lives is a few megabytes; twice that between collections is a lot on
	// the smallest board.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if err := removeSpools(cfg.DataDir); err != nil {
		return err
	}
	d, err := assemble(ctx, cfg, modeServe, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	l, err := d.listen()
	if err != nil {
		return err
	}
	if err := d.hintOwner(ctx); err != nil {
		l.close()
		return err
	}
	return d.live(ctx, l, out)
}

// live runs the parts, says that the gateway is ready and keeps systemd
// informed.
func (d *daemon) live(ctx context.Context, l listeners, out io.Writer) error {
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { done <- d.run(running, l) }()
	if err := awaitHTTP(running, l.http.Addr()); err != nil {
		stop()
		return errors.Join(<-done, err)
	}
	fmt.Fprintf(out, "wattle is ready: http://%s/ mqtt://%s\n",
		d.hosts.reach(l.http.Addr()), d.hosts.reach(l.mqtt.Addr()))
	notifier := systemd.New(d.log.With("part", "systemd"))
	notifier.Ready("serving on " + l.http.Addr().String())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		notifier.Watchdog(running, d.progressing)
	}()
	select {
	case err := <-done:
		stop()
		<-watched
		return err
	case <-ctx.Done():
	}
	notifier.Stopping()
	err := <-done
	stop()
	<-watched
	return err
}

// progressing reports whether the parts that switch things are alive.
func (d *daemon) progressing() bool {
	const most = 90 * time.Second
	now := time.Now()
	return now.Sub(d.loop.Progress()) < most && now.Sub(d.dispatch.Progress()) < most
}

// awaitHTTP waits until somebody accepts at addr.
func awaitHTTP(ctx context.Context, addr net.Addr) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return fmt.Errorf("reaching our own HTTP server: %w", err)
	}
	return conn.Close()
}

// hintOwner says how to make the first owner while there is none.
func (d *daemon) hintOwner(ctx context.Context) error {
	members, err := d.store.Members(ctx)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Role == gateway.RoleOwner {
			return nil
		}
	}
	d.log.Warn("nobody can log in yet", "todo",
		"wattle user add NAME --role owner --data-dir "+d.cfg.DataDir)
	return nil
}

// offline is an API of our own on data whose gateway does not run.
type offline struct {
	socket string
	close  func() error
}

// serveOffline opens the data and answers on a private socket.
func serveOffline(ctx context.Context, dataDir string) (*offline, error) {
	lock, err := lockDir(dataDir)
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	if file, err := config.Read(""); err == nil {
		cfg = file
	}
	cfg.DataDir = dataDir
	if tz := os.Getenv("WATTLE_TIMEZONE"); tz != "" {
		cfg.Timezone = tz
	}
	log := newLogger(os.Stderr, "text")
	d, err := assemble(ctx, cfg, modeOffline, log)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	dir, err := os.MkdirTemp("", "wattle-")
	if err != nil {
		return nil, errors.Join(err, d.close(), lock.release())
	}
	path := dir + "/" + socketName
	l, err := listenLocal(path)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir), d.close(), lock.release())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- d.runOffline(running, l) }()
	return &offline{socket: path, close: func() error {
		stop()
		return errors.Join(<-done, d.close(), os.RemoveAll(dir), lock.release())
	}}, nil
}
