package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// newUser returns `wattle user`.
func newUser() *cobra.Command {
	return group("user", "Members of the household", userAdd(), userList(), userPasswd(), userRemove())
}

// passwordFlag reads a password from standard input or from the terminal.
type passwordFlag struct{ stdin bool }

func (p *passwordFlag) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from standard input")
}

// read returns the password.
func (p *passwordFlag) read(cmd *cobra.Command) (string, error) {
	if !p.stdin && term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprint(cmd.ErrOrStderr(), "Password: ")
		b, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(b), err
	}
	if !p.stdin {
		return "", usageError{errors.New(
			"there is no terminal to ask for the password; use --password-stdin")}
	}
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// userAdd returns `wattle user add`.
func userAdd() *cobra.Command {
	f := localFlags{creates: true}
	var role string
	var password passwordFlag
	cmd := &cobra.Command{Use: "add NAME", Short: "Add a member", Args: exactArgs(1)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		secret, err := password.read(cmd)
		if err != nil {
			return err
		}
		return f.local(func(ctx context.Context, c *client, args []string) error {
			var out map[string]any
			in := map[string]string{"name": args[0], "role": role, "password": secret}
			if err := c.call(ctx, "POST", "/members", in, &out); err != nil {
				return err
			}
			return c.print(out, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", out["name"], out["role"]) })
		})(cmd, args)
	}
	f.add(cmd)
	password.add(cmd)
	cmd.Flags().StringVar(&role, "role", "member", "owner, member or viewer")
	return cmd
}

// userList returns `wattle user list`.
func userList() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "list", Short: "List the members", Args: noArgs}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		out := []struct {
			ID      int64  `json:"id"`
			Name    string `json:"name"`
			Role    string `json:"role"`
			Created string `json:"created"`
		}{}
		if err := c.call(ctx, "GET", "/members", nil, &out); err != nil {
			return err
		}
		return c.print(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tROLE\tCREATED")
			for _, m := range out {
				fmt.Fprintf(t, "%s\t%s\t%s\n", m.Name, m.Role, m.Created)
			}
			_ = t.Flush() // the terminal is gone; nothing to do
		})
	})
	f.add(cmd)
	return cmd
}

// userPasswd returns `wattle user passwd`.
func userPasswd() *cobra.Command {
	var f localFlags
	var password passwordFlag
	cmd := &cobra.Command{Use: "passwd NAME", Short: "Change a member's password", Args: exactArgs(1)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		secret, err := password.read(cmd)
		if err != nil {
			return err
		}
		return f.local(func(ctx context.Context, c *client, args []string) error {
			path := "/members/" + url.PathEscape(args[0]) + "/password"
			return c.call(ctx, "PUT", path, map[string]string{"password": secret}, nil)
		})(cmd, args)
	}
	f.add(cmd)
	password.add(cmd)
	return cmd
}

// userRemove returns `wattle user remove`.
func userRemove() *cobra.Command {
	var f localFlags
	cmd := &cobra.Command{Use: "remove NAME", Short: "Remove a member", Args: exactArgs(1)}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		return c.call(ctx, "DELETE", "/members/"+url.PathEscape(args[0]), nil, nil)
	})
	f.add(cmd)
	return cmd
}
