// Package store keeps all that the gateway must not forget in one SQLite file:
// readings, devices, members and their sessions, tokens, MQTT credentials,
// retained messages, commands, events and settings.
//
// It owns the file, its schema and every SQL statement; no other package
// imports the driver. It must not know how readings come in, how secrets are
// made or checked (it sees hashes alone), what a command does, or how any of
// it is shown. It trusts its callers about plausible values and checks only
// what the file needs to stay consistent.
//
// # Usage
//
// Open makes or migrates the file and returns a Store; its owner calls Close.
// What a method that writes returned without an error is on the disk: it
// survives SIGKILL and a power cut. Of one that returned an error nothing is
// visible, but after a failing disk it may turn out later to have been
// written, so callers repeat it: Append and the methods named Save and Set may
// be repeated freely.
//
// # Errors
//
// Errors that callers act on are a *gateway.Error: CodeNotFound for an unknown
// id, CodeConflict for what somebody else holds or changed, CodeInvalid for a
// value that cannot be kept, CodeUnavailable for a full, failing or read-only
// disk and for a closed Store. The errors of an ended context stay what they
// are. The rest are faults of ours or of the file.
//
// A full disk takes no readings until it has room again; what makes room, and
// what people change, may use the 8 MiB that a file beside the database, with
// the suffix .reserve, has kept until then.
//
// # Units and time
//
// Columns hold the units of package gateway: milliwatts, milliwatt-hours and
// milliseconds of Unix time. Ranges include their beginning and exclude their
// end.
//
// # Readings
//
// A commit of readings is one small row; sealed later, device by device, they
// are chunks, packed by column, see package chunk and FORMAT.md. What is in
// rows is in memory, too, up to a bound, after which Append seals some; the
// rest is sealed by Maintain. None of this shows: readings come back in order
// of time, merged, wherever they are. A chunk or row whose checksum is wrong
// fails the reads that meet it until Maintain, or a later reading for it, sets
// it aside, with an event that says what became of it; Check tells of both.
// Scrub meets everything once a month.
//
// What past days sum up to, as package energy defines it, is kept in rollups,
// which follow from the readings and change with them in one commit; the days
// that run are summed up in memory for who asks. When readings go, by the
// retention or by damage, the rollups of their time stay for ever.
//
// # Concurrency
//
// A Store is safe for concurrent use. There is one writer connection, and
// writers wait for it in order of arrival or until their context ends; a
// transaction that has begun is not cut short by it, so that its outcome is
// always known. Readers have connections of their own, see the last committed
// state and wait for nobody.
package store
