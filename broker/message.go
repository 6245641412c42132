package broker

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// message is one application message on its way to subscribers. It is never
// changed once it was given to a session or to the retained messages.
type message struct {
	topic   string
	payload []byte
	qos     byte
	retain  bool
	props   []byte    // MQTT 5 properties that are forwarded, encoded
	expires time.Time // when it is worthless; zero: never
	command bool      // the gateway's own, which must not arrive after expires
	origin  *session  // who published it; nil for the gateway
	client  gateway.Client
	at      gateway.Instant // arrival
	seq     uint64          // rises with each message that arrives; 0 for one of an earlier run
}

// size is what the message counts for in queues.
func (m *message) size() int { return len(m.topic) + len(m.payload) + len(m.props) }

// expired reports whether m is worthless at now.
func (m *message) expired(now time.Time) bool {
	return !m.expires.IsZero() && !now.Before(m.expires)
}

// expirySeconds returns the Message Expiry Interval to send at now, 0 for
// none.
func (m *message) expirySeconds(now time.Time) uint32 {
	if m.expires.IsZero() {
		return 0
	}
	s := math.Ceil(m.expires.Sub(now).Seconds())
	return uint32(min(max(s, 1), math.MaxUint32))
}

// delivery is how a message goes out to one client.
type delivery struct {
	qos    byte
	dup    bool
	retain bool
	id     uint16 // packet identifier, for QoS above 0
	ids    []int  // subscription identifiers
}

// appendPublish appends m as a PUBLISH for a client of the given version. If
// the packet would be larger than most, it returns b as it was and false;
// most 0 is no limit.
func appendPublish(b []byte, m *message, d delivery, version byte, now time.Time, most int,
) ([]byte, bool) {
	length := 2 + len(m.topic) + len(m.payload)
	if d.qos > 0 {
		length += 2
	}
	props, expiry := 0, uint32(0)
	if version >= 5 {
		props = len(m.props)
		if expiry = m.expirySeconds(now); expiry > 0 {
			props += 5
		}
		for _, id := range d.ids {
			props += 1 + varintSize(id)
		}
		length += varintSize(props) + props
	}
	if most > 0 && 1+varintSize(length)+length > most {
		return b, false
	}
	first := byte(packets.Publish<<4) | d.qos<<1
	if d.dup {
		first |= 8
	}
	if d.retain {
		first |= 1
	}
	b = appendVarint(append(b, first), length)
	b = appendText(b, m.topic)
	if d.qos > 0 {
		b = binary.BigEndian.AppendUint16(b, d.id)
	}
	if version >= 5 {
		b = appendVarint(b, props)
		if expiry > 0 {
			b = appendProperty(b, packets.PropMessageExpiryInterval, expiry)
		}
		for _, id := range d.ids {
			b = appendVarint(append(b, packets.PropSubscriptionIdentifier), id)
		}
		b = append(b, m.props...)
	}
	return append(b, m.payload...), true
}
