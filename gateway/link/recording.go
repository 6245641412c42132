package link

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Limits of recordings. They bound what a replay holds open and in memory.
const (
	mostDevices   = 200
	mostStretches = 500
	longestLine   = 16 << 10
)

// recording is a CSV file, plain or compressed with gzip, with the columns
// device, time, power_w and perhaps energy_wh. Its rows may be in order of
// time, or of devices and time: it is read as stretches of rows in order.
type recording struct {
	name      string
	stretches []stretch
}

// stretch is a run of rows in a file whose instants do not fall.
type stretch struct {
	offset int64 // bytes of text before its first row
	line   int   // number of the line before it
	rows   int
	first  gateway.Instant
	last   map[string]gateway.Instant // each device's last instant before it
}

// sample is one row.
type sample struct {
	device string
	r      gateway.Reading // Device is 0
}

// RowError says what is wrong with a row of a recording.
type RowError struct {
	File   string
	Line   int // from 1
	Reason string
}

// Error implements error.
func (e *RowError) Error() string {
	return fmt.Sprintf("%s, line %d: %s", e.File, e.Line, e.Reason)
}

// rowReader reads the rows of one file one after the other.
type rowReader struct {
	name   string
	zone   *time.Location
	file   *os.File
	gz     *gzip.Reader // nil for a plain file
	in     *bufio.Reader
	offset int64 // bytes of text read
	line   int   // number of the line read last
	energy bool  // there is a fourth column
	// last instants of the devices, to tell the second of two equal hours.
	last map[string]gateway.Instant
	was  gateway.Instant // last[device] before the row read last
}

