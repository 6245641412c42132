// Package schedule decides what is wanted of a device, and when.
//
// It owns the JSON form of a schedule (Parse, Format), the arithmetic that
// turns wall-clock times into instants (Plan), and the loop that hands over
// what is due (Loop). It must not know how a device is switched, whether it
// obeyed, or how schedules are stored: it puts requests through one door and
// asks for the reported state.
//
// # Time
//
// A schedule is made of wall-clock times in the household's zone. They resolve
// to instants as RFC 5545 says: a time that occurs twice means the first, one
// that is skipped is read with the offset before the gap. Local days are
// calendar days; nothing here adds 24 hours.
//
// # Concurrency
//
// A Plan is a value that nothing changes; it may be shared. A Loop is safe for
// concurrent use; its decisions are made by the goroutine in Run alone.
package schedule
