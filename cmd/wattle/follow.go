package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/registry"
)

// This file follows what happens: what devices report, what the API changed,
// how storing goes, and tells each part that is concerned.

// report takes a device's report into the registry and tells who is concerned.
func (d *daemon) report(id gateway.DeviceID, r gateway.Report, at gateway.Instant) {
	var before gateway.DeviceState
	if r.Tells(gateway.ReportOn) {
		before, _ = d.devices.State(id)
	}
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
	select {
	case d.tidy <- struct{}{}: // should the disk be full, it makes room
	default:
	}
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
