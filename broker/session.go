package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// session is what the broker owes one client, and what the client said about
// itself. It outlives the connection if the client asked for that.
type session struct {
	b          *Broker
	key        string
	credential gateway.CredentialID

	// Under Broker.mu.
	owner        *conn     // the connection, from its CONNECT to its very end
	left         time.Time // when the client went
	expires      time.Time // when the session ends, without an owner
	delayed      *will     // to be sent unless the client comes back
	delayedUntil time.Time

	backlog atomic.Bool // there is something to send when the outbox is empty

	mu        sync.Mutex
	over      bool  // the session has ended
	conn      *conn // established connection; nil while the client is away
	kind      gateway.CredentialKind
	grant     gateway.Grant
	version   byte
	keeps     bool // messages are kept while the client is away
	window    int  // most messages in flight
	maxPacket int  // longest packet that the client takes; 0: any
	lastID    uint16
	inflight  []*outbound // sent and not acknowledged, in the order of sending
	waiting   []*outbound // to be sent; QoS above 0
	bytes     int         // size of inflight and waiting
	flying    int         // size of inflight
	feeds     []feed      // retained messages to be sent
	received  map[uint16]*inbound
}

// outbound is a message with QoS 1 or 2 on its way to one client.
type outbound struct {
	m        *message // nil once PUBREC came
	d        delivery
	size     int
	released bool // QoS 2: PUBREC came, PUBREL went out
}

// feed is the rest of the retained messages that a new subscription gets.
type feed struct {
	filter string
	topics []string
	to     target
}

// feedMaximum bounds the topics of all feeds of a session.
const feedMaximum = 20000

// newSession returns a session without a client.
func newSession(b *Broker, key string, id gateway.CredentialID) *session {
	return &session{b: b, key: key, credential: id}
}

// prepare sets what c's CONNECT says of the session, before the library
// resumes it. fresh drops what an earlier connection left.
func (s *session) prepare(c *conn, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fresh {
		s.clearLocked()
		s.received = nil
	}
	s.kind, s.grant, s.version = c.client.Kind, c.grant, c.version
	s.window = c.connect.window(c.b.limits.InflightMaximum)
	s.maxPacket = c.connect.maximumPacket()
	s.keeps = s.kind != gateway.KindDevice && c.sessionExpiry() > 0
}

// attach makes c the connection of the session and sends again what an
// earlier one left open, in the order of its sending. A device gets nothing
// from before: no queued commands.
func (s *session) attach(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kind == gateway.KindDevice {
		s.clearLocked()
	}
	s.conn = c
	c.live.Store(s)
	var again []*outbound
	now := time.Now()
	s.flying = 0 // what was released counts nothing any more
	s.inflight = slices.DeleteFunc(s.inflight, func(o *outbound) bool {
		if o.released {
			s.ack(bytePubrel, o.d.id, codeSuccess)
			return false
		}
		if o.m.expired(now) {
			s.settleLocked(o)
			return true
		}
		o.d.dup = true
		again = append(again, o)
		return true
	})
	s.waiting = append(again, s.waiting...)
	s.pump()
}

// detach ends the connection's part in the session.
func (s *session) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = nil
	s.feeds = nil
	if !s.keeps {
		s.clearLocked()
	}
}

// end ends the session. Broker.mu may be held.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.clearLocked()
	s.received = nil
}

// clearLocked drops all messages to the client.
func (s *session) clearLocked() {
	s.b.stats.queueBytes.Add(-int64(s.bytes))
	s.bytes, s.flying = 0, 0
	s.inflight, s.waiting, s.feeds = nil, nil, nil
	s.backlog.Store(false)
}

// settleLocked takes o out of the accounts; it is in no list any more.
func (s *session) settleLocked(o *outbound) {
	s.bytes -= o.size
	s.b.stats.queueBytes.Add(-int64(o.size))
}

// mayRead reports whether the session's client may get messages of topic.
func (s *session) mayRead(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over && s.grant.MayRead(topic)
}

