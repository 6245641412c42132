package ingest

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// File is a file of readings to be taken in.
type File struct {
	Name    string // for messages, and for devices that are named after it
	Format  string // one of Formats; "" and auto tell by the first line
	Zone    *time.Location
	DryRun  bool // read and check, store nothing
	SkipBad bool // store the good rows of a damaged file
	Body    io.Reader
	// Rows, if not nil, hands over the readings of a file that is no text, instead
	// of Body; it may be called twice. It returns what it left out, a line each.
	Rows func(take TakeReading) (left []string, err error)
}

// TakeReading takes one reading of a device, or what was wrong with it; line is
// its number. An error that it returns ends the import.
type TakeReading func(alias string, r gateway.Reading, line int, err error) error

// Formats names the formats of files.
//
//   - wattle and series: columns device, time, power_w and perhaps energy_wh.
//   - smartstar: `Date & Time` and one column `<circuit> [kW]` for each circuit.
//   - homeassistant: the database of its recorder; in Rows, see Statistics.
//   - emoncms: a feed, a time and a value in each row.
var Formats = []string{"auto", "wattle", "series", "smartstar", FormatHomeAssistant, formatEmoncms}

// Names of formats.
const (
	FormatHomeAssistant = "homeassistant"
	formatEmoncms       = "emoncms"
)

// Imported is what became of a File.
type Imported struct {
	Format   string
	Rows     int64 // lines with data
	Readings int64 // values found in them
	Rejected int64 // of these, values that cannot be believed
	Skipped  int64 // damaged rows
	Bad      []string
	Devices  []gateway.DeviceID
}

// badKept is how many damaged rows and rejected values are told one by one.
const badKept = 20

// importBatch is how many readings one transaction stores.
const importBatch = 5000

// importDevices is how many devices a file may have.
const importDevices = 256

// Importer takes files of readings into the store.
type Importer struct {
	// Device finds the device with an alias, whatever its case, or makes one. It
	// is asked when there is something to store for the device; the alias is one
	// that a device can have.
	Device func(ctx context.Context, alias string) (gateway.DeviceID, error)
	// Append stores readings; a reading that is there already changes nothing.
	Append func(ctx context.Context, rs []gateway.Reading) error
	// Now is the wall clock.
	Now func() time.Time
}

// Import reads a file, which may be compressed with gzip, from end to end. A
// damaged row ends it with an error that names file, line and reason, unless
// SkipBad; nothing of a damaged file is stored then, and no device is made.
// Values beyond belief are counted and left out.
//
// To know that a file is whole before anything of it is stored it is read
// twice, so that Body must be an io.Seeker unless SkipBad or DryRun.
func (im Importer) Import(ctx context.Context, f File) (Imported, error) {
	if !f.SkipBad && !f.DryRun {
		seeker, ok := f.Body.(io.Seeker)
		if !ok && f.Rows == nil {
			return Imported{}, fmt.Errorf("importing %s: the file cannot be read twice", f.Name)
		}
		dry := f
		dry.DryRun = true
		if res, err := im.Import(ctx, dry); err != nil {
			return res, err
		}
		if f.Rows == nil {
			if _, err := seeker.Seek(0, io.SeekStart); err != nil {
				return Imported{}, fmt.Errorf("importing %s: %w", f.Name, err)
			}
		}
	}
	run := importRun{
		im: im, file: f, devices: map[string]*importDevice{}, written: map[string]*importDevice{},
		now: gateway.InstantOf(im.Now()),
	}
	if err := run.read(ctx); err != nil {
		return run.result, err
	}
	if err := run.flush(ctx); err != nil {
		return run.result, err
	}
	slices.Sort(run.result.Devices)
	return run.result, nil
}

// importRun is one pass over a file.
type importRun struct {
	im      Importer
	file    File
	now     gateway.Instant
	devices map[string]*importDevice // by what gateway.FoldName makes of the alias
	written map[string]*importDevice // by the alias as it stands in the file
	batch   []gateway.Reading
	result  Imported
}

// importDevice is a device of the file.
type importDevice struct {
	alias string
	id    gateway.DeviceID // 0 until there is something to store
	last  gateway.Instant  // of the row before, to tell the two hours of a clock change apart
}

