// Package gateway holds the words that every part of wattle shares: what a
// device, a reading, a report, a command, a schedule, a member and an event
// are, and in which units they are counted.
//
// It owns types, their limits and their text forms. It must not know how
// anything is stored, sent, drawn or scheduled: it imports nothing but the
// standard library, does no I/O and never asks for the time.
//
// # Words
//
//   - household: the one home that a gateway serves.
//   - member: a person with a login; an owner, a member or a viewer.
//   - device: something that draws or feeds power.
//   - dialect: the MQTT habits of a family of devices.
//   - topic: the name by which a device of a dialect calls itself on MQTT.
//   - channel: the MQTT topic on which a device takes commands.
//   - report: what one message of a device says.
//   - reading: a measured sample of one device: time, power, counter.
//   - command: a wish that a device should do something, and what became of it.
//   - power state: an ACPI device state, D0 (on) to D3cold (no power).
//   - event: something that a person may want to know later.
//   - grant: what a credential may publish and subscribe to.
//
// # Units and time
//
// Power is counted in milliwatts and Energy in milliwatt-hours, both whole
// numbers, so that sums are exact. Instants are milliseconds of Unix time in
// UTC. JSON carries watts (power_w), watt-hours for a meter's counter
// (energy_wh), kilowatt-hours for an amount (energy_kwh) and RFC 3339 times.
//
// # Concurrency
//
// Every type is a plain value; none is safe for concurrent change.
package gateway
