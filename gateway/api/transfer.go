package api

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// importReadings takes a file of readings as the body.
func (s *Server) importReadings(w http.ResponseWriter, r *http.Request) error {
	p := s.params(r)
	f := ImportFile{
		Name: p.text("name", "upload"), Format: p.text("format", "auto"), Zone: s.cfg.Zone,
		DryRun: p.flag("dry_run"), SkipBad: p.flag("skip_bad"),
	}
	if name := p.text("zone", ""); name != "" {
		zone, err := time.LoadLocation(name)
		if err != nil {
			p.fault("zone", fmt.Sprintf("%q is not the name of a time zone, such as Europe/Berlin",
				clip(name)))
		} else {
			f.Zone = zone
		}
	}
	if err := p.done(); err != nil {
		return err
	}
	// A large file takes as long as it takes, if it goes on coming.
	rc := http.NewResponseController(w)
	f.Body = &steadyBody{body: r.Body, rc: rc}
	_ = rc.SetWriteDeadline(time.Time{}) // in process: none to move
	res, err := s.cfg.Importer.Import(r.Context(), f)
	_ = rc.SetWriteDeadline(time.Now().Add(streamWrite)) // the same
	if err != nil {
		return err
	}
	if !f.DryRun {
		s.event(r.Context(), gateway.Event{
			Kind: gateway.EventImported, Source: source(r),
			Text: fmt.Sprintf("%s was imported: %d readings added", res.File, res.Added),
		})
	}
	return writeJSON(w, http.StatusOK, res)
}

// streamRead is how long a body that streams may pause.
const streamRead = 30 * time.Second

// steadyBody is a body that may take any time but must not pause for longer
// than streamRead. It is not safe for concurrent use.
type steadyBody struct {
	body io.Reader
	rc   *http.ResponseController
	err  error // how it ended
}

// Read implements io.Reader.
func (b *steadyBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	_ = b.rc.SetReadDeadline(time.Now().Add(streamRead)) // in process: none to move
	n, err := b.body.Read(p)
	if err != nil {
		// The server reads on to see whether the caller leaves: in its own time.
		b.err = err
		_ = b.rc.SetReadDeadline(time.Time{}) // the same
	}
	return n, err
}

// exportReadings streams the readings of one device or of all as CSV or JSON
// lines.
func (s *Server) exportReadings(w http.ResponseWriter, r *http.Request) error {
	p := s.params(r)
	ids := s.deviceList(p)
	from, to := p.span(func() (gateway.Instant, gateway.Instant) {
		return 0, s.now() + gateway.MaxAhead
	})
	format := p.text("format", "csv")
	if format != "csv" && format != "jsonl" {
		p.fault("format", fmt.Sprintf("%q is neither csv nor jsonl", clip(format)))
	}
	if err := p.done(); err != nil {
		return err
	}
	rc := http.NewResponseController(w)
	out := bufio.NewWriterSize(w, 64<<10)
	write, flush := s.exporter(w, out, format)
	for _, id := range ids {
		d, _, _ := s.cfg.Devices.Device(id)
		n := 0
		err := s.cfg.History.Scan(r.Context(), id, from, to, func(rd gateway.Reading) error {
			if n++; n%4096 == 1 {
				_ = rc.SetWriteDeadline(time.Now().Add(streamWrite)) // in process: none to move
			}
			return write(d.Alias, rd)
		})
		if err != nil {
			// The status line is gone: cut the stream, so that it shows.
			s.cfg.Logger.ErrorContext(r.Context(), "exporting readings", "device", id, "err", err)
			panic(http.ErrAbortHandler)
		}
	}
	if err := flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// exporter returns how to write one reading in a format, and how to end.
func (s *Server) exporter(
	w http.ResponseWriter, out *bufio.Writer, format string,
) (write func(alias string, r gateway.Reading) error, flush func() error) {
	if format == "jsonl" {
		w.Header().Set("Content-Type", "application/jsonl")
		enc := json.NewEncoder(out)
		return func(alias string, r gateway.Reading) error {
			return enc.Encode(struct {
				Device string `json:"device"`
				readingBody
			}{alias, s.toReading(r)})
		}, out.Flush
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	c := csv.NewWriter(out)
	_ = c.Write([]string{"device", "time", "power_w", "energy_wh"}) // goes into memory
	row := make([]string, 4)
	return func(alias string, r gateway.Reading) error {
			b := s.toReading(r)
			row[0], row[1] = alias, *b.Time
			row[2], row[3] = number(b.PowerW), number(b.EnergyWh)
			return c.Write(row)
		}, func() error {
			c.Flush()
			return firstError(c.Error(), out)
		}
}

// firstError returns err, or else flushes out.
func firstError(err error, out *bufio.Writer) error {
	if err != nil {
		return err
	}
	return out.Flush()
}

// number writes a value, or nothing for an unknown one.
func number(v *float64) string {
	if v == nil {
		return ""
	}
	return strconv.FormatFloat(*v, 'f', -1, 64)
}
