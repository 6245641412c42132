package systemd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config says where to send word, and how often a sign of life is awaited.
type Config struct {
	Socket   string        // path, or @name in the abstract namespace; "": nobody listens
	Interval time.Duration // a sign of life at least this often; 0: none awaited
	Logger   *slog.Logger  // nil: slog.Default
}

// FromEnv reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as the service
// manager sets them, through getenv. A watchdog that is meant for another
// process than pid is none. Logger is left nil.
//
// On an error the Config is still good for what could be read.
func FromEnv(getenv func(string) string, pid int) (Config, error) {
	cfg := Config{Socket: getenv("NOTIFY_SOCKET")}
	var faults []error
	if s := cfg.Socket; s != "" && !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "@") {
		faults = append(faults, fmt.Errorf(
			"NOTIFY_SOCKET is %q: it must be a full path or begin with @", s))
		cfg.Socket = ""
	}
	if s := getenv("WATCHDOG_PID"); s != "" && s != strconv.Itoa(pid) {
		return cfg, errors.Join(faults...)
	}
	if s := getenv("WATCHDOG_USEC"); s != "" {
		const most = int64(24 * time.Hour / time.Microsecond)
		usec, err := strconv.ParseInt(s, 10, 64)
		if err != nil || usec <= 0 || usec > most {
			faults = append(faults, fmt.Errorf(
				"WATCHDOG_USEC is %q: it must be microseconds, from 1 to a day", s))
		} else {
			cfg.Interval = time.Duration(usec) * time.Microsecond
		}
	}
	return cfg, errors.Join(faults...)
}

// Notifier tells the service manager how the gateway is.
type Notifier struct {
	interval time.Duration
	logger   *slog.Logger
	send     func(message string) error // never nil
}

// New returns a Notifier after cfg. It opens nothing: each message opens and
// closes its own socket, so that a service manager that starts anew is found.
func New(cfg Config) *Notifier {
	n := &Notifier{interval: cfg.Interval, logger: cfg.Logger}
	if n.logger == nil {
		n.logger = slog.Default()
	}
	n.send = func(message string) error { return send(cfg.Socket, message) }
	if cfg.Socket == "" {
		n.interval = 0
		n.send = func(string) error { return nil }
	}
	return n
}

// Ready says that the gateway does its work, and in status how it can be
// reached.
func (n *Notifier) Ready(status string) error {
	return n.send("READY=1\nSTATUS=" + line(status))
}

// Status says in a few words for people what the gateway does.
func (n *Notifier) Status(text string) error { return n.send("STATUS=" + line(text)) }

// Stopping says that the gateway ends by its own will, and in status what it
// still does.
func (n *Notifier) Stopping(status string) error {
	return n.send("STOPPING=1\nSTATUS=" + line(status))
}

// line returns s without the line breaks that would begin another assignment.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return ' '
		}
		return r
	}, s)
}

// patience is how long the service manager may let its socket be full.
const patience = time.Second

// send writes one datagram to the socket. Package net reads a leading @ as
// the abstract namespace.
func send(socket, message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	err = conn.SetWriteDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = conn.Write([]byte(message))
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	return nil
}
