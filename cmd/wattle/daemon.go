package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/config"
	"github.com/wattle-home/wattle/gateway/dialect"
	"github.com/wattle-home/wattle/gateway/dispatch"
	"github.com/wattle-home/wattle/gateway/hub"
	"github.com/wattle-home/wattle/gateway/ingest"
	"github.com/wattle-home/wattle/gateway/power"
	"github.com/wattle-home/wattle/gateway/power/gpio"
	"github.com/wattle-home/wattle/gateway/registry"
	"github.com/wattle-home/wattle/gateway/schedule"
	"github.com/wattle-home/wattle/store"
	"github.com/wattle-home/wattle/web"
)

// daemon is all parts of a gateway, wired.
type daemon struct {
	cfg  config.Config
	mode mode
	log  *slog.Logger
	zone *time.Location

	store    *store.Store
	devices  *registry.Registry
	hub      *hub.Hub
	access   *access
	record   *recorder
	ingest   *ingest.Ingest
	dispatch *dispatch.Dispatcher
	loop     *schedule.Loop
	relays   *power.Relays
	broker   *broker.Broker
	api      *api.Server
	hosts    *hosts

	openRelay func(gateway.Relay) (power.Line, error) // takes a GPIO line

	changing sync.Mutex  // held while a change of the API is followed
	serving  atomic.Bool // the broker accepts
	failing  atomic.Pointer[error]
	tidy     chan struct{} // asks for tidying the store before it is due
}

// mode says in which way a daemon lives.
type mode int

// Modes of a daemon.
const (
	modeServe   mode = iota
	modeDemo         // everyone is owner; on loopback only
	modeOffline      // no gateway runs: the API alone, for the command line
)

