// Package link is the MQTT client side of wattle: a connection that stays up,
// a modelled household whose appliances publish like real device families,
// and the replay of recorded households.
//
// It owns the MQTT client library; nobody else imports it. It must not know
// the broker, the store or the scheduler: it is on the far side of the wire,
// and talks to any MQTT broker alike.
//
// # The library
//
// Of the two Eclipse clients, paho.golang's package paho is the lighter one:
// it depends on nothing but itself, where paho.mqtt.golang brings WebSocket,
// proxies and a message store. It is also the steadier base: it owns one
// connection, ends when that ends, and tells why the broker refused a message
// (MQTT 5 reason codes). Reconnecting is Client.Run's own few lines.
//
// # Units and time
//
// As in package gateway. A modelled household lives in the local time of its
// zone; a Speed is how many seconds of the household pass in one second.
//
// # Concurrency
//
// Run, Simulate and Replay start the goroutines that they need and return
// when all of them have ended, soon after their context did.
package link
