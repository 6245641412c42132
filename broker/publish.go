package broker

import (
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// topic is what was found out about a topic that a client publishes to.
type topic struct {
	name   string
	reason code // 0: it may
}

// Topics that a connection remembers; beyond that it starts afresh.
const (
	deviceTopics = 32
	clientTopics = 1024
)

// inbound is a PUBLISH of a client until it was acknowledged.
type inbound struct {
	m      *message // nil if there is nothing to deliver
	c      *conn
	qos    byte
	id     uint16
	reason code
	again  []*inbound // QoS 2: the same, sent again on newer connections; under session.mu

	// Under acks.mu.
	next  *inbound
	state inboundState
}

// inboundState is where an inbound message is.
type inboundState byte

// States of an inbound message, in order.
const (
	stateOpen     inboundState = iota // with Handle
	stateStored                       // to be delivered and acknowledged
	stateAnswered                     // to be acknowledged alone
	stateFailed                       // not to be acknowledged
)

// acks holds the messages of one connection that are to be acknowledged, in
// the order of their arrival [MQTT-4.6.0-2].
type acks struct {
	mu          sync.Mutex
	first, last *inbound
	open        int // messages in the list
	draining    bool
	superseded  string        // topic of the will that was sent meanwhile
	vacancy     chan struct{} // closed when open falls; nil while nobody waits
}

// publish handles a PUBLISH.
func (c *conn) publish(flags byte, body []byte, owned bool) code {
	cur := cursor{b: body}
	name := cur.text()
	qos, id := flags>>1&3, uint16(0)
	if qos > 0 {
		if id = cur.uint16(); id == 0 {
			cur.bad = true // [MQTT-2.2.1-3]
		}
	}
	var p properties
	if c.version >= 5 && !cur.bad {
		var bad code
		if p, bad = parseProperties(&cur, packets.Publish, c.b.limits.UserProperties); bad != 0 {
			return bad
		}
		if p.has(packets.PropTopicAlias) {
			return codeBadTopicAlias // none was offered
		}
	}
	if cur.bad {
		return codeMalformed
	}
	if len(name) == 0 {
		return codeProtocolError
	}
	t := c.topicOf(name)
	if t.reason == codeBadTopic && strings.ContainsAny(t.name, "+#") {
		return codeBadTopic // [MQTT-3.3.2-2]
	}
	c.b.stats.received.Add(1)
	if t.reason != 0 {
		c.b.stats.refusedPublishes.Add(1)
		c.b.refused(c.client, "publish", t.name)
		return c.answer(&inbound{c: c, qos: qos, id: id, reason: t.reason})
	}
	now := time.Now()
	m := &c.scratch
	if qos > 0 {
		m = new(message)
	}
	*m = message{
		topic: t.name, qos: qos, retain: flags&1 != 0, origin: c.session,
		client: c.client, at: gateway.InstantOf(now), seq: c.b.seq.Add(1),
	}
	m.payload, m.props = keep(cur.b, p.forward, owned)
	if p.has(packets.PropMessageExpiryInterval) {
		m.expires = now.Add(time.Duration(p.messageExpiry) * time.Second)
	}
	return c.take(m, id)
}

// keep returns payload and properties that stay valid.
func keep(payload, props []byte, owned bool) ([]byte, []byte) {
	if owned {
		return payload, props
	}
	b := make([]byte, len(payload)+len(props))
	copy(b, payload)
	copy(b[len(payload):], props)
	return b[:len(payload):len(payload)], b[len(payload):]
}

// topicOf finds out whether the client may publish to a topic.
func (c *conn) topicOf(name []byte) *topic {
	if t := c.topics[string(name)]; t != nil {
		return t
	}
	t := &topic{name: string(name)}
	switch {
	case !gateway.ValidTopic(t.name) || !c.b.limits.withinLimits(t.name):
		t.reason = codeBadTopic
	case strings.HasPrefix(t.name, "$") || !c.grant.MayPublish(t.name):
		t.reason = codeNotAuthorized
	}
	most := deviceTopics
	if c.client.Kind != gateway.KindDevice {
		most = clientTopics
	}
	if len(c.topics) >= most {
		clear(c.topics)
	}
	if c.topics == nil {
		c.topics = map[string]*topic{}
	}
	c.topics[t.name] = t
	return t
}

// take hands m, with packet identifier id if it has one, to Handle and sees to
// its acknowledgement. It keeps m only if its QoS is above 0.
func (c *conn) take(m *message, id uint16) code {
	if m.qos == 0 {
		if c.b.handle(m, false, nil) == handled && (m.retain || c.b.routeOf(m.topic).leads()) {
			kept := *m
			c.b.distribute(&kept)
		}
		return 0
	}
	in := &inbound{m: m, c: c, qos: m.qos, id: id}
	if why := c.acks.room(c); why != 0 {
		return why
	}
	if in.qos == 2 {
		known, why := c.session.receive(in)
		if why != 0 {
			return why
		}
		if known {
			return 0
		}
	}
	c.acks.push(in)
	switch c.b.handle(in.m, false, in.done) {
	case refusedByHandle:
		in.finish(stateAnswered)
	case panicked:
		in.finish(stateFailed)
	}
	return 0
}

// answer acknowledges a PUBLISH that is not handled: with a reason in MQTT 5,
// as if it had been in 3.1.1 [MQTT-3.3.5-2].
func (c *conn) answer(in *inbound) code {
	if in.qos == 0 {
		return 0
	}
	if why := c.acks.room(c); why != 0 {
		return why
	}
	if in.qos == 2 && c.version < 5 { // PUBREL will come
		if known, why := c.session.receive(in); known || why != 0 {
			return why
		}
	}
	c.acks.push(in)
	in.finish(stateAnswered)
	return 0
}

// outcome is what Handle made of a message.
type outcome int

// Outcomes of Handle.
const (
	handled outcome = iota
	refusedByHandle
	panicked
)

// handle calls Config.Handle. A panic there is ours to survive.
func (b *Broker) handle(m *message, isWill bool, done func(error)) (o outcome) {
	defer func() {
		if r := recover(); r != nil {
			b.stats.panics.Add(1)
			b.log.Error("handling a message panicked", "topic", m.topic, "panic", r,
				"stack", string(debug.Stack()))
			o = panicked
		}
	}()
	err := b.cfg.Handle(gateway.Message{
		Topic: m.topic, Payload: m.payload, QoS: m.qos, Retain: m.retain,
		Client: m.client, At: m.at, Will: isWill,
	}, done)
	if err != nil {
		b.stats.takenOff.Add(1)
		b.log.Debug("message taken off", "client", m.client.Name, "topic", m.topic, "err", err)
		return refusedByHandle
	}
	return handled
}

// done is what Handle gets for its answer.
func (in *inbound) done(err error) {
	if err != nil {
		in.finish(stateFailed)
		in.c.b.unsettled(in.c, err)
		return
	}
	in.finish(stateStored)
	in.c.b.settled()
}

// finish sets the state of in, once, and acknowledges what can be.
func (in *inbound) finish(state inboundState) {
	c := in.c
	var again []*inbound
	if in.qos == 2 {
		again = c.session.finished(in, state)
	}
	c.acks.finish(in, state)
	if state == stateStored {
		state = stateAnswered // delivered once
	}
	for _, in := range again { // the client waits on a newer connection
		in.c.acks.finish(in, state)
	}
}

// push appends in.
func (a *acks) push(in *inbound) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open++
	if a.last == nil {
		a.first = in
	} else {
		a.last.next = in
	}
	a.last = in
}

