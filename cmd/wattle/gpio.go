package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway/power/gpio"
)

// newGPIO returns `wattle gpio`.
func newGPIO() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the lines and who uses them", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := gpio.List()
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "LINE\tNAME\tDIRECTION\tUSED BY")
			for _, l := range lines {
				fmt.Fprintf(t, "%s:%d\t%s\t%s\t%s\n", l.Chip, l.Offset, l.Name, l.Direction, l.Consumer)
			}
			return t.Flush()
		},
	}
	var activeLow bool
	set := &cobra.Command{
		Use: "set LINE on|off", Short: "Switch a line that nobody uses, while this command runs",
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			on := args[1] == "on"
			if !on && args[1] != "off" {
				return usageError{fmt.Errorf("%q is neither on nor off", args[1])}
			}
			line, err := gpio.Open(args[0], activeLow, on)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; Ctrl-C gives it back\n", args[0], args[1])
			<-cmd.Context().Done()
			return line.Close()
		},
	}
	set.Flags().BoolVar(&activeLow, "active-low", false, "the relay is on when the line is low")
	return group("gpio", "GPIO lines of this machine", list, set)
}
