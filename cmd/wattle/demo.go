package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/config"
	"github.com/wattle-home/wattle/gateway/link"
)

// The demo's history.
const (
	demoDays  = 60
	demoStep  = time.Minute
	demoBatch = 5000 // readings in one transaction
	demoHTTP  = "127.0.0.1:8480"
)

// serveDemo runs a gateway with a simulated household in a directory of its
// own, on loopback and without login, until ctx ends.
func serveDemo(
	ctx context.Context, cfg config.Config, log *slog.Logger, out io.Writer,
) (err error) {
	dir, err := os.MkdirTemp("", "wattle-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.DataDir = dir
	if cfg.HTTP, err = loopback(cfg.HTTP, demoHTTP); err != nil {
		return err
	}
	if cfg.MQTT, err = loopback(cfg.MQTT, "127.0.0.1:0"); err != nil {
		return err
	}
	d, err := assemble(ctx, cfg, modeDemo, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	house := link.NewFitted(1, d.zone, time.Now().AddDate(0, 0, -demoDays-1))
	fmt.Fprintf(out, "making %d days of history of %d appliances …\n", demoDays,
		len(house.Appliances()))
	secrets, err := d.furnish(ctx, house)
	if err != nil {
		return fmt.Errorf("making the simulated household: %w", err)
	}
	l, err := d.listen()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return d.live(ctx, l, out)
	})
	g.Go(func() error {
		defer stop()
		return link.Simulate(ctx, link.Simulation{
			Broker:     "mqtt://" + l.mqtt.Addr().String(),
			Household:  house,
			Credential: func(a link.Appliance) (string, string) { return a.Topic, secrets[a.Topic] },
			Logger:     log.With("part", "simulate"),
		})
	})
	return g.Wait()
}

// loopback keeps an address on this machine. The default addresses, which are
// open to the network, become otherwise, or a free port if that is taken.
func loopback(addr, otherwise string) (string, error) {
	if def := config.Default(); addr == def.HTTP || addr == def.MQTT {
		l, err := net.Listen("tcp", otherwise)
		if err != nil {
			return "127.0.0.1:0", nil //nolint:nilerr // it is taken: any other will do
		}
		return otherwise, l.Close()
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usageError{fmt.Errorf("address %q: %w", addr, err)}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", usageError{fmt.Errorf("--demo has no login and stays on loopback; %q is not", addr)}
	}
	return net.JoinHostPort(host, port), nil
}

// furnish adds the household's appliances with their credentials and history,
// and returns the secret of each topic.
func (d *daemon) furnish(ctx context.Context, house *link.Household) (map[string]string, error) {
	secrets := map[string]string{}
	ids := make([]gateway.DeviceID, len(house.Appliances()))
	for i, a := range house.Appliances() {
		dev, err := d.store.AddDevice(ctx, gateway.Device{
			Alias: a.Alias, Room: a.Room, Icon: a.Icon, Dialect: a.Dialect, Topic: a.Topic,
			Role: gateway.RoleConsumer, Schedule: gateway.Schedule{AlwaysOn: a.AlwaysOn},
		})
		if err != nil {
			return nil, err
		}
		secret, hash := api.NewDeviceSecret()
		_, err = d.store.AddCredential(ctx, gateway.Credential{
			Name: a.Topic, Kind: gateway.KindDevice, Username: a.Topic, Device: dev.ID,
		}, hash)
		if err != nil {
			return nil, err
		}
		ids[i], secrets[a.Topic] = dev.ID, secret
	}
	if err := d.makeHistory(ctx, house, ids); err != nil {
		return nil, err
	}
	return secrets, d.loadDevices(ctx)
}

// makeHistory stores what the appliances did until now.
func (d *daemon) makeHistory(
	ctx context.Context, house *link.Household, ids []gateway.DeviceID,
) error {
	now := time.Now().Truncate(demoStep)
	batch := make([]gateway.Reading, 0, demoBatch)
	flush := func() error {
		err := d.store.Append(ctx, batch)
		batch = batch[:0]
		return err
	}
	err := house.History(now.AddDate(0, 0, -demoDays), now, demoStep, func(i int,
		r gateway.Reading,
	) error {
		r.Device = ids[i]
		batch = append(batch, r)
		if len(batch) < cap(batch) {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}
