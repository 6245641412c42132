package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/link"
)

// newSimulate returns `wattle simulate`.
func newSimulate() *cobra.Command {
	var f localFlags
	var s simulateFlags
	cmd := &cobra.Command{
		Use:   "simulate --broker URL",
		Short: "Play a modelled household, or a recorded one, over MQTT",
		Long: `Play a modelled household (--household N) or a recorded one (--data FILE…,
columns device,time,power_w; .csv or .csv.gz) over MQTT.

Each device needs a credential of the gateway. Where a gateway runs on this
machine, --data-dir names its data and the devices are added to it; elsewhere
--username and --password-stdin give a bridge credential that covers them.`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return s.run(cmd, &f) }
	f.add(cmd)
	cmd.Flags().StringVar(&s.broker, "broker", "", "mqtt://host:port")
	cmd.Flags().IntVar(&s.household, "household", 1, "number of the modelled household")
	cmd.Flags().StringArrayVar(&s.data, "data", nil, "a recorded household; repeatable")
	cmd.Flags().BoolVar(&s.shift, "shift", false, "move a recording into the present")
	cmd.Flags().StringVar(&s.speed, "speed", "1x", "seconds of the household in one, such as 60x")
	cmd.Flags().StringVar(&s.from, "from", "", "begin at this instant of the household")
	cmd.Flags().StringVar(&s.zone, "zone", "", "time zone of the household; the system's if not given")
	cmd.Flags().StringVar(&s.username, "username", "", "user name of a bridge credential")
	cmd.Flags().BoolVar(&s.password.stdin, "password-stdin", false,
		"read its password from standard input")
	return cmd
}

// simulateFlags is what a simulation is asked for.
type simulateFlags struct {
	broker, speed, from, zone, username string
	household                           int
	shift                               bool
	data                                []string
	password                            passwordFlag
}

func (s *simulateFlags) run(cmd *cobra.Command, f *localFlags) error {
	if s.broker == "" {
		return usageError{errors.New("--broker is missing; it is mqtt://host:port")}
	}
	speed, err := parseSpeed(s.speed)
	if err != nil {
		return err
	}
	from, err := parseFrom(s.from)
	if err != nil {
		return err
	}
	zone, err := loadZone(s.zone)
	if err != nil {
		return usageError{fmt.Errorf("--zone: %w", err)}
	}
	log := newLogger(cmd.ErrOrStderr(), "text")
	credential, err := s.credentials(cmd, f)
	if err != nil {
		return err
	}
	if len(s.data) > 0 {
		res, err := link.Replay(cmd.Context(), link.Recorded{
			Broker: s.broker, Files: s.data, Zone: zone, Speed: speed, From: from, Shift: s.shift,
			Credential: func(device string) (link.Login, error) {
				a := link.Appliance{Alias: device, Dialect: "native", Topic: topicOf(device)}
				user, password, err := credential(a)
				return link.Login{Topic: a.Topic, Username: user, Password: password}, err
			},
			Logger: log,
		})
		fmt.Fprintf(cmd.OutOrStdout(),
			"%d readings of %d devices published, %d acknowledged, %d refused\n",
			res.Readings, res.Devices, res.Acknowledged, res.Refused)
		return err
	}
	house := link.NewHousehold(s.household, zone)
	secrets := map[string][2]string{}
	for _, a := range house.Appliances() {
		user, password, err := credential(a)
		if err != nil {
			return err
		}
		secrets[a.Topic] = [2]string{user, password}
	}
	return link.Simulate(cmd.Context(), link.Simulation{
		Broker: s.broker, Household: house, From: from, Speed: speed, Logger: log,
		Credential: func(a link.Appliance) (string, string) {
			return secrets[a.Topic][0], secrets[a.Topic][1]
		},
	})
}

// credentials returns how a device gets its credential: the bridge's that was
// given, or one of its own from the gateway on this machine.
func (s *simulateFlags) credentials(
	cmd *cobra.Command, f *localFlags,
) (func(link.Appliance) (user, password string, err error), error) {
	if s.username != "" {
		password, err := s.password.read(cmd)
		return func(link.Appliance) (string, string, error) { return s.username, password, nil }, err
	}
	path := filepath.Join(f.dataDir, socketName)
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s; give --data-dir, or --username: %w", path, err)
	}
	_ = conn.Close() // only tried whether somebody listens
	c := &client{http: socketClient(path), out: io.Discard}
	return func(a link.Appliance) (string, string, error) {
		return ownCredential(cmd.Context(), c, a)
	}, nil
}

// ownCredential adds a device to the gateway, in place of an earlier one that
// was simulated, and returns its credential.
func ownCredential(
	ctx context.Context, c *client, a link.Appliance,
) (user, password string, err error) {
	in := map[string]string{
		"alias": a.Alias, "dialect": a.Dialect, "topic": a.Topic, "room": a.Room, "icon": a.Icon,
		"description": simulated,
	}
	var ds []struct {
		ID          int64  `json:"id"`
		Alias       string `json:"alias"`
		Description string `json:"description"`
	}
	if err := c.call(ctx, "GET", "/devices", nil, &ds); err != nil {
		return "", "", err
	}
	for _, d := range ds {
		if !strings.EqualFold(d.Alias, a.Alias) {
			continue
		}
		if d.Description != simulated {
			return "", "", gateway.Conflictf("the gateway has a device %q that is not simulated", a.Alias)
		}
		if err := c.call(ctx, "DELETE", fmt.Sprintf("/devices/%d", d.ID), nil, nil); err != nil {
			return "", "", err
		}
	}
	var d deviceJSON
	if err := c.call(ctx, "POST", "/devices", in, &d); err != nil {
		return "", "", err
	}
	return d.MQTT.Username, d.MQTT.Password, nil
}

// topicOf makes a topic out of the name of a recorded device.
func topicOf(device string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("/+#$ ", r) {
			return '-'
		}
		return r
	}, device)
}

// simulated marks a device that only this command plays.
const simulated = "simulated"