// badRow is a row that cannot be read.
type badRow struct{ reason string }

// Error implements error.
func (b badRow) Error() string { return b.reason }

// readRows takes what the file's Rows hand over.
func (run *importRun) readRows(ctx context.Context) error {
	run.result.Format = run.file.Format
	left, err := run.file.Rows(func(alias string, r gateway.Reading, line int, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		run.result.Rows++
		var d *importDevice
		if err == nil {
			d, err = run.device(alias)
		}
		if err == nil {
			err = run.take(ctx, d, r, line)
		}
		return run.skip(line, err)
	})
	for _, text := range left {
		if len(run.result.Bad) < badKept {
			run.result.Bad = append(run.result.Bad, run.file.Name+": "+text)
		}
	}
	return err
}

// read walks the rows.
func (run *importRun) read(ctx context.Context) error {
	if run.file.Rows != nil {
		return run.readRows(ctx)
	}
	rows := openRows(ctx, run.file.Body)
	c := csv.NewReader(rows)
	c.ReuseRecord = true
	c.FieldsPerRecord = -1
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return gateway.Invalidf("%s: the file is empty", run.file.Name)
	}
	if err != nil {
		return run.refuse(blame(rows, err))
	}
	take, err := run.layout(header)
	if err != nil {
		return err
	}
	if run.result.Format == formatEmoncms && isFeed(header) { // it has no header
		run.result.Rows++
		if err := run.skip(1, take(ctx, header, 1)); err != nil {
			return err
		}
	}
	for {
		rows.next()
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		line := 0
		if err == nil {
			line, _ = c.FieldPos(0)
			run.result.Rows++
			err = take(ctx, row, line)
		} else {
			line, err = blame(rows, err)
		}
		if err = run.skip(line, err); err != nil {
			return err
		}
		if rows.err != nil {
			return nil // nothing follows that can be read
		}
	}
}

// blame returns what was wrong with a row that the CSV reader did not
// return, and its line: a badRow, or how reading the file failed.
func blame(rows *rowReader, err error) (line int, _ error) {
	var parse *csv.ParseError
	switch {
	case rows.err != nil && !errors.Is(rows.err, io.EOF):
		return rows.row, rows.err // the row is half there, so err may be anything
	case errors.As(err, &parse):
		return parse.StartLine, badRow{parse.Err.Error()}
	}
	return rows.row, err
}

// skip tells of a row that is damaged and returns nil if the others shall be
// stored nevertheless. err may be nil.
func (run *importRun) skip(line int, err error) error {
	var bad badRow
	if errors.As(err, &bad) {
		run.tell(line, bad.reason)
		if run.file.SkipBad {
			run.result.Skipped++
			return nil
		}
	}
	if err != nil {
		err = run.refuse(line, err)
	}
	return err
}

// refuse returns the failure of a row as that of its file.
func (run *importRun) refuse(line int, err error) error {
	var bad badRow
	if !errors.As(err, &bad) {
		return fmt.Errorf("importing %s: line %d: %w", run.file.Name, line, err)
	}
	hint := ""
	if run.file.DryRun && line > 1 { // it is the first of two passes, or the only one
		hint = "; nothing was stored (--skip-bad stores the good rows)"
	}
	return gateway.Invalidf("%s: line %d: %s%s", run.file.Name, line, bad.reason, hint)
}

// tell keeps the first faults of a file.
func (run *importRun) tell(line int, reason string) {
	if len(run.result.Bad) < badKept {
		run.result.Bad = append(run.result.Bad,
			fmt.Sprintf("%s: line %d: %s", run.file.Name, line, reason))
	}
}

// takeRow reads one row.
type takeRow func(ctx context.Context, row []string, line int) error

