package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// newDevice returns `wattle device`.
func newDevice() *cobra.Command {
	return group("device", "Devices of the household",
		deviceAdd(), deviceList(), deviceShow(), deviceSet(), deviceRemove())
}

// deviceJSON is what the commands read of a device.
type deviceJSON struct {
	ID      int64    `json:"id"`
	UUID    string   `json:"uuid"`
	Alias   string   `json:"alias"`
	Dialect string   `json:"dialect"`
	Topic   string   `json:"topic"`
	Room    string   `json:"room"`
	Online  bool     `json:"online"`
	On      *bool    `json:"on"`
	PowerW  *float64 `json:"power_w"`
	MQTT    *struct {
		Username  string   `json:"username"`
		Password  string   `json:"password"`
		Topics    []string `json:"topics"`
		Channel   string   `json:"channel"`
		Broadcast string   `json:"broadcast"`
	} `json:"mqtt"`
}

// deviceAdd returns `wattle device add`.
func deviceAdd() *cobra.Command {
	f := localFlags{creates: true}
	in := map[string]string{}
	var dialect, topic, room string
	cmd := &cobra.Command{
		Use:   "add ALIAS",
		Short: "Add a device and print how it connects; the password is shown this once",
		Args:  exactArgs(1),
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		in["alias"] = args[0]
		for key, value := range map[string]string{"topic": topic, "room": room} {
			if value != "" {
				in[key] = value
			}
		}
		in["dialect"] = dialect
		if dialect == "none" {
			in["dialect"] = ""
		}
		var d deviceJSON
		if err := c.call(ctx, "POST", "/devices", in, &d); err != nil {
			return err
		}
		out := map[string]any{"id": d.ID, "uuid": d.UUID, "alias": d.Alias, "dialect": d.Dialect}
		if d.MQTT != nil {
			out["mqtt_username"], out["mqtt_password"] = d.MQTT.Username, d.MQTT.Password
			out["topics"], out["channel"] = d.MQTT.Topics, d.MQTT.Channel
			if d.MQTT.Broadcast != "" {
				out["broadcast"] = d.MQTT.Broadcast
			}
		}
		c.json = true // always JSON, as the contract says
		return c.print(out, nil)
	})
	f.add(cmd)
	cmd.Flags().StringVar(&dialect, "dialect", "native",
		"the device's family (native, tasmota, shelly-gen2), or none for a device without MQTT")
	cmd.Flags().StringVar(&topic, "topic", "", "its name on MQTT; made from the alias if not given")
	cmd.Flags().StringVar(&room, "room", "", "the room that it is in")
	return cmd
}

// deviceList returns `wattle device list`.
func deviceList() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "list", Short: "List the devices", Args: noArgs}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		var raw json.RawMessage
		if err := c.call(ctx, "GET", "/devices", nil, &raw); err != nil {
			return err
		}
		var ds []deviceJSON
		if err := json.Unmarshal(raw, &ds); err != nil {
			return err
		}
		return c.print(raw, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tALIAS\tDIALECT\tTOPIC\tROOM\tSTATE\tPOWER")
			for _, d := range ds {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Alias, d.Dialect, d.Topic,
					d.Room, deviceState(d), watts(d.PowerW))
			}
			_ = t.Flush() // the terminal is gone; nothing to do
		})
	})
	f.add(cmd)
	return cmd
}

// deviceState says in a word what a device does.
func deviceState(d deviceJSON) string {
	switch {
	case !d.Online:
		return "offline"
	case d.On == nil:
		return "online"
	case *d.On:
		return "on"
	}
	return "off"
}

// watts writes a power, or a dash for an unknown one.
func watts(w *float64) string {
	if w == nil {
		return "–"
	}
	return strconv.FormatFloat(*w, 'f', -1, 64) + " W"
}

// deviceID finds a device by its id, its alias or its topic.
func deviceID(ctx context.Context, c *client, text string) (int64, error) {
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		return id, nil
	}
	var ds []deviceJSON
	if err := c.call(ctx, "GET", "/devices", nil, &ds); err != nil {
		return 0, err
	}
	for _, d := range ds {
		if strings.EqualFold(d.Alias, text) || d.Topic == text || d.UUID == text {
			return d.ID, nil
		}
	}
	return 0, fmt.Errorf("there is no device %q; `wattle device list` shows them", text)
}

// devicePath returns the path of the device that an argument names.
func devicePath(ctx context.Context, c *client, text string) (string, error) {
	id, err := deviceID(ctx, c, text)
	return fmt.Sprintf("/devices/%d", id), err
}

// deviceShow returns `wattle device show`.
func deviceShow() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "show ID", Short: "Show a device, as JSON", Args: exactArgs(1)}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		path, err := devicePath(ctx, c, args[0])
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := c.call(ctx, "GET", path, nil, &raw); err != nil {
			return err
		}
		c.json = true
		return c.print(raw, nil)
	})
	f.add(cmd)
	return cmd
}

// deviceSet returns `wattle device set`.
func deviceSet() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{
		Use:   "set ID KEY=VALUE…",
		Short: "Change a device",
		Long: `Change a device. Keys are those of the API: alias, description, room, icon,
role, dialect, topic, always_on, parent_id, tags (with commas between), and of
a relay relay.line (such as gpiochip0:17; empty removes the relay),
relay.active_low, relay.initial and relay.safe.`,
		Args: minArgs(2),
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		path, err := devicePath(ctx, c, args[0])
		if err != nil {
			return err
		}
		body, err := settings(args[1:])
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := c.call(ctx, "PATCH", path, body, &raw); err != nil {
			return err
		}
		return c.print(raw, func(w io.Writer) {
			var d deviceJSON
			_ = json.Unmarshal(raw, &d) // it came from our own API
			fmt.Fprintf(w, "%s is changed\n", d.Alias)
		})
	})
	f.add(cmd)
	return cmd
}

// settings turns KEY=VALUE arguments into the body of a PATCH.
func settings(args []string) (map[string]any, error) {
	body, relay := map[string]any{}, map[string]any{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("%q is not KEY=VALUE", arg)}
		}
		into := body
		if name, ok := strings.CutPrefix(key, "relay."); ok {
			into, key = relay, name
		}
		switch key {
		case "always_on", "active_low":
			b, err := strconv.ParseBool(value)
			if err != nil {
				return nil, usageError{fmt.Errorf("%s=%s: want true or false", key, value)}
			}
			into[key] = b
		case "parent_id":
			into[key] = nil
			if value != "" {
				n, err := strconv.ParseInt(value, 10, 64)
				if err != nil {
					return nil, usageError{fmt.Errorf("%s=%s: want the id of a device, or nothing", key, value)}
				}
				into[key] = n
			}
		case "tags":
			tags := []string{}
			if value != "" {
				tags = strings.Split(value, ",")
			}
			into[key] = tags
		default:
			into[key] = value
		}
	}
	if line, ok := relay["line"]; ok && line == "" {
		body["relay"] = nil
	} else if len(relay) > 0 {
		body["relay"] = relay
	}
	return body, nil
}

// deviceRemove returns `wattle device remove`.
func deviceRemove() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{
		Use: "remove ID", Short: "Remove a device with its readings and its credential",
		Args: exactArgs(1),
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		path, err := devicePath(ctx, c, args[0])
		if err != nil {
			return err
		}
		return c.call(ctx, "DELETE", path, nil, nil)
	})
	f.add(cmd)
	return cmd
}