// assemble opens the store and wires the parts. It starts nothing; close
// undoes it.
func assemble(
	ctx context.Context, cfg config.Config, mode mode, log *slog.Logger,
) (*daemon, error) {
	zone, err := loadZone(cfg.Timezone)
	if err != nil {
		return nil, fmt.Errorf("loading the time zone: %w", err)
	}
	d := &daemon{
		cfg: cfg, mode: mode, log: log, zone: zone, devices: registry.New(), hub: &hub.Hub{},
		record: newRecorder(log.With("part", "record")), hosts: newHosts(cfg.Names),
		openRelay: openRelay, tidy: make(chan struct{}, 1),
	}
	if err := d.openStore(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(d.keepZone(ctx), d.wire()); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	return d, nil
}

// settingZone is where the store keeps the household's zone.
const settingZone = "timezone"

// keepZone writes the household's zone down while the gateway runs, so that
// the command line reads and shows the same times when it does not.
func (d *daemon) keepZone(ctx context.Context) error {
	if d.mode == modeServe {
		return d.store.SetSetting(ctx, settingZone, d.zone.String())
	}
	name, ok, err := d.store.Setting(ctx, settingZone)
	if err != nil || !ok || d.cfg.Timezone != "" || d.mode != modeOffline {
		return err
	}
	if zone, err := time.LoadLocation(name); err == nil {
		d.zone = zone
	}
	return nil
}

// openStore opens the database and reads what is known of the devices.
func (d *daemon) openStore(ctx context.Context) (err error) {
	cfg := store.Config{
		Path:   filepath.Join(d.cfg.DataDir, databaseName),
		Logger: d.log.With("part", "store"), Now: time.Now,
	}
	if d.mode != modeOffline { // the command line knows neither
		cfg.Zone = d.zone
		cfg.Retention = store.Retention{
			Readings: time.Duration(d.cfg.Retention.Days) * 24 * time.Hour,
			MaxBytes: int64(d.cfg.Retention.Megabytes) * 1_000_000,
		}
	}
	d.store, err = store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	d.access = &access{store: d.store, devices: d.devices}
	if err := d.loadDevices(ctx); err != nil {
		return errors.Join(err, d.store.Close())
	}
	return nil
}

// readDevices takes all devices of the store into the registry.
func (d *daemon) readDevices(ctx context.Context) error {
	ds, err := d.store.Devices(ctx)
	if err == nil {
		d.devices.Set(ds)
	}
	return err
}

func (d *daemon) loadDevices(ctx context.Context) error {
	if err := d.readDevices(ctx); err != nil {
		return err
	}
	last, err := d.store.Last(ctx)
	if err != nil {
		return err
	}
	for _, r := range last {
		d.devices.Restore(r)
	}
	_, _, err = d.access.load(ctx)
	return err
}

// wire makes the parts and hands each what it needs of the others.
func (d *daemon) wire() (err error) {
	d.ingest = ingest.New(ingest.Config{
		Logger:   d.log.With("part", "ingest"),
		Devices:  d.devices,
		Report:   d.report,
		Rejected: func(s gateway.DeviceState) { d.hub.Publish(gateway.LiveState, s) },
		Request: func(r gateway.Request) error {
			_, err := d.dispatch.Submit(r)
			return err
		},
		Append:  d.store.Append,
		Failing: d.storeFailing,
		Now:     time.Now,
		Zone:    d.zone,
		Commit: ingest.CommitIntervals{
			Acknowledged:   d.cfg.Commit.Acknowledged,
			Unacknowledged: d.cfg.Commit.Unacknowledged,
		},
	})
	d.relays, err = power.New(power.Config{
		Open:   func(r gateway.Relay) (power.Line, error) { return d.openRelay(r) },
		Logger: d.log.With("part", "power"),
	})
	if err != nil {
		return err
	}
	d.dispatch, err = dispatch.New(dispatch.Config{
		Device:  d.devices.Device,
		Devices: d.devices.Devices,
		Members: d.members,
		Encode:  encode,
		Publish: func(m gateway.Message) error { return d.broker.Publish(m) },
		Relay:   d.switchRelay,
		Record:  d.recordCommand,
		Event:   d.recordEvent,
		Logger:  d.log.With("part", "dispatch"),
	})
	if err != nil {
		return err
	}
	d.loop, err = schedule.NewLoop(schedule.Config{
		Devices: d.devices.Devices,
		Zone:    d.zone,
		Trusted: d.clockTrusted,
		Submit: func(r gateway.Request) error {
			_, err := d.dispatch.Submit(r)
			return err
		},
		State:  d.devices.State,
		Logger: d.log.With("part", "schedule"),
	})
	if err != nil {
		return err
	}
	d.broker, err = broker.New(broker.Config{
		Logger:       d.log.With("part", "broker"),
		Authenticate: d.access.authenticate,
		Handle:       d.ingest.Handle,
		Connected:    d.connected,
		Retained:     d.store,
		Limits:       brokerLimits(d.cfg.Rate),
	})
	if err != nil {
		return err
	}
	d.api = api.New(d.apiConfig())
	return nil
}

// apiConfig is what the API works with.
func (d *daemon) apiConfig() api.Config {
	importer := importer{dir: d.cfg.DataDir, store: d.store, changed: d.changed}
	cfg := api.Config{
		Logger:       d.log.With("part", "api"),
		Devices:      d.devices,
		Hub:          d.hub,
		Store:        d.store,
		History:      history{d.store, d.zone},
		Database:     database{d.store},
		Members:      d.store,
		Tokens:       d.store,
		Credentials:  apiStore{d.store},
		Events:       apiStore{d.store},
		Commands:     commander{d.dispatch},
		Planner:      planner{d.zone},
		Importer:     importer,
		AddReadings:  d.addReadings,
		DeviceTopics: deviceTopics,
		Changed:      d.changed,
		CheckChannel: d.access.checkChannel,
		CheckRelay:   d.checkRelay,
		RelayProblem: d.relayProblem,
		Host:         d.hosts.own,
		Ready:        d.ready,
		Page:         web.Handler(web.Options{}),
		Zone:         d.zone,
		Now:          time.Now,
		Demo:         d.mode == modeDemo,
		Name:         "This household",
		Version:      version,
	}
	if d.mode == modeOffline {
		cfg.Commands = nil
	}
	return cfg
}

// ready says why the gateway is not ready, or returns nil.
func (d *daemon) ready() error {
	if !d.serving.Load() {
		return errors.New("the broker does not accept yet")
	}
	if p := d.failing.Load(); p != nil {
		return fmt.Errorf("readings cannot be stored: %w", *p)
	}
	return nil
}

func (d *daemon) clockTrusted() bool {
	return d.cfg.TrustClock || d.mode == modeDemo || clockTrusted(time.Now())
}

// members lists the household's members, for broadcasts.
func (d *daemon) members() []gateway.Member { return d.access.list() }

// listeners are the open sockets of a gateway.
type listeners struct{ http, mqtt, local net.Listener }

// listen opens the sockets, each with its own error.
func (d *daemon) listen() (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.http, err = net.Listen("tcp", d.cfg.HTTP); err != nil {
		return l, fmt.Errorf("listening for HTTP on %s (--http): %w", d.cfg.HTTP, err)
	}
	if l.mqtt, err = net.Listen("tcp", d.cfg.MQTT); err != nil {
		return l, fmt.Errorf("listening for MQTT on %s (--mqtt): %w", d.cfg.MQTT, err)
	}
	l.local, err = listenLocal(filepath.Join(d.cfg.DataDir, socketName))
	return l, err
}

func (l listeners) close() {
	for _, x := range []net.Listener{l.http, l.mqtt, l.local} {
		if x != nil {
			_ = x.Close() // it is being given up
		}
	}
}

// listenLocal opens a Unix socket that only this user can use.
func listenLocal(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening for the command line: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// run lives until ctx ends or a part fails. Then it stops the parts one after
// the other: first what switches, so that relays are safe at once, then what
// comes in, last what is on its way to the disk.
func (d *daemon) run(ctx context.Context, l listeners) error {
	if err := d.store.ExpireCommands(ctx, gateway.InstantOf(time.Now())); err != nil {
		d.log.Error("ending the commands of before", "err", err)
	}
	d.configureRelays()
	d.serving.Store(true)
	return runParts(ctx, []part{
		{"schedule", d.loop.Run},
		{"dispatch", d.dispatch.Run},
		{"power", d.relays.Run},
		{"http", func(ctx context.Context) error {
			return serveHTTP(ctx, limit(l.http), d.api.Handler(), d.log)
		}},
		{"socket", func(ctx context.Context) error {
			return serveHTTP(ctx, l.local, d.api.LocalHandler(), d.log)
		}},
		{"broker", func(ctx context.Context) error { return d.broker.Run(ctx, l.mqtt) }},
		{"ingest", d.ingest.Run},
		{"record", d.record.run},
		{"scrub", hourly(d.log, "reading through the store", d.store.Scrub, nil)},
		{"maintain", hourly(d.log, "tidying the store", d.store.Maintain, d.tidy)},
	})
}

// runOffline answers on the private socket alone, until ctx ends.
func (d *daemon) runOffline(ctx context.Context, local net.Listener) error {
	return runParts(ctx, []part{
		{"socket", func(ctx context.Context) error {
			return serveHTTP(ctx, local, d.api.LocalHandler(), d.log)
		}},
		{"ingest", d.ingest.Run},
		{"record", d.record.run},
	})
}

// hourly returns a part that calls fn at once, then each hour and when now,
// which may be nil, asks for it.
func hourly(
	log *slog.Logger, doing string, fn func(ctx context.Context) error, now <-chan struct{},
) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		t := time.NewTicker(time.Hour)
		defer t.Stop()
		for {
			if err := fn(ctx); err != nil && ctx.Err() == nil {
				log.Error(doing, "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-t.C:
			case <-now:
			}
		}
	}
}

// close closes the store.
func (d *daemon) close() error { return d.store.Close() }

// encode is how a device's dialect says a command.
func encode(dev gateway.Device, c gateway.Command) ([]gateway.Message, error) {
	row, ok := dialect.ByName(dev.Dialect)
	if !ok {
		return nil, gateway.Invalidf("%s takes no commands over MQTT", dev.Alias)
	}
	return row.Encode(dev, c, c.Source.Kind)
}

// openRelay opens the GPIO line of a relay at its initial level.
func openRelay(r gateway.Relay) (power.Line, error) {
	return gpio.Open(r.Line, r.ActiveLow, r.Initial == "on")
}

// brokerLimits are the broker's defaults with the configured rate.
func brokerLimits(r config.Rate) broker.Limits {
	l := broker.Limits{DeviceRate: r.PerSecond, DeviceBurst: float64(r.Burst)}
	if r.PerSecond == 0 {
		l.DeviceRate = -1 // no limit
	}
	return l
}