// layout tells the format by the header and returns how to read a row.
func (run *importRun) layout(header []string) (takeRow, error) {
	cols := slices.Clone(header)
	cols[0] = strings.TrimPrefix(cols[0], "\ufeff")
	format := run.file.Format
	if format == "" || format == "auto" {
		format = "series"
		switch {
		case cols[0] == "Date & Time":
			format = "smartstar"
		case isFeed(cols):
			format = formatEmoncms
		}
	}
	run.result.Format = format
	switch format {
	case "series", "wattle":
		return run.seriesLayout(cols)
	case "smartstar":
		return run.smartstarLayout(cols)
	case formatEmoncms:
		return run.emoncmsLayout()
	case FormatHomeAssistant:
		return nil, gateway.Invalidf("%s: it is no SQLite database; homeassistant means the file "+
			"home-assistant_v2.db", run.file.Name)
	}
	return nil, gateway.Invalidf("%s: format %q is not one of %s", run.file.Name, clip(format),
		strings.Join(Formats, ", "))
}

// seriesLayout reads rows of device, time, power_w and perhaps energy_wh.
func (run *importRun) seriesLayout(cols []string) (takeRow, error) {
	at := map[string]int{}
	for i, c := range cols {
		at[strings.TrimSpace(c)] = i
	}
	device, okDevice := at["device"]
	when, okTime := at["time"]
	power, okPower := at["power_w"]
	energy, okEnergy := at["energy_wh"]
	if !okDevice || !okTime || !okPower && !okEnergy {
		return nil, gateway.Invalidf(
			"%s: line 1: the columns are %q; want device, time, power_w and perhaps energy_wh",
			run.file.Name, clip(strings.Join(cols, ",")))
	}
	return func(ctx context.Context, row []string, line int) error {
		if len(row) != len(cols) {
			return badRow{fmt.Sprintf("%d fields instead of %d", len(row), len(cols))}
		}
		d, err := run.device(row[device])
		if err != nil {
			return err
		}
		var rd gateway.Reading
		if rd.At, err = run.instant(row[when], d); err != nil {
			return err
		}
		if okPower && row[power] != "" {
			w, err := value("power_w", row[power], 1)
			if err != nil {
				return err
			}
			rd.Power, rd.Has = gateway.Power(w), gateway.HasPower
		}
		if okEnergy && row[energy] != "" {
			wh, err := value("energy_wh", row[energy], 1)
			if err != nil {
				return err
			}
			rd.Energy, rd.Has = gateway.Energy(wh), rd.Has|gateway.HasEnergy
		}
		return run.take(ctx, d, rd, line)
	}, nil
}

