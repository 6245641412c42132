package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// newCredential returns `wattle credential`.
func newCredential() *cobra.Command {
	return group("credential", "MQTT credentials of bridges and other programs",
		credentialAdd(), credentialList(), revoke("credential", "/credentials/"))
}

// credentialAdd returns `wattle credential add`.
func credentialAdd() *cobra.Command {
	f := localFlags{creates: true}
	var kind, access string
	var topics []string
	cmd := &cobra.Command{
		Use:   "add NAME --kind bridge|client --topics FILTER[,FILTER…]",
		Short: "Make a credential and print its password, this once",
		Args:  exactArgs(1),
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		in := map[string]any{"name": args[0], "kind": kind, "topics": topics, "access": access}
		var out map[string]any
		if err := c.call(ctx, "POST", "/credentials", in, &out); err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) {
			fmt.Fprintf(w, "user name  %s\npassword   %s\n", out["mqtt_username"], out["mqtt_password"])
		})
	})
	f.add(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "bridge (devices behind it) or client (another program)")
	cmd.Flags().StringSliceVar(&topics, "topics", nil, "topic filters that it may use")
	cmd.Flags().StringVar(&access, "access", "readwrite", "read, write or readwrite")
	return cmd
}

// credentialList returns `wattle credential list`.
func credentialList() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "list", Short: "List the credentials", Args: noArgs}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		out := []struct {
			ID       int64    `json:"id"`
			Name     string   `json:"name"`
			Kind     string   `json:"kind"`
			DeviceID *int64   `json:"device_id"`
			Read     []string `json:"read"`
			Write    []string `json:"write"`
			Username string   `json:"mqtt_username"`
		}{}
		if err := c.call(ctx, "GET", "/credentials", nil, &out); err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tKIND\tREADS\tWRITES")
			for _, x := range out {
				reads, writes := strings.Join(x.Read, ","), strings.Join(x.Write, ",")
				if x.Kind == "device" {
					reads, writes = "its channel", "its own topics"
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", x.Name, x.Kind, reads, writes)
			}
			_ = t.Flush() // the terminal is gone; nothing to do
		})
	})
	f.add(cmd)
	return cmd
}
