package broker

import (
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// will is the message that a client left for the case that it goes without a
// farewell.
type will struct {
	client    gateway.Client
	origin    *session
	topic     string
	payload   []byte
	props     []byte
	qos       byte
	retain    bool
	delay     time.Duration
	expiry    time.Duration
	hasExpiry bool
}

// seconds returns n seconds.
func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// sendWill hands a will to Handle and delivers it like any other message. No
// lock is held.
func (b *Broker) sendWill(w *will) {
	now := time.Now()
	m := &message{
		topic: w.topic, payload: w.payload, props: w.props, qos: w.qos, retain: w.retain,
		origin: w.origin, client: w.client, at: gateway.InstantOf(now), seq: b.seq.Add(1),
	}
	if w.hasExpiry {
		m.expires = now.Add(w.expiry)
	}
	if b.handle(m, true, nil) == handled {
		b.distribute(m)
	}
}

// sendDelayedWills sends the wills that still wait when the broker ends.
func (b *Broker) sendDelayedWills() {
	b.mu.Lock()
	wills := b.keeper.takeLate()
	for _, s := range b.sessions {
		if s.delayed != nil {
			wills = append(wills, s.delayed)
			s.delayed = nil
		}
	}
	b.mu.Unlock()
	for _, w := range wills {
		b.sendWill(w)
	}
}