// smartstarLayout reads rows of a time and the mean power of each circuit in
// kW. A circuit becomes the device FILE.CIRCUIT, such as meter1.FridgeRange.
func (run *importRun) smartstarLayout(cols []string) (takeRow, error) {
	name, _, _ := strings.Cut(filepath.Base(run.file.Name), ".")
	devices := make([]*importDevice, len(cols))
	seen := map[*importDevice]bool{}
	for i, c := range cols[1:] {
		circuit, ok := strings.CutSuffix(c, " [kW]")
		if !ok {
			return nil, gateway.Invalidf("%s: line 1: the column %q does not end with [kW]",
				run.file.Name, clip(c))
		}
		d, err := run.device(name + "." + circuit)
		if err != nil {
			return nil, gateway.Invalidf("%s: line 1: the column %q: %v", run.file.Name, clip(c), err)
		}
		if seen[d] {
			return nil, gateway.Invalidf("%s: line 1: the column %q is there twice", run.file.Name, clip(c))
		}
		devices[i+1], seen[d] = d, true
	}
	return func(ctx context.Context, row []string, line int) error {
		if len(row) != len(cols) {
			return badRow{fmt.Sprintf("%d fields instead of %d", len(row), len(cols))}
		}
		for i, text := range row[1:] {
			if text == "" {
				continue
			}
			d, rd := devices[i+1], gateway.Reading{Has: gateway.HasPower}
			var err error
			if rd.At, err = run.instant(row[0], d); err != nil {
				return err
			}
			w, err := value(clip(cols[i+1]), text, 1000)
			if err != nil {
				return err
			}
			rd.Power = gateway.Power(w)
			if err := run.take(ctx, d, rd, line); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// value reads a number and returns thousandths of it times scale.
func value(field, text string, scale float64) (int64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return 0, badRow{fmt.Sprintf("%s %q is no number", field, clip(text))}
	}
	p, ok := gateway.Watts(v * scale)
	if !ok {
		return 0, badRow{fmt.Sprintf("%s %q is no number that can be stored", field, clip(text))}
	}
	return int64(p), nil
}

// instant reads the time of a row: RFC 3339, Unix seconds, or wall-clock time
// in the file's zone. A wall-clock time that occurs twice means the first,
// unless the device's row before was not earlier: then it means the second.
func (run *importRun) instant(text string, d *importDevice) (gateway.Instant, error) {
	at, err := run.resolve(text, d.last)
	if err == nil {
		d.last = at
	}
	return at, err
}

func (run *importRun) resolve(text string, last gateway.Instant) (gateway.Instant, error) {
	// A number has nothing in it that the other forms have.
	if !strings.ContainsAny(text, "-:T ") {
		if sec, err := strconv.ParseFloat(text, 64); err == nil && sec < 1e11 {
			return gateway.Instant(sec*1000 + 0.5), nil
		}
	}
	if t, ok := gateway.ParseWall(text, run.file.Zone); ok {
		first := gateway.InstantOf(t)
		if first > last {
			return first, nil
		}
		// The zone's clock may have been put back: try the same wall clock later.
		for _, shift := range []time.Duration{30 * time.Minute, time.Hour} {
			again := t.Add(shift)
			if again.Format(time.DateTime) == text && gateway.InstantOf(again) > last {
				return gateway.InstantOf(again), nil
			}
		}
		return first, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return gateway.InstantOf(t), nil
	}
	if sec, err := strconv.ParseFloat(text, 64); err == nil && sec > -1e11 && sec < 1e11 {
		return gateway.Instant(sec*1000 + 0.5), nil
	}
	return 0, badRow{fmt.Sprintf("time %q is not RFC 3339, Unix seconds or YYYY-MM-DD HH:MM:SS",
		clip(text))}
}

// device returns the device of a row. Whether the alias is good is found here,
// in the first pass, so that making the device does not fail later for that.
func (run *importRun) device(alias string) (*importDevice, error) {
	if d := run.written[alias]; d != nil {
		return d, nil
	}
	d, err := run.newDevice(alias)
	if err == nil && len(run.written) < 2*importDevices {
		run.written[strings.Clone(alias)] = d
	}
	return d, err
}

// newDevice is device for an alias that was not written so before.
func (run *importRun) newDevice(alias string) (*importDevice, error) {
	key := gateway.FoldName(alias)
	if d := run.devices[key]; d != nil {
		return d, nil
	}
	if key == "" {
		return nil, badRow{"the device is missing"}
	}
	if fault := gateway.CheckText(alias, gateway.MaxAlias, false); fault != "" {
		return nil, badRow{fmt.Sprintf("the device %q %s", clip(alias), fault)}
	}
	if len(run.devices) >= importDevices {
		return nil, badRow{fmt.Sprintf("the device %q is one more than %d, the most of one file",
			clip(alias), importDevices)}
	}
	d := &importDevice{alias: strings.Clone(strings.TrimSpace(alias))}
	run.devices[strings.Clone(key)] = d
	return d, nil
}

// take checks one reading of a device and stores it with others.
func (run *importRun) take(
	ctx context.Context, d *importDevice, rd gateway.Reading, line int,
) (err error) {
	run.result.Readings++
	if err := rd.Check(run.now); err != nil {
		run.result.Rejected++
		run.tell(line, err.Error())
		return nil
	}
	if run.file.DryRun {
		return nil
	}
	if d.id == 0 {
		if d.id, err = run.im.Device(ctx, d.alias); err != nil {
			return fmt.Errorf("making the device %q: %w", d.alias, err)
		}
		run.result.Devices = append(run.result.Devices, d.id)
	}
	rd.Device = d.id
	run.batch = append(run.batch, rd)
	if len(run.batch) < importBatch {
		return nil
	}
	return run.flush(ctx)
}

func (run *importRun) flush(ctx context.Context) error {
	if len(run.batch) == 0 {
		return nil
	}
	err := run.im.Append(ctx, run.batch)
	run.batch = run.batch[:0]
	return err
}

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
