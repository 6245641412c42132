package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/api"
	"github.com/wattle-home/wattle/gateway/dispatch"
	"github.com/wattle-home/wattle/gateway/ingest"
	"github.com/wattle-home/wattle/gateway/schedule"
	"github.com/wattle-home/wattle/store"
)

// This file fits parts to the interfaces of package api, where their own
// methods do not already.

// apiStore is the store as the API sees credentials and events.
type apiStore struct{ *store.Store }

// ListCredentials implements api.CredentialStore.
func (s apiStore) ListCredentials(ctx context.Context) ([]gateway.Credential, error) {
	cs, err := s.Credentials(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]gateway.Credential, len(cs))
	for i, c := range cs {
		out[i] = c.Credential
	}
	return out, nil
}

// ListEvents implements api.EventStore.
func (s apiStore) ListEvents(ctx context.Context, q api.EventQuery) ([]gateway.Event, int, error) {
	return s.Events(ctx, store.EventQuery(q))
}

// commander is the dispatcher as the API sees it.
type commander struct{ *dispatch.Dispatcher }

// planner reads and explains schedules in the household's zone.
type planner struct{ zone *time.Location }

// Parse implements api.Planner.
func (planner) Parse(text []byte) (gateway.Schedule, error) { return schedule.Parse(text) }

// Format implements api.Planner.
func (planner) Format(s gateway.Schedule) ([]byte, error) { return schedule.Format(s) }

// Occurrences implements api.Planner.
func (p planner) Occurrences(s gateway.Schedule, from, to time.Time) []api.Occurrence {
	os := schedule.NewPlan(s, p.zone).Occurrences(from, to)
	out := make([]api.Occurrence, len(os))
	for i, o := range os {
		out[i] = api.Occurrence(o)
	}
	return out
}

// Wanted implements api.Planner.
func (p planner) Wanted(s gateway.Schedule, at time.Time) (api.Wanted, bool) {
	w, ok := schedule.NewPlan(s, p.zone).Wanted(at)
	return api.Wanted{Action: w.Action, PowerState: w.PowerState, Source: w.Source, Until: w.Until}, ok
}

// importer takes files of readings into the store.
type importer struct {
	dir     string // where a file waits while it is checked
	store   *store.Store
	changed func(ctx context.Context, c api.Change)
}

// Import implements api.Importer.
func (im importer) Import(ctx context.Context, f api.ImportFile) (api.ImportResult, error) {
	out := api.ImportResult{File: f.Name}
	head := bufio.NewReader(f.Body)
	f.Body = head
	magic, _ := head.Peek(len(sqliteMagic)) // what is shorter is another format
	foreign := string(magic) == sqliteMagic
	body, done, err := im.spool(f, foreign)
	if err != nil {
		return out, err
	}
	defer done()
	before := map[gateway.DeviceID]int64{}
	files := ingest.Importer{
		Device: func(ctx context.Context, alias string) (gateway.DeviceID, error) {
			d, err := im.device(ctx, alias)
			if err != nil {
				return 0, err
			}
			out.Devices = append(out.Devices, d.Alias)
			before[d.ID], err = im.store.Count(ctx, d.ID)
			return d.ID, err
		},
		Append: im.store.Append,
		Now:    time.Now,
	}
	in := ingest.File{
		Name: f.Name, Format: f.Format, Zone: f.Zone, DryRun: f.DryRun, SkipBad: f.SkipBad, Body: body,
	}
	if file, ok := body.(*os.File); ok && foreign {
		if in.Format != "" && in.Format != "auto" && in.Format != ingest.FormatHomeAssistant {
			return out, gateway.Invalidf("%s: it is a SQLite database and not of format %q",
				f.Name, f.Format)
		}
		in.Format, in.Rows = ingest.FormatHomeAssistant, statistics(ctx, file)
	}
	res, err := files.Import(ctx, in)
	if err != nil {
		return out, err
	}
	for id, n := range before {
		now, err := im.store.Count(ctx, id)
		if err != nil {
			return out, err
		}
		out.Added += now - n
	}
	out.Format, out.Rows, out.Readings = res.Format, res.Rows, res.Readings
	out.Rejected, out.Skipped, out.Bad = res.Rejected, res.Skipped, res.Bad
	if !f.DryRun {
		out.Repeated = out.Readings - out.Rejected - out.Added
	}
	return out, nil
}

