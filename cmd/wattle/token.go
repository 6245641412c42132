package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// newToken returns `wattle token`.
func newToken() *cobra.Command {
	return group("token", "Keys of programs that use the API",
		tokenCreate(), tokenList(), revoke("token", "/tokens/"))
}

// tokenCreate returns `wattle token create`.
func tokenCreate() *cobra.Command {
	f := localFlags{creates: true}
	var role, expires string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it, this once",
		Args:  exactArgs(1),
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		in := map[string]string{"name": args[0], "role": role, "expires": expires}
		var out map[string]any
		if err := c.call(ctx, "POST", "/tokens", in, &out); err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) { fmt.Fprintln(w, out["token"]) })
	})
	f.add(cmd)
	cmd.Flags().StringVar(&role, "role", "viewer",
		"viewer (scope read), member (control) or owner (admin)")
	cmd.Flags().StringVar(&expires, "expires", "",
		"life of the token, such as 720h; for ever if not given")
	return cmd
}

// tokenList returns `wattle token list`.
func tokenList() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "list", Short: "List the tokens", Args: noArgs}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		out := []struct {
			ID      int64   `json:"id"`
			Name    string  `json:"name"`
			Role    string  `json:"role"`
			Created *string `json:"created"`
			Expires *string `json:"expires"`
		}{}
		if err := c.call(ctx, "GET", "/tokens", nil, &out); err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tROLE\tEXPIRES")
			for _, x := range out {
				expires := "never"
				if x.Expires != nil {
					expires = *x.Expires
				}
				fmt.Fprintf(t, "%s\t%s\t%s\n", x.Name, x.Role, expires)
			}
			_ = t.Flush() // the terminal is gone; nothing to do
		})
	})
	f.add(cmd)
	return cmd
}

// revoke returns a command that takes something away by its name.
func revoke(what, path string) *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "revoke NAME", Short: "Take a " + what + " away", Args: exactArgs(1)}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		return c.call(ctx, "DELETE", path+url.PathEscape(args[0]), nil, nil)
	})
	f.add(cmd)
	return cmd
}