// online reports whether the client is there, and whether messages are kept
// while it is not.
func (s *session) online() (here, keeps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil && !s.over, s.keeps && !s.over
}

// deliver sends m to the session's client, or keeps it for later.
func (s *session) deliver(m *message, t *target) {
	if t.noLocal && m.origin == s {
		return // [MQTT-3.8.3-3]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := delivery{
		qos: min(m.qos, t.qos), ids: t.ids,
		retain: m.retain && t.asPublished, // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
	}
	s.deliverLocked(m, d)
}

// deliverLocked is deliver for a delivery that is decided.
func (s *session) deliverLocked(m *message, d delivery) {
	switch {
	case s.over:
	case d.qos == 0:
		if s.conn != nil {
			s.transmit(m, d)
		}
	case s.conn != nil || s.keeps:
		s.queue(m, d)
		s.pump()
	}
}

// transmit writes m to the outbox and watches it if it is a command. It
// returns false if the client takes no packet of that size.
func (s *session) transmit(m *message, d delivery) bool {
	out := &s.conn.out
	buf, ok := out.begin()
	if !ok {
		return true
	}
	buf, ok = appendPublish(buf, m, d, s.version, time.Now(), s.maxPacket)
	out.end(buf)
	if !ok {
		s.b.stats.tooLargeForClient.Add(1) // [MQTT-3.1.2-25]
		return false
	}
	s.b.stats.delivered.Add(1)
	if m.command && s.kind != gateway.KindClient && d.qos == 0 {
		s.b.keeper.watch(watch{at: m.expires, conn: s.conn, mark: out.mark()})
	}
	return true
}

// queue appends m to what waits, within the limits.
func (s *session) queue(m *message, d delivery) {
	l, size := &s.b.limits, m.size()
	total := s.b.stats.queueBytes.Add(int64(size))
	fits := len(s.waiting) == 0 || len(s.waiting) < l.QueueMessages &&
		s.bytes+size <= l.QueueBytes
	if !fits || total > l.QueueBudget {
		s.b.stats.queueBytes.Add(-int64(size))
		s.b.stats.queueDropped.Add(1)
		return
	}
	s.bytes += size
	s.waiting = append(s.waiting, &outbound{m: m, d: d, size: size})
}

// pump sends what waits as long as the client's window and the outbox have
// room. The session is locked.
func (s *session) pump() {
	now := time.Now()
	for s.conn != nil && len(s.waiting) > 0 && len(s.inflight) < s.window {
		o := s.waiting[0]
		if !s.outboxTakes(o.size) || !s.mayFly(o.size) {
			break
		}
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		if o.m.expired(now) {
			s.b.stats.expired.Add(1)
			s.settleLocked(o)
			continue
		}
		if o.d.id == 0 {
			o.d.id = s.nextID()
		}
		if !s.transmit(o.m, o.d) {
			s.settleLocked(o)
			continue
		}
		s.fly(o)
		if o.m.command && s.kind != gateway.KindClient {
			s.b.keeper.watch(watch{at: o.m.expires, conn: s.conn, session: s, sent: o})
		}
	}
	if len(s.waiting) == 0 {
		s.waiting = nil
		s.feed()
	}
	s.backlog.Store(len(s.waiting) > 0 || len(s.feeds) > 0)
}

// mayFly reports whether size bytes more may be in flight.
func (s *session) mayFly(size int) bool {
	return len(s.inflight) == 0 || s.flying+size <= s.b.limits.QueueBytes
}

// fly notes that o was sent.
func (s *session) fly(o *outbound) {
	s.inflight = append(s.inflight, o)
	s.flying += o.size
}

// outboxTakes reports whether size bytes may be appended without coming near
// the bound of the outbox.
func (s *session) outboxTakes(size int) bool {
	queued := s.conn.out.queued()
	return queued == 0 || queued+size <= s.b.limits.WriteQueue/2
}

