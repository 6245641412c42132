// Package chunk packs readings of one device into few bytes and unpacks them.
//
// It owns the format of a chunk, which store/FORMAT.md describes for other
// languages, and nothing else: no file, no clock, no goroutine. It must not
// know where chunks are kept, which readings belong together, or what they
// mean; it only expects what meters do, such as a steady beat and a counter
// that follows the power, to need less room where that holds. Any readings in
// order of time come back exactly as they were.
//
// # Usage
//
// An Encoder appends one chunk to a slice, a Decoder appends its readings to
// another; both keep their scratch memory and serve one goroutine at a time.
// ReadHeader tells what a chunk holds without unpacking it.
//
// # Errors
//
// A chunk that is not exactly what an Encoder made fails with an error that
// wraps ErrDamaged. Whatever the bytes are, decoding does not panic and takes
// no more memory than MaxReadings readings need.
//
// # Units
//
// Those of package gateway: milliwatts, milliwatt-hours and milliseconds.
// Columns are kept in units of their greatest common divisor, so that a meter
// pays for the digits that it shows alone.
package chunk
