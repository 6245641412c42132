// Package dispatch carries requests to devices and finds out what became of
// them.
//
// It owns the one queue into which every part puts requests, the commands that
// it makes of them, their tries, and the household's startup and shutdown. It
// must not know why something is wanted, how a dialect writes it, or who
// listens: encoding, publishing and switching relays are handed in.
//
// # Usage
//
// New takes the parts; Run carries requests out until its context ends. Submit
// accepts a request at any time, also before Run. Reported tells what a device
// says of itself, which confirms its command.
//
// # Order
//
// Requests of different devices do not wait for each other. Of one device at
// most one command is under way and one waits: a newer request supersedes the
// one that waits. The one that waits goes ahead when the one under way has
// ended, or has had the time of settle to be confirmed; an urgent one goes
// ahead at once. The one under way is then superseded.
//
// # Time
//
// A command lives 30 s. Within them it is sent at most 3 times, with one id,
// until the device reports what is wanted. Nothing is sent later. The lifetime
// is measured on the monotonic clock, so that a step of the wall clock neither
// ends nor prolongs it.
//
// # Concurrency
//
// A Dispatcher is safe for concurrent use. No method waits for a device, a
// network client or a disk.
package dispatch
