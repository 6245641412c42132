package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/dialect"
)

// newDecode returns `wattle decode`.
func newDecode() *cobra.Command {
	return &cobra.Command{
		Use:   "decode [FILE]",
		Short: "Tell what the gateway makes of messages",
		Long: `Tell what the gateway makes of messages. Each line of FILE, or of standard
input, is {"dialect"?, "client_id"?, "topic", "payload", "retained"?}; for each
one line comes out: {"dialect", "device", "fields":{…}, "reason"?}.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			return decodeLines(in, cmd.OutOrStdout(), gateway.InstantOf(time.Now()))
		},
	}
}

// decodeLine is a message of a file.
type decodeLine struct {
	Dialect  string `json:"dialect"`
	ClientID string `json:"client_id"`
	Topic    string `json:"topic"`
	Payload  string `json:"payload"`
}

// decoded is what the gateway makes of a message.
type decoded struct {
	Dialect string         `json:"dialect"`
	Device  string         `json:"device"`
	Fields  map[string]any `json:"fields"`
	Reason  string         `json:"reason,omitempty"`
}

// decodeLines writes a line for each line of in. A line that cannot be read
// gives a line with the reason.
func decodeLines(in io.Reader, out io.Writer, now gateway.Instant) error {
	const longest = 8 << 20
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), longest)
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var m decodeLine
		d := decoded{Fields: map[string]any{}}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			d.Reason = "the line is no JSON object: " + err.Error()
		} else {
			d = decodeMessage(m, now)
		}
		if err := enc.Encode(d); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return errors.Join(fmt.Errorf("reading the messages: %w", err), w.Flush())
	}
	return w.Flush()
}

// decodeMessage runs one message through the daemon's own decoder.
func decodeMessage(m decodeLine, now gateway.Instant) decoded {
	out := decoded{Dialect: m.Dialect, Fields: map[string]any{}}
	row, ok := dialect.ByName(m.Dialect)
	if m.Dialect == "" {
		row, ok = dialect.Guess(m.ClientID, m.Topic, []byte(m.Payload))
	}
	if !ok {
		out.Reason = "the dialect is not known"
		return out
	}
	out.Dialect = row.Name
	reports, err := row.Decode(m.Topic, []byte(m.Payload), now)
	out.Fields = dialect.Fields(reports, err)
	switch {
	case err != nil:
		out.Reason = err.Error()
	case len(reports) == 0:
		out.Reason = "the message tells nothing about power, energy or state"
	default:
		out.Device = reports[0].Device
	}
	return out
}
