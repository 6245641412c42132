package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway/api"
)

// newRoot returns the whole command line.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "wattle",
		Short:         "The gateway of an energy-minded household",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          help,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newServe(), newUser(), newToken(), newDevice(), newCredential(), newImport(),
		newExport(), newCheck(), newCompact(),
		newSimulate(), newGPIO(), newDecode(), newOpenAPI(), newVersion())
	return root
}

// newVersion returns `wattle version`.
func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := commit
			if c == "" {
				c = "unknown"
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "wattle %s, commit %s, %s %s/%s\n",
				version, c, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// noArgs refuses arguments as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

// newOpenAPI returns `wattle openapi`.
func newOpenAPI() *cobra.Command {
	return &cobra.Command{
		Use:   "openapi",
		Short: "Print the OpenAPI document of the REST API",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(api.OpenAPI())
			return err
		},
	}
}

// group returns a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: help}
	cmd.AddCommand(subs...)
	return cmd
}

// help is what a command does that does nothing itself.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }
