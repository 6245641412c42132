// Package systemd speaks with the service manager that started the gateway.
//
// It owns the notification protocol (ready, status, stopping, watchdog) and
// the files that the service manager reads: the unit, the users and the
// directories. It must not know what the gateway does; whether there is
// progress worth a sign of life is told by a func.
//
// # Usage
//
//	n := systemd.New(logger)
//	n.Ready("serving on 192.168.1.2:8480")
//	n.Watchdog(ctx, func() bool { return loopMoved() && dispatchMoved() })
//	n.Stopping()
//
// Where no service manager waits for word, each of these does nothing, so that
// callers need not ask. What cannot be sent is logged here, since nobody else
// could do anything about it.
//
// The protocol is one datagram a message. It is written out here, in a few
// lines, because a library for it would be the larger part: of
// github.com/coreos/go-systemd this would use one function.
//
// # Concurrency
//
// A Notifier is safe for concurrent use. Watchdog returns when its context
// ends and leaves no goroutine behind.
package systemd
