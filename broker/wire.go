package broker

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// code is an MQTT 5 reason code.
type code byte

// Reason codes that are sent, MQTT 5.0 section 2.4.
const (
	codeSuccess        code = 0x00
	codeWithWill       code = 0x04
	codeNoSubscription code = 0x11
	codeUnspecified    code = 0x80
	codeMalformed      code = 0x81
	codeProtocolError  code = 0x82
	codeBadVersion     code = 0x84
	codeBadClientID    code = 0x85
	codeBadPassword    code = 0x86
	codeNotAuthorized  code = 0x87
	codeUnavailable    code = 0x88
	codeBusy           code = 0x89
	codeShuttingDown   code = 0x8B
	codeBadAuthMethod  code = 0x8C
	codeKeepAlive      code = 0x8D
	codeTakenOver      code = 0x8E
	codeBadFilter      code = 0x8F
	codeBadTopic       code = 0x90
	codeNoPacketID     code = 0x92
	codeReceiveMaximum code = 0x93
	codeBadTopicAlias  code = 0x94
	codeTooLarge       code = 0x95
	codeQuota          code = 0x97
	codeAdministrative code = 0x98
)

// header is the fixed header of a frame.
type header struct {
	kind   byte // packet type, 1 to 15
	flags  byte // low four bits of the first byte
	length int  // bytes that follow the header
	size   int  // bytes of the header itself
}

// parseHeader reads a fixed header from the start of b. A size of 0 without
// an error says that more bytes are needed.
func parseHeader(b []byte) (h header, bad code) {
	if len(b) == 0 {
		return h, 0
	}
	h.kind, h.flags = b[0]>>4, b[0]&0x0f
	switch h.kind {
	case packets.Publish:
		if h.flags&0x06 == 0x06 || h.flags&0x0e == 0x08 { // QoS 3; DUP without QoS
			return h, codeMalformed
		}
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		if h.flags != 2 {
			return h, codeMalformed
		}
	case packets.Connect, packets.Puback, packets.Pubrec, packets.Pubcomp,
		packets.Pingreq, packets.Disconnect:
		if h.flags != 0 {
			return h, codeMalformed
		}
	default: // what only servers send, AUTH, 0
		return h, codeProtocolError
	}
	for i := 1; i < len(b); i++ {
		h.length |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			h.size = i + 1
			return h, 0
		}
		if i == 4 {
			return h, codeMalformed
		}
	}
	return h, 0
}

// cursor takes apart the body of a packet. After a field that is not there or
// not allowed bad is set and every further field is empty.
type cursor struct {
	b   []byte
	bad bool
}

// take returns the next n bytes.
func (c *cursor) take(n int) []byte {
	if c.bad || n > len(c.b) {
		c.bad = true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

// byte returns the next byte.
func (c *cursor) byte() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

// uint16 returns the next two bytes as a number.
func (c *cursor) uint16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

// uint32 returns the next four bytes as a number.
func (c *cursor) uint32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// varint returns the next variable byte integer.
func (c *cursor) varint() int {
	v := 0
	for i := range 4 {
		x := c.byte()
		v |= int(x&0x7f) << (7 * i)
		if x&0x80 == 0 {
			return v
		}
	}
	c.bad = true
	return 0
}

// bytes returns the next binary data with its length before it.
func (c *cursor) bytes() []byte { return c.take(int(c.uint16())) }

// text returns the next string, which is UTF-8 without NUL [MQTT-1.5.4-1]
// [MQTT-1.5.4-2].
func (c *cursor) text() []byte {
	v := c.bytes()
	if !validText(v) {
		c.bad = true
		return nil
	}
	return v
}

// validText reports whether b may be an MQTT string. ASCII, which nearly all
// are, is told apart in one pass.
func validText(b []byte) bool {
	ascii := true
	for _, x := range b {
		if x == 0 {
			return false
		}
		ascii = ascii && x < utf8.RuneSelf
	}
	return ascii || utf8.Valid(b)
}

// withinLimits reports whether a topic or filter is short and flat enough for
// the library's index, which walks it in quadratic time with a lock held.
func (l *Limits) withinLimits(topic string) bool {
	return len(topic) <= l.TopicBytes && strings.Count(topic, "/") < l.TopicLevels
}

// appendVarint appends a variable byte integer.
func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// varintSize returns how many bytes appendVarint appends.
func varintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// appendText appends a string with its length before it.
func appendText(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP. first is the packet's
// first byte; a 3.1.1 client gets no reason.
func appendAck(b []byte, first byte, id uint16, reason code, version byte) []byte {
	if version < 5 || reason == codeSuccess {
		return append(b, first, 2, byte(id>>8), byte(id))
	}
	return append(b, first, 3, byte(id>>8), byte(id), byte(reason))
}

// First bytes of packets that are written here.
const (
	bytePuback     = packets.Puback << 4
	bytePubrec     = packets.Pubrec << 4
	bytePubrel     = packets.Pubrel<<4 | 2
	bytePubcomp    = packets.Pubcomp << 4
	byteSuback     = packets.Suback << 4
	byteUnsuback   = packets.Unsuback << 4
	byteConnack    = packets.Connack << 4
	byteDisconnect = packets.Disconnect << 4
)