// finish sets in's state, if it has none yet, and works off the list from its
// beginning. One goroutine at a time does that; it delivers and acknowledges
// without the lock.
func (a *acks) finish(in *inbound, state inboundState) {
	a.mu.Lock()
	if in.state == stateOpen {
		in.state = state
	}
	if a.draining {
		a.mu.Unlock()
		return
	}
	a.draining = true
	for a.first != nil && a.first.state != stateOpen {
		head := a.first
		if a.first = head.next; a.first == nil {
			a.last = nil
		}
		if head.m != nil && head.m.topic == a.superseded {
			head.m = nil
		}
		a.open-- // before the client hears of it and sends the next
		if a.vacancy != nil {
			close(a.vacancy)
			a.vacancy = nil
		}
		state := head.state
		a.mu.Unlock()
		head.conclude(state)
		a.mu.Lock()
	}
	a.draining = false
	a.mu.Unlock()
}

// supersede keeps what is still open on topic from being delivered, because
// the client's will on the same topic goes out now and must be the last word.
func (a *acks) supersede(topic string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.superseded = topic
}

// conclude delivers in, if it was stored, and acknowledges it.
func (in *inbound) conclude(state inboundState) {
	if state == stateFailed {
		in.c.b.stats.unacknowledged.Add(1)
		return
	}
	if state == stateStored && in.m != nil {
		in.c.b.distribute(in.m)
	}
	first := byte(bytePuback)
	if in.qos == 2 {
		first = bytePubrec
	}
	if buf, ok := in.c.out.begin(); ok {
		in.c.out.end(appendAck(buf, first, in.id, in.reason, in.c.version))
	}
}

