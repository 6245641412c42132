package systemd

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notifier tells the service manager how the gateway is. The zero value is not
// ready; New makes one.
type Notifier struct {
	socket   string        // path, or @name in the abstract namespace; "": nobody listens
	interval time.Duration // a sign of life at least this often; 0: none is awaited
	logger   *slog.Logger
	send     func(message string) error // never nil
}

// New reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment,
// as the service manager sets them. What is wrong with one of them is logged,
// and it counts as not set. logger must not be nil.
//
// It opens nothing: each message opens and closes its own socket, so that a
// service manager that starts anew is found.
func New(logger *slog.Logger) *Notifier {
	n := &Notifier{logger: logger}
	var err error
	if n.socket, err = socketOf(os.Getenv("NOTIFY_SOCKET")); err != nil {
		logger.Warn("no word to the service manager", "err", err)
	}
	n.send = func(message string) error { return send(n.socket, message) }
	if n.socket == "" {
		n.send = func(string) error { return nil }
		return n
	}
	n.interval, err = intervalOf(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), os.Getpid())
	if err != nil {
		logger.Warn("no sign of life to the service manager", "err", err)
	}
	return n
}

// socketOf checks the name of a socket. "" is one that is not there.
func socketOf(name string) (string, error) {
	if name != "" && name[0] != '/' && name[0] != '@' {
		return "", fmt.Errorf("NOTIFY_SOCKET is %q: it must be a full path or begin with @", name)
	}
	return name, nil
}

// intervalOf reads how often a sign of life is awaited; 0 is never. A watchdog
// of another process than pid is none.
func intervalOf(usec, forPID string, pid int) (time.Duration, error) {
	if usec == "" || forPID != "" && forPID != strconv.Itoa(pid) {
		return 0, nil
	}
	const most = int64(24 * time.Hour / time.Microsecond)
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || n > most {
		return 0, fmt.Errorf("WATCHDOG_USEC is %q: it must be microseconds, from 1 to a day", usec)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Ready says that the gateway does its work, and in status how it can be
// reached.
func (n *Notifier) Ready(status string) { n.tell("READY=1\nSTATUS=" + line(status)) }

// Status says in a few words for people what the gateway does.
func (n *Notifier) Status(text string) { n.tell("STATUS=" + line(text)) }

// Stopping says that the gateway ends by its own will.
func (n *Notifier) Stopping() { n.tell("STOPPING=1") }

// tell sends a message. One that could not be sent is logged: the gateway goes
// on without its service manager.
func (n *Notifier) tell(message string) {
	if err := n.send(message); err != nil {
		n.logger.Warn("no word to the service manager", "err", err)
	}
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
		return fmt.Errorf("opening its socket: %w", err)
	}
	err = conn.SetWriteDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = conn.Write([]byte(message))
	}
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("writing to its socket: %w", err)
	}
	return nil
}