// openRows opens a file and checks its header. Close it.
func openRows(name string, zone *time.Location) (*rowReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := &rowReader{name: name, zone: zone, file: f, last: map[string]gateway.Instant{}}
	r.in = bufio.NewReaderSize(f, longestLine)
	if magic, err := r.in.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if r.gz, err = gzip.NewReader(r.in); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
		}
		r.in = bufio.NewReaderSize(r.gz, longestLine)
	}
	header, err := r.text()
	if err == nil {
		switch strings.TrimPrefix(header, "\ufeff") {
		case "device,time,power_w":
		case "device,time,power_w,energy_wh":
			r.energy = true
		default:
			err = r.fault("the columns %q are not device,time,power_w[,energy_wh]", clip(header))
		}
	} else if err == io.EOF {
		err = r.fault("the file is empty; its first line names the columns")
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close closes the file.
func (r *rowReader) Close() error { return r.file.Close() }

// fault returns a RowError for the line read last.
func (r *rowReader) fault(format string, args ...any) error {
	return &RowError{r.name, r.line, fmt.Sprintf(format, args...)}
}

// clip shortens text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// text reads a line without its end; io.EOF at the end of the file.
func (r *rowReader) text() (string, error) {
	b, err := r.in.ReadSlice('\n')
	if err == io.EOF && len(b) == 0 {
		return "", io.EOF
	}
	r.line++
	switch {
	case err == bufio.ErrBufferFull:
		return "", r.fault("the line is longer than %d bytes", longestLine)
	case err != nil && err != io.EOF:
		return "", fmt.Errorf("reading %s, line %d: %w", r.name, r.line, err)
	}
	r.offset += int64(len(b))
	return strings.TrimRight(string(b), "\r\n"), nil
}

// next reads a row; io.EOF at the end. Empty lines are passed over.
func (r *rowReader) next() (sample, error) {
	for {
		s, err := r.text()
		if err != nil {
			return sample{}, err
		}
		if s != "" {
			return r.parse(s)
		}
	}
}

// parse reads the text of a row.
func (r *rowReader) parse(s string) (sample, error) {
	device, rest, ok := strings.Cut(s, ",")
	at, rest, ok2 := strings.Cut(rest, ",")
	power, energy, four := strings.Cut(rest, ",")
	switch {
	case !ok || !ok2 || four != r.energy || strings.Contains(energy, ","):
		return sample{}, r.fault("%q has not as many columns as the first line", clip(s))
	case device == "" || len(device) > 128 || !gateway.ValidTopic(device):
		return sample{}, r.fault("device %q cannot be a name in a topic", clip(device))
	}
	if _, known := r.last[device]; !known && len(r.last) == mostDevices {
		return sample{}, r.fault("device %q is one more than %d", device, mostDevices)
	}
	v := sample{device: device}
	var err error
	if v.r.At, err = parseTime(at, r.zone, r.last[device]); err != nil {
		return sample{}, r.fault("time %q: %s", clip(at), err)
	}
	if power != "" {
		w, err := strconv.ParseFloat(power, 64)
		p, fits := gateway.Watts(w)
		if err != nil || !fits {
			return sample{}, r.fault("power_w %q is not a number of watts", clip(power))
		}
		v.r.Power, v.r.Has = p, gateway.HasPower
	}
	if energy != "" {
		wh, err := strconv.ParseFloat(energy, 64)
		e, fits := gateway.WattHours(wh)
		if err != nil || !fits {
			return sample{}, r.fault("energy_wh %q is not a number of watt-hours", clip(energy))
		}
		v.r.Energy, v.r.Has = e, v.r.Has|gateway.HasEnergy
	}
	if err := v.r.Check(math.MaxInt64 - gateway.MaxAhead); err != nil {
		return sample{}, r.fault("%s", err)
	}
	r.was, r.last[device] = r.last[device], v.r.At
	return v, nil
}

// parseTime reads RFC 3339, Unix seconds, or wall-clock time in zone. Of a
// wall-clock time that occurs twice it is the second one if the first is not
// after the instant last, which came before it.
func parseTime(s string, zone *time.Location, last gateway.Instant) (gateway.Instant, error) {
	if wall, err := time.Parse(time.DateTime, s); err == nil {
		first, second := wallClock(wall, zone)
		if first <= last {
			return second, nil
		}
		return first, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return gateway.InstantOf(t), nil
	}
	sec, err := strconv.ParseFloat(s, 64)
	if err != nil || !(math.Abs(sec) < 1e12) {
		return 0, errors.New("want YYYY-MM-DD HH:MM:SS, RFC 3339 or Unix seconds")
	}
	return gateway.Instant(math.Round(sec * 1000)), nil
}

// wallClock returns the instants at which the clocks of zone show the date and
// time of wall: twice the same one, but for an hour that the clocks repeat. A
// time that they skip is read with the offset before the gap.
func wallClock(wall time.Time, zone *time.Location) (first, second gateway.Instant) {
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	a := wall.Add(-time.Duration(before) * time.Second)
	b := wall.Add(-time.Duration(after) * time.Second)
	_, ofA := a.In(zone).Zone()
	_, ofB := b.In(zone).Zone()
	switch {
	case ofA == before && ofB == after && a.Before(b):
		return gateway.InstantOf(a), gateway.InstantOf(b)
	case ofA != before && ofB == after:
		return gateway.InstantOf(b), gateway.InstantOf(b)
	}
	return gateway.InstantOf(a), gateway.InstantOf(a)
}

// survey reads a file once and finds its stretches. seen is told of each row.
func survey(name string, zone *time.Location, seen func(sample)) (recording, error) {
	r, err := openRows(name, zone)
	if err != nil {
		return recording{}, err
	}
	rec := recording{name: name}
	last := gateway.Instant(math.MaxInt64)
	for {
		offset, line := r.offset, r.line
		v, err := r.next()
		if err == io.EOF {
			return rec, r.Close()
		}
		if err != nil {
			return recording{}, errors.Join(err, r.Close())
		}
		if v.r.At < last {
			before := maps.Clone(r.last)
			before[v.device] = r.was
			rec.stretches = append(rec.stretches,
				stretch{offset: offset, line: line, first: v.r.At, last: before})
		}
		if len(rec.stretches) > mostStretches {
			err := r.fault("the rows are in no order; sort them by device and time")
			return recording{}, errors.Join(err, r.Close())
		}
		last = v.r.At
		rec.stretches[len(rec.stretches)-1].rows++
		seen(v)
	}
}
