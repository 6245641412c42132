package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/ingest"
)

// newImport returns `wattle import`.
func newImport() *cobra.Command {
	f := localFlags{creates: true}
	var format, zone string
	var dryRun, skipBad bool
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Take files of readings in; the same file twice changes nothing",
		Long: `Take files of readings in; .gz too. The same file twice changes nothing.

Formats, told by the first line unless given:
  series, wattle  columns device,time,power_w[,energy_wh]; devices are found by
                  their alias and made if they are missing
  smartstar       "Date & Time" and a column "<circuit> [kW]" for each circuit;
                  a circuit becomes the device FILE.CIRCUIT
  homeassistant   the database home-assistant_v2.db: the statistics of its
                  entities of power and energy; sensor.fridge_power and
                  sensor.fridge_energy become the device fridge
  emoncms         a feed: a time and a value in each row, watts or, with kwh in
                  the file's name, a counter; FEED.csv becomes the device FEED.
                  N.dat with N.meta beside it (PHPFina) becomes feedN

Times are RFC 3339, Unix seconds, or wall-clock time of --zone. A damaged row
ends the import of its file before anything of it is stored, unless --skip-bad.
An import that was cut is run again: what is there already is passed over.`,
		Args: minArgs(1),
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, args []string) error {
		q := url.Values{"format": {format}}
		if zone != "" {
			q.Set("zone", zone)
		}
		if dryRun {
			q.Set("dry_run", "true")
		}
		if skipBad {
			q.Set("skip_bad", "true")
		}
		return importFiles(ctx, c, args, q)
	})
	f.add(cmd)
	cmd.Flags().StringVar(&format, "format", "auto", strings.Join(ingest.Formats, ", "))
	cmd.Flags().StringVar(&zone, "zone", "",
		"time zone of wall-clock times; the household's if not given")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "read and check, store nothing")
	cmd.Flags().BoolVar(&skipBad, "skip-bad", false, "store the good rows of a damaged file")
	return cmd
}

// importFiles sends file after file and says what became of each.
func importFiles(ctx context.Context, c *client, names []string, q url.Values) error {
	var results []api.ImportResult
	var failed error
	for _, name := range names {
		res, err := importFile(ctx, c, name, q)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		results = append(results, res)
	}
	err := c.print(map[string]any{"files": results}, func(w io.Writer) {
		for _, r := range results {
			fmt.Fprintf(w, "%s: %d rows (%s), %d readings added, %d were there, "+
				"%d rejected, %d rows skipped, %d devices\n",
				r.File, r.Rows, r.Format, r.Added, r.Repeated, r.Rejected, r.Skipped, len(r.Devices))
			for _, b := range r.Bad {
				fmt.Fprintln(w, "  "+b)
			}
		}
	})
	return errors.Join(failed, err)
}

// importFile sends one file.
func importFile(
	ctx context.Context, c *client, name string, q url.Values,
) (api.ImportResult, error) {
	var res api.ImportResult
	file, as, err := openImport(name)
	if err != nil {
		return res, err
	}
	defer file.Close()
	q.Set("name", as)
	bar := newBar(as, file.size)
	defer bar.end()
	resp, err := c.request(ctx, "POST", "/imports?"+q.Encode(), "application/octet-stream",
		bar.reader(file))
	if err != nil {
		return res, err
	}
	defer resp.Body.Close()
	return res, json.NewDecoder(resp.Body).Decode(&res)
}

// newExport returns `wattle export`.
func newExport() *cobra.Command {
	var f localFlags
	var device, from, to, format string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write readings to standard output: device,time,power_w,energy_wh",
		Long: `Write readings to standard output: device,time,power_w,energy_wh. An export that
was cut goes on, device by device, with --device and --from the time of its last
line.`,
		Args: noArgs,
	}
	cmd.RunE = f.local(func(ctx context.Context, c *client, _ []string) error {
		q := url.Values{"format": {format}}
		if device != "" {
			id, err := deviceID(ctx, c, device)
			if err != nil {
				return err
			}
			q.Set("devices", strconv.FormatInt(id, 10))
		}
		if from != "" {
			q.Set("from", from)
		}
		if to != "" {
			q.Set("to", to)
		}
		resp, err := c.request(ctx, "GET", "/exports?"+q.Encode(), "", nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		bar := newBar("export", 0)
		defer bar.end()
		if _, err := io.Copy(c.out, bar.reader(resp.Body)); err != nil {
			return fmt.Errorf("exporting: %w", err)
		}
		return nil
	})
	f.add(cmd)
	cmd.Flags().StringVar(&device, "device", "", "only this device (id or alias)")
	cmd.Flags().StringVar(&from, "from", "", "first instant")
	cmd.Flags().StringVar(&to, "to", "", "instant after the last")
	cmd.Flags().StringVar(&format, "format", "csv", "csv or jsonl")
	return cmd
}

// parseSpeed reads a speed such as 60x or 60.
func parseSpeed(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(v > 0 && v <= 1e6) {
		return 0, usageError{fmt.Errorf("--speed %q: want a factor such as 60x", text)}
	}
	return v, nil
}

// parseFrom reads a time of the command line in the local zone.
func parseFrom(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("--from %q: want RFC 3339 or YYYY-MM-DD HH:MM:SS", text)}
}