// Files of readings that wait on the disk while they are checked.
const (
	spoolPrefix = "import-"
	maxSpool    = 4 << 30 // bytes of one
)

// removeSpools removes what imports of a program that was killed left in dir.
// It is called by who holds the lock of dir, before the first import.
func removeSpools(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		// os.CreateTemp puts digits behind; anything else is somebody's own.
		digits, ok := strings.CutPrefix(e.Name(), spoolPrefix)
		if ok && e.Type().IsRegular() && strings.Trim(digits, "0123456789") == "" {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// sqliteMagic begins every SQLite database.
const sqliteMagic = "SQLite format 3\x00"

// statistics returns the readings of a file that is a database of Home
// Assistant.
func statistics(ctx context.Context, file *os.File) func(ingest.TakeReading) ([]string, error) {
	return ingest.Statistics(func(fn func(s ingest.Statistic) error) error {
		return store.HomeAssistant(ctx, file.Name(), func(s store.Statistic) error {
			return fn(ingest.Statistic(s))
		})
	})
}

// spool puts a file that must be read twice on the disk, into a file without
// a name, unless it must have one: it is gone when done was called, or the
// program ended.
func (im importer) spool(f api.ImportFile, named bool) (body io.Reader, done func(), err error) {
	f.Body = upload{f.Name, f.Body}
	if (f.SkipBad || f.DryRun) && !named {
		return f.Body, func() {}, nil
	}
	file, err := os.CreateTemp(im.dir, spoolPrefix)
	if err != nil {
		return nil, nil, fmt.Errorf("keeping the file while it is checked: %w", err)
	}
	done = func() { _ = file.Close() } // nothing of it is needed any more
	if named {
		done = func() { _ = errors.Join(file.Close(), os.Remove(file.Name())) }
	} else {
		err = os.Remove(file.Name())
	}
	if err == nil {
		err = fillSpool(file, f, maxSpool)
	}
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("keeping the file while it is checked: %w", err)
	}
	return file, done, nil
}

// fillSpool copies a file of at most most bytes to the disk and goes back to
// its beginning.
func fillSpool(file *os.File, f api.ImportFile, most int64) error {
	n, err := io.Copy(file, io.LimitReader(f.Body, most+1))
	if err != nil {
		return err
	}
	if n > most {
		return gateway.Invalidf("%s: the file is larger than %d MiB; split it, or compress it with gzip",
			f.Name, most>>20)
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// upload is a file on its way in. That it does not arrive whole is not a
// fault of ours.
type upload struct {
	name string
	body io.Reader
}

// Read implements io.Reader.
func (u upload) Read(p []byte) (int, error) {
	n, err := u.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &gateway.Error{
			Code: gateway.CodeInvalid, Err: err,
			Message: u.name + ": the file did not arrive whole; send it again",
		}
	}
	return n, err
}

// device finds the device with an alias, whatever its case, or makes one
// without MQTT.
func (im importer) device(ctx context.Context, alias string) (gateway.Device, error) {
	ds, err := im.store.Devices(ctx)
	if err != nil {
		return gateway.Device{}, err
	}
	key := gateway.FoldName(alias)
	for _, d := range ds {
		if gateway.FoldName(d.Alias) == key {
			return d, nil
		}
	}
	// Who hangs up now must not keep the others from hearing of the device.
	d, err := im.store.AddDevice(context.WithoutCancel(ctx),
		gateway.Device{Alias: alias, Role: gateway.RoleConsumer})
	if err == nil {
		im.changed(ctx, api.Change{Device: &d})
	}
	return d, err
}
