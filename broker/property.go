package broker

import (
	"bytes"
	"encoding/binary"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Forms of a property's value.
const (
	formByte = iota + 1
	formUint16
	formUint32
	formVarint
	formText
	formBytes
	formPair
)

// in returns the set of packet types that a property belongs to.
func in(kinds ...byte) (set uint32) {
	for _, k := range kinds {
		set |= 1 << k
	}
	return set
}

// kindWill stands for the properties of a will, which are apart from those of
// the CONNECT around it.
const kindWill = 16

// ackKinds are the packet types with a reason string.
var ackKinds = in(packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp)

// propertyForms tells the form of each property that a client may send, and
// in which packets: MQTT 5.0, table 2-4.
var propertyForms = [...]struct {
	form  byte
	kinds uint32
}{
	packets.PropPayloadFormat:          {formByte, in(packets.Publish, kindWill)},
	packets.PropMessageExpiryInterval:  {formUint32, in(packets.Publish, kindWill)},
	packets.PropContentType:            {formText, in(packets.Publish, kindWill)},
	packets.PropResponseTopic:          {formText, in(packets.Publish, kindWill)},
	packets.PropCorrelationData:        {formBytes, in(packets.Publish, kindWill)},
	packets.PropSubscriptionIdentifier: {formVarint, in(packets.Subscribe)},
	packets.PropSessionExpiryInterval:  {formUint32, in(packets.Connect, packets.Disconnect)},
	packets.PropAuthenticationMethod:   {formText, in(packets.Connect)},
	packets.PropAuthenticationData:     {formBytes, in(packets.Connect)},
	packets.PropRequestProblemInfo:     {formByte, in(packets.Connect)},
	packets.PropWillDelayInterval:      {formUint32, in(kindWill)},
	packets.PropRequestResponseInfo:    {formByte, in(packets.Connect)},
	packets.PropReasonString:           {formText, ackKinds | in(packets.Disconnect)},
	packets.PropReceiveMaximum:         {formUint16, in(packets.Connect)},
	packets.PropTopicAliasMaximum:      {formUint16, in(packets.Connect)},
	packets.PropTopicAlias:             {formUint16, in(packets.Publish)},
	packets.PropUser: {formPair, ackKinds | in(packets.Connect, packets.Publish,
		packets.Subscribe, packets.Unsubscribe, packets.Disconnect, kindWill)},
	packets.PropMaximumPacketSize: {formUint32, in(packets.Connect)},
}

// properties is what was told in the properties of a packet, as far as it
// matters here.
type properties struct {
	seen           uint64 // bit n: property n is there
	messageExpiry  uint32
	sessionExpiry  uint32
	willDelay      uint32
	maximumPacket  uint32
	receiveMaximum uint16
	subscriptionID int
	forward        []byte // what goes on to subscribers, encoded, within the packet's bytes
}

// has reports whether property id was there.
func (p *properties) has(id byte) bool { return p.seen&(1<<id) != 0 }

// forwarded are the properties that go on to the subscribers.
const forwarded uint64 = 1<<packets.PropPayloadFormat | 1<<packets.PropContentType |
	1<<packets.PropResponseTopic | 1<<packets.PropCorrelationData | 1<<packets.PropUser

// parseProperties reads the properties of a packet of the given kind from c.
// The code is 0 if all is well.
func parseProperties(c *cursor, kind byte, mostUser int) (p properties, bad code) {
	list := cursor{b: c.take(c.varint())}
	if c.bad {
		return p, codeMalformed
	}
	p.forward = list.b
	whole, user, kept := true, 0, []byte(nil)
	start := list.b
	for len(list.b) > 0 {
		before := list.b
		id := list.byte()
		if int(id) >= len(propertyForms) || propertyForms[id].kinds&(1<<kind) == 0 {
			return p, codeProtocolError
		}
		if id == packets.PropUser {
			user++
		} else if p.has(id) {
			return p, codeProtocolError
		}
		p.seen |= 1 << id
		p.value(&list, id)
		if list.bad {
			return p, codeMalformed
		}
		// The forwarded properties are one slice of the packet unless one that is
		// not forwarded stands among them.
		if forwarded&(1<<id) == 0 && whole {
			whole = false
			kept = bytes.Clone(start[:len(start)-len(before)])
		} else if forwarded&(1<<id) != 0 && !whole {
			kept = append(kept, before[:len(before)-len(list.b)]...)
		}
	}
	if !whole {
		p.forward = kept
	}
	if user > mostUser {
		return p, codeQuota
	}
	return p, p.check()
}

// value reads the value of property id.
func (p *properties) value(c *cursor, id byte) {
	switch propertyForms[id].form {
	case formByte:
		if c.byte() > 1 {
			c.bad = true
		}
	case formUint16:
		if v := c.uint16(); id == packets.PropReceiveMaximum {
			p.receiveMaximum = v
		}
	case formUint32:
		p.keep(id, c.uint32())
	case formVarint:
		p.subscriptionID = c.varint()
	case formText:
		if v := c.text(); id == packets.PropResponseTopic && bytes.ContainsAny(v, "+#") {
			c.bad = true
		}
	case formBytes:
		c.bytes()
	case formPair:
		c.text()
		c.text()
	}
}

// keep stores the number of property id.
func (p *properties) keep(id byte, v uint32) {
	switch id {
	case packets.PropMessageExpiryInterval:
		p.messageExpiry = v
	case packets.PropSessionExpiryInterval:
		p.sessionExpiry = v
	case packets.PropWillDelayInterval:
		p.willDelay = v
	case packets.PropMaximumPacketSize:
		p.maximumPacket = v
	}
}

// check refuses numbers that must not be zero.
func (p *properties) check() code {
	if p.has(packets.PropReceiveMaximum) && p.receiveMaximum == 0 ||
		p.has(packets.PropMaximumPacketSize) && p.maximumPacket == 0 ||
		p.has(packets.PropSubscriptionIdentifier) && p.subscriptionID == 0 {
		return codeProtocolError
	}
	return 0
}

// appendProperty appends a property with a number of four bytes.
func appendProperty(b []byte, id byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, id), v)
}