// feed sends retained messages of new subscriptions while there is room. The
// present value is sent, which may be newer than the subscription.
func (s *session) feed() {
	for s.conn != nil && len(s.feeds) > 0 && len(s.inflight) < s.window {
		f := &s.feeds[0]
		if len(f.topics) == 0 {
			s.feeds = s.feeds[1:]
			continue
		}
		m := s.b.retains.get(f.topics[0])
		if m != nil && !(s.outboxTakes(m.size()) && s.mayFly(m.size())) {
			return
		}
		f.topics = f.topics[1:]
		if m == nil || !s.grant.MayRead(m.topic) {
			continue
		}
		d := delivery{qos: min(m.qos, f.to.qos), retain: true, ids: f.to.ids}
		if d.qos == 0 {
			s.transmit(m, d)
			continue
		}
		s.queue(m, d)
		if len(s.waiting) > 0 {
			o := s.waiting[0]
			s.waiting = nil
			o.d.id = s.nextID()
			if s.transmit(m, o.d) {
				s.fly(o)
			} else {
				s.settleLocked(o)
			}
		}
	}
	if len(s.feeds) == 0 {
		s.feeds = nil
	}
}

// addFeed has the retained messages of a subscription sent. A feed of the
// same filter that is not finished is replaced.
func (s *session) addFeed(filter string, topics []string, t target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds = slices.DeleteFunc(s.feeds, func(f feed) bool { return f.filter == filter })
	n := len(topics)
	for i := range s.feeds {
		n += len(s.feeds[i].topics)
	}
	if n > feedMaximum {
		s.b.stats.queueDropped.Add(int64(len(topics)))
		return
	}
	s.feeds = append(s.feeds, feed{filter: filter, topics: topics, to: t})
	s.pump()
}

// nextID returns a packet identifier that is not in use.
func (s *session) nextID() uint16 {
	for {
		s.lastID++
		if s.lastID != 0 && s.find(s.lastID) < 0 && !s.reserved(s.lastID) {
			return s.lastID
		}
	}
}

// reserved reports whether a message that will be sent again has id.
func (s *session) reserved(id uint16) bool {
	for _, o := range s.waiting {
		if o.d.id == 0 { // those to be sent again come first
			return false
		}
		if o.d.id == id {
			return true
		}
	}
	return false
}

// find returns the index of the message in flight with id, or -1.
func (s *session) find(id uint16) int {
	return slices.IndexFunc(s.inflight, func(o *outbound) bool { return o.d.id == id })
}

// ack writes one acknowledgement. The session is locked and has a client.
func (s *session) ack(first byte, id uint16, reason code) {
	if buf, ok := s.conn.out.begin(); ok {
		s.conn.out.end(appendAck(buf, first, id, reason, s.version))
	}
}

// acknowledged handles the client's PUBACK, PUBREC or PUBCOMP. Those that
// belong to nothing are ignored, or answered as MQTT wants.
func (s *session) acknowledged(kind byte, id uint16, reason code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return
	}
	i := s.find(id)
	known := i >= 0 && (kind == packets.Puback) == (s.inflight[i].d.qos == 1)
	if kind == packets.Pubrec && reason < codeUnspecified {
		why := codeSuccess
		if !known {
			why = codeNoPacketID
		} else if o := s.inflight[i]; !o.released {
			o.released = true
			s.flying -= o.size
			s.settleLocked(o)
			o.m, o.size = nil, 0
		}
		s.ack(bytePubrel, id, why)
		s.pump()
		return
	}
	if !known {
		return
	}
	s.flying -= s.inflight[i].size
	s.settleLocked(s.inflight[i])
	s.inflight = slices.Delete(s.inflight, i, i+1)
	s.pump()
}

// drained sends more when the outbox is empty; the outbox's writer calls it.
func (c *conn) drained() {
	s := c.live.Load()
	if s == nil || !s.backlog.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		s.pump()
	}
}
