// Package scan reads JSON that devices send: strictly, in place, without
// reflection and, for what devices usually send, without allocation.
//
// It owns the syntax (RFC 8259), its limits and the exact reading of numbers.
// It must not know what any key means.
//
// # Usage
//
// Parse checks a whole document first; a Value of it can then be walked
// without fear, by Members or Elements. Only two things can still be wrong: a
// key that stands twice in an object, which Members.Err tells at its end, and
// a value that is not of the kind or size that is asked for, which its
// accessor tells.
//
// # Limits
//
// Nesting goes MaxDepth deep. An object that is walked has MaxKeys keys at
// most; one that is stepped over has any number. The text must be valid UTF-8
// without a byte order mark.
//
// # Concurrency
//
// A Value shares memory with the document. It may be read by several
// goroutines while nobody changes the document.
package scan