// room checks that c may have one more message open [MQTT-3.3.4-7].
func (a *acks) room(c *conn) code {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.version >= 5 && a.open >= c.b.limits.ReceiveMaximum {
		c.b.stats.overReceiveMaximum.Add(1)
		return codeReceiveMaximum
	}
	return 0
}

// waitBelow returns when fewer than most messages of a client without a
// Receive Maximum are open, or false if closing was closed.
func (a *acks) waitBelow(most int, version byte, closing <-chan struct{}) bool {
	if version >= 5 {
		return true
	}
	for {
		a.mu.Lock()
		if a.open < most {
			a.mu.Unlock()
			return true
		}
		if a.vacancy == nil {
			a.vacancy = make(chan struct{})
		}
		room := a.vacancy
		a.mu.Unlock()
		select {
		case <-room:
		case <-closing:
			return false
		}
	}
}

// parseAck reads a PUBACK, PUBREC, PUBREL or PUBCOMP.
func (c *conn) parseAck(kind byte, body []byte) (id uint16, reason, bad code) {
	cur := cursor{b: body}
	if id = cur.uint16(); id == 0 {
		return 0, 0, codeMalformed
	}
	if c.version >= 5 && len(cur.b) > 0 {
		reason = code(cur.byte())
		if len(cur.b) > 0 {
			_, bad := parseProperties(&cur, kind, c.b.limits.UserProperties)
			if bad != 0 {
				return 0, 0, bad
			}
		}
	}
	if len(cur.b) > 0 {
		return 0, 0, codeMalformed
	}
	return id, reason, 0
}

// acknowledged handles a PUBACK, PUBREC or PUBCOMP.
func (c *conn) acknowledged(kind byte, body []byte) code {
	id, reason, bad := c.parseAck(kind, body)
	if bad == 0 {
		c.session.acknowledged(kind, id, reason)
	}
	return bad
}

// release handles a PUBREL.
func (c *conn) release(body []byte) code {
	id, _, bad := c.parseAck(packets.Pubrel, body)
	if bad != 0 {
		return bad
	}
	reason := codeSuccess
	if !c.session.release(id) {
		reason = codeNoPacketID
	}
	if buf, ok := c.out.begin(); ok {
		c.out.end(appendAck(buf, bytePubcomp, id, reason, c.version))
	}
	return 0
}

// receive notes a QoS 2 message of the client. known says that it is the same
// one as before, and then it is answered from here.
func (s *session) receive(in *inbound) (known bool, why code) {
	s.mu.Lock()
	before, known := s.received[in.id]
	switch {
	case known && before == nil: // stored: answer once more
		s.mu.Unlock()
		in.c.acks.push(in)
		in.c.acks.finish(in, stateAnswered)
		return true, 0
	case known: // still with Handle
		before.again = append(before.again, in)
		in.c.acks.push(in)
		s.mu.Unlock()
		return true, 0
	}
	defer s.mu.Unlock()
	most := s.b.limits.ReceiveMaximum
	if s.version < 5 {
		most = qos2Maximum
	}
	if len(s.received) >= most {
		s.b.stats.overReceiveMaximum.Add(1)
		return false, codeReceiveMaximum
	}
	if s.received == nil {
		s.received = map[uint16]*inbound{}
	}
	s.received[in.id] = in
	return false, 0
}

// finished notes what became of a QoS 2 message, and returns the same message
// where the client sent it again meanwhile.
func (s *session) finished(in *inbound, state inboundState) []*inbound {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := in.again
	in.again = nil
	if s.received[in.id] != in {
		return again // released, or the session began afresh
	}
	if state == stateFailed {
		delete(s.received, in.id)
	} else {
		s.received[in.id] = nil
	}
	return again
}

// release forgets a QoS 2 message and reports whether it was known.
func (s *session) release(id uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.received[id]
	delete(s.received, id)
	return known
}
