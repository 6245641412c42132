package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
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
		openRelay: openRelay,
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
	d.store, err = store.Open(ctx, store.Config{
		Path:   filepath.Join(d.cfg.DataDir, databaseName),
		Logger: d.log.With("part", "store"), Now: time.Now,
	})
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

// report takes a device's report into the registry and tells who is concerned.
func (d *daemon) report(id gateway.DeviceID, r gateway.Report, at gateway.Instant) {
	before, _ := d.devices.State(id)
	s, ch := d.devices.Apply(id, r, at)
	if rd, ok := r.Reading(at); ok && d.hub.Watched() {
		rd.Device = id
		d.hub.Publish(gateway.LiveReading, rd)
	}
	if ch&^registry.ChangedReading != 0 {
		d.hub.Publish(gateway.LiveState, s)
	}
	if r.Has&(gateway.ReportOn|gateway.ReportPowerState) != 0 {
		d.dispatch.Reported(s)
	}
	if ch&registry.ChangedOn != 0 && before.Known.Has(gateway.KnownOn) {
		d.recordEvent(gateway.Event{
			At: at, Kind: gateway.EventSwitched, Device: id,
			Source: gateway.Source{Kind: "device", Member: r.ChangedBy}, Text: d.alias(id) + onOffText(s.On),
		})
	}
	if ch&registry.ChangedOnline != 0 {
		d.onlineEvent(s, at)
	}
}

// connected is told by the broker that a credential's client came or went. A
// device is there while one of its clients is.
func (d *daemon) connected(c gateway.Client, up bool) {
	if !d.access.count(c.Credential, up) {
		return
	}
	if s, news := d.devices.SetOnline(c.Device, up); news {
		d.hub.Publish(gateway.LiveState, s)
		d.onlineEvent(s, gateway.InstantOf(time.Now()))
	}
}

func (d *daemon) onlineEvent(s gateway.DeviceState, at gateway.Instant) {
	kind, text := gateway.EventOffline, " is offline"
	if s.Online {
		kind, text = gateway.EventOnline, " is online"
		d.loop.Wake() // it may not do what is wanted of it
	}
	d.recordEvent(gateway.Event{At: at, Kind: kind, Device: s.Device, Text: d.alias(s.Device) + text})
}

func (d *daemon) alias(id gateway.DeviceID) string {
	dev, _, _ := d.devices.Device(id)
	return dev.Alias
}

// onOffText ends a sentence about a device that was switched.
func onOffText(on bool) string {
	if on {
		return " was switched on"
	}
	return " was switched off"
}

// switchRelay switches a device's relay, and takes its level for what the
// device reports.
func (d *daemon) switchRelay(id gateway.DeviceID, on bool) error {
	if err := d.relays.Set(id, on); err != nil {
		return err
	}
	d.reportRelay(id, on)
	return nil
}

// reportRelay takes the level of a relay for what its device reports.
func (d *daemon) reportRelay(id gateway.DeviceID, on bool) {
	d.report(id, gateway.Report{
		Has: gateway.ReportOn | gateway.ReportOnline, On: on, Online: true,
	}, gateway.InstantOf(time.Now()))
}

// recordCommand shows a command to viewers and writes it down.
func (d *daemon) recordCommand(c gateway.Command) {
	d.hub.Publish(gateway.LiveCommand, c)
	d.loop.Command(c)
	d.record.command(c, d.store.SaveCommand)
}

// recordEvent writes an event down and shows it to viewers.
func (d *daemon) recordEvent(e gateway.Event) {
	if e.At == 0 {
		e.At = gateway.InstantOf(time.Now())
	}
	d.record.add(func(ctx context.Context) error {
		stored, err := d.store.AddEvent(ctx, e)
		if err != nil {
			stored = e
		}
		d.hub.Publish(gateway.LiveEvent, stored)
		return err
	})
}

// storeFailing is told when storing begins to fail and when it works again.
func (d *daemon) storeFailing(err error) {
	if err == nil {
		d.failing.Store(nil)
		d.log.Info("storing readings again")
		d.recordEvent(gateway.Event{Kind: gateway.EventStoreRecovered, Text: "readings are stored again"})
		return
	}
	d.failing.Store(&err)
	d.log.Error("storing readings fails", "err", err)
	d.recordEvent(gateway.Event{
		Kind: gateway.EventStoreFailing,
		Text: "readings cannot be stored: " + err.Error(),
	})
}

// addReadings stores readings that came over REST and shows them. They say
// nothing of whether the device is there.
func (d *daemon) addReadings(ctx context.Context, rs []gateway.Reading) error {
	if err := d.ingest.Add(ctx, rs); err != nil {
		return err
	}
	for _, r := range rs {
		d.devices.Restore(r)
		d.hub.Publish(gateway.LiveReading, r)
	}
	return nil
}

// changed follows a change that the API made, whether or not who made it is
// still there.
func (d *daemon) changed(ctx context.Context, c api.Change) {
	ctx = context.WithoutCancel(ctx)
	d.changing.Lock()
	defer d.changing.Unlock()
	if c.RemovedCredential != 0 {
		d.access.forget(c.RemovedCredential)
	}
	// What is removed leaves its mark on others, such as a parent or a member.
	err := d.readDevices(ctx)
	if err != nil && c.Device != nil {
		d.devices.Put(*c.Device)
	}
	if c.RemovedDevice != 0 {
		d.devices.Remove(c.RemovedDevice)
	}
	stale, gone, loadErr := d.access.load(ctx)
	if err := errors.Join(err, loadErr); err != nil {
		d.log.Error("reading devices and credentials", "err", err)
	}
	if d.mode == modeOffline {
		return
	}
	if c.RemovedCredential != 0 {
		gone = append(gone, c.RemovedCredential)
	}
	for _, id := range slices.Concat(stale, gone) {
		d.broker.Drop(id)
	}
	for _, id := range gone {
		d.broker.ForgetFrom(id)
	}
	d.configureRelays()
	d.loop.Wake()
}

// configureRelays opens the lines of devices that have one.
func (d *daemon) configureRelays() {
	relays := map[gateway.DeviceID]gateway.Relay{}
	for _, dev := range d.devices.Devices() {
		if dev.Relay != nil {
			relays[dev.ID] = *dev.Relay
		}
	}
	if err := d.relays.Configure(relays); err != nil {
		d.log.Error("opening relays", "err", err)
	}
	for id := range relays {
		on, known := d.relays.State(id)
		if s, _ := d.devices.State(id); known && !s.Known.Has(gateway.KnownOn) {
			d.reportRelay(id, on) // the level that it was opened with
		}
	}
}

// checkRelay tells why a device cannot have a relay: another has its line.
func (d *daemon) checkRelay(id gateway.DeviceID, r gateway.Relay) error {
	for _, dev := range d.devices.Devices() {
		if dev.Relay != nil && dev.ID != id && dev.Relay.Line == r.Line {
			return gateway.Conflictf("the line %s belongs to %s", r.Line, dev.Alias)
		}
	}
	return nil
}

// relayProblem says why the relay of a device does not work, or returns "".
func (d *daemon) relayProblem(id gateway.DeviceID) string {
	for _, p := range d.relays.Problems() {
		if p.Device == id {
			return p.Reason
		}
	}
	return ""
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
		{"maintain", d.maintain},
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

// maintainEvery is how often the store is tidied.
const maintainEvery = time.Hour

// maintain tidies the store at the start and then now and again.
func (d *daemon) maintain(ctx context.Context) error {
	t := time.NewTicker(maintainEvery)
	defer t.Stop()
	for {
		if err := d.store.Maintain(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("tidying the store", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
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
