package broker

import "sync/atomic"

// Stats is what a broker counted since it was made, and what it holds now.
type Stats struct {
	// Now.
	Connections    int
	Sessions       int
	RetainedTopics int
	RetainedBytes  int
	WriteBytes     int64 // waiting to be written
	QueueBytes     int64 // waiting in sessions
	FrameBytes     int64 // long frames that are being read

	// Since the start.
	Accepted          int64 // connections
	AcceptErrors      int64
	Crowded           int64 // connections and sessions refused for lack of room
	Anonymous         int64 // CONNECT without a user name
	Unauthenticated   int64 // CONNECT that Authenticate refused
	ConnectTimeouts   int64 // no CONNECT in time
	KeepAliveTimeouts int64
	Oversized         int64 // frames over the limit
	OverBudget        int64 // frames over what all may use together
	Protocol          int64 // connections closed for what the client sent
	OverReceive       int64 // of these, for messages beyond the Receive Maximum
	Panics            int64 // survived
	Throttled         int64 // reads held back for the rate

	Received         int64 // PUBLISH
	TakenOff         int64 // of these, refused by Handle
	Unacknowledged   int64 // of these, not stored
	RefusedPublishes int64
	RefusedFilters   int64
	RefusedWills     int64
	RetainedRefused  int64 // not retained for a limit

	Delivered         int64 // PUBLISH to clients
	Overflowed        int64 // clients dropped, their write queue was full
	Stalled           int64 // clients dropped, they took nothing for too long
	QueueDropped      int64 // messages dropped, a session's queue was full
	Expired           int64 // messages dropped, nobody took them in time
	TooLargeForClient int64 // messages over a client's Maximum Packet Size
	ResetForCommand   int64 // clients reset, they did not take a command in time
	SessionsExpired   int64
	SessionsEvicted   int64 // for a newer one of the same credential
	Retried           int64 // clients closed so that they send again
}

// counters are the numbers behind Stats.
type counters struct {
	writeBytes, queueBytes, frameBytes atomic.Int64

	accepted, acceptErrors, crowded, anonymous, unauthenticated atomic.Int64
	connectTimeouts, keepAliveTimeouts, oversized, overBudget   atomic.Int64
	protocol, overReceiveMaximum, panics, throttled             atomic.Int64
	received, takenOff, unacknowledged                          atomic.Int64
	refusedPublishes, refusedFilters, refusedWills              atomic.Int64
	retainedRefused                                             atomic.Int64
	delivered, overflowed, stalled, queueDropped, expired       atomic.Int64
	tooLargeForClient, resetForCommand                          atomic.Int64
	sessionsExpired, sessionsEvicted, retried                   atomic.Int64
}

// Stats returns the present counts.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	connections, sessions := len(b.open), len(b.sessions)
	b.mu.Unlock()
	topics, bytes := b.retains.size()
	c := &b.stats
	return Stats{
		Connections: connections, Sessions: sessions,
		RetainedTopics: topics, RetainedBytes: bytes,
		WriteBytes: c.writeBytes.Load(), QueueBytes: c.queueBytes.Load(),
		FrameBytes: c.frameBytes.Load(),

		Accepted: c.accepted.Load(), AcceptErrors: c.acceptErrors.Load(),
		Crowded: c.crowded.Load(), Anonymous: c.anonymous.Load(),
		Unauthenticated: c.unauthenticated.Load(), ConnectTimeouts: c.connectTimeouts.Load(),
		KeepAliveTimeouts: c.keepAliveTimeouts.Load(), Oversized: c.oversized.Load(),
		OverBudget: c.overBudget.Load(), Protocol: c.protocol.Load(),
		OverReceive: c.overReceiveMaximum.Load(), Panics: c.panics.Load(),
		Throttled: c.throttled.Load(),

		Received: c.received.Load(), TakenOff: c.takenOff.Load(),
		Unacknowledged: c.unacknowledged.Load(), RefusedPublishes: c.refusedPublishes.Load(),
		RefusedFilters: c.refusedFilters.Load(), RefusedWills: c.refusedWills.Load(),
		RetainedRefused: c.retainedRefused.Load(),

		Delivered: c.delivered.Load(), Overflowed: c.overflowed.Load(),
		Stalled: c.stalled.Load(), QueueDropped: c.queueDropped.Load(),
		Expired: c.expired.Load(), TooLargeForClient: c.tooLargeForClient.Load(),
		ResetForCommand: c.resetForCommand.Load(), SessionsExpired: c.sessionsExpired.Load(),
		SessionsEvicted: c.sessionsEvicted.Load(), Retried: c.retried.Load(),
	}
}
