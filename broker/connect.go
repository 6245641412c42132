package broker

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// connect is what a CONNECT says.
type connect struct {
	name      string
	version   byte // 3 (MQTT 3.1), 4 (3.1.1) or 5
	flags     byte
	keepAlive uint16
	props     properties
	id        string
	username  string
	password  []byte

	hasWill   bool
	willProps properties
	willTopic string
	willBody  []byte

	willFrom, willTo int // where the will stands in the packet's body
	flagsAt          int // where the flags stand
}

// Connect flags.
const (
	flagReserved = 1 << 0
	flagClean    = 1 << 1
	flagWill     = 1 << 2
	flagRetain   = 1 << 5
	flagPassword = 1 << 6
	flagUsername = 1 << 7
)

// clean reports whether the client wants a new session.
func (k *connect) clean() bool { return k.flags&flagClean != 0 }

// willQoS returns the QoS of the will.
func (k *connect) willQoS() byte { return k.flags >> 3 & 3 }

// parseConnect reads the body of a CONNECT. The code is 0 if it is well
// formed; k.version is set as soon as it is known.
func parseConnect(body []byte, mostUser int) (k connect, bad code) {
	c := cursor{b: body}
	k.name = string(c.bytes())
	k.version = c.byte()
	if c.bad {
		return k, codeMalformed
	}
	known := k.name == "MQTT" && (k.version == 4 || k.version == 5) ||
		k.name == "MQIsdp" && k.version == 3
	if !known {
		k.version = 4 // the answer's form
		return k, codeBadVersion
	}
	k.flagsAt = len(body) - len(c.b)
	k.flags = c.byte()
	k.keepAlive = c.uint16()
	if k.version == 5 {
		if k.props, bad = parseProperties(&c, packets.Connect, mostUser); bad != 0 {
			return k, bad
		}
	}
	k.id = string(c.text())
	if c.bad {
		return k, codeMalformed
	}
	k.willFrom = len(body) - len(c.b)
	if k.flags&flagWill != 0 {
		k.hasWill = true
		if k.version == 5 {
			if k.willProps, bad = parseProperties(&c, kindWill, mostUser); bad != 0 {
				return k, bad
			}
			k.willProps.forward = slices.Clone(k.willProps.forward)
		}
		k.willTopic = string(c.text())
		k.willBody = slices.Clone(c.bytes())
	}
	k.willTo = len(body) - len(c.b)
	if k.flags&flagUsername != 0 {
		k.username = string(c.text())
	}
	if k.flags&flagPassword != 0 {
		k.password = slices.Clone(c.bytes())
	}
	if c.bad || len(c.b) > 0 {
		return k, codeMalformed
	}
	k.props.forward = nil // nothing of it goes on, and it points into the packet
	return k, 0
}

// check refuses what is well formed but not allowed.
func (k *connect) check() code {
	switch {
	case k.flags&flagReserved != 0: // [MQTT-3.1.2-3]
		return codeMalformed
	case !k.hasWill && k.flags&(flagRetain|3<<3) != 0: // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
		return codeMalformed
	case k.willQoS() == 3: // [MQTT-3.1.2-12]
		return codeMalformed
	case k.version < 5 && k.flags&flagPassword != 0 && k.flags&flagUsername == 0:
		return codeMalformed // [MQTT-3.1.2-22] of 3.1.1
	case k.version < 5 && k.id == "" && !k.clean(): // [MQTT-3.1.3-8] of 3.1.1
		return codeBadClientID
	case k.props.has(packets.PropAuthenticationMethod):
		return codeBadAuthMethod
	case k.hasWill && !gateway.ValidTopic(k.willTopic):
		return codeBadTopic
	}
	return 0
}

// forLibrary returns the frame of body without its will, which is kept here,
// for the library. The password goes too: it is checked here.
func (k *connect) forLibrary(body []byte) []byte {
	end := len(body)
	if k.flags&flagPassword != 0 {
		end -= 2 + len(k.password)
	}
	rest := slices.Concat(body[:k.willFrom], body[k.willTo:end])
	rest[k.flagsAt] &^= flagWill | flagRetain | 3<<3 | flagPassword
	return append(appendVarint([]byte{packets.Connect << 4}, len(rest)), rest...)
}

// refuse answers CONNECT with a CONNACK that says why not.
func (c *conn) refuse(why code) {
	buf, ok := c.out.begin()
	if !ok {
		return
	}
	if c.version >= 5 {
		buf = append(buf, byteConnack, 3, 0, byte(why), 0)
	} else if v3 := why.connackV3(); v3 != 0 {
		buf = append(buf, byteConnack, 2, 0, v3)
	}
	c.out.end(buf)
}

// connackV3 returns the return code of MQTT 3.1.1 for a reason, 0 if there is
// none and the connection is just closed.
func (why code) connackV3() byte {
	switch why {
	case codeBadVersion:
		return 1
	case codeBadClientID:
		return 2
	case codeUnavailable, codeBusy, codeQuota:
		return 3
	case codeBadPassword:
		return 4
	case codeNotAuthorized, codeBadTopic:
		return 5
	}
	return 0
}

// admit decides on a CONNECT that is well formed: who it is, whether it may
// have its will, and whether there is room. It claims the session. The code
// is 0 if the client is let in.
func (c *conn) admit() code {
	k := &c.connect
	if k.flags&flagUsername == 0 {
		c.b.stats.anonymous.Add(1)
		return codeNotAuthorized
	}
	for {
		round := c.b.dropRound.Load()
		client, grant, err := c.b.cfg.Authenticate(k.username, k.password, c.host)
		if err != nil {
			c.b.stats.unauthenticated.Add(1)
			return authCode(err)
		}
		c.client, c.grant = client, grant
		c.client.ID = k.id
		if why := c.checkWill(); why != 0 {
			return why
		}
		if why := c.b.claim(c); why != 0 {
			return why
		}
		if c.b.dropRound.Load() == round {
			break
		}
		// The credential may have been changed after it was looked up and before
		// Drop could see this connection: look again.
		c.b.unclaim(c)
	}
	k.password = nil
	return 0
}

// authCode returns the reason for an error of Authenticate.
func authCode(err error) code {
	switch gateway.CodeOf(err) {
	case gateway.CodeUnavailable:
		return codeUnavailable
	case gateway.CodeForbidden:
		return codeNotAuthorized
	default:
		return codeBadPassword
	}
}

// checkWill refuses a will that its client could not publish itself.
func (c *conn) checkWill() code {
	k := &c.connect
	if !k.hasWill {
		return 0
	}
	topic := k.willTopic
	if !strings.HasPrefix(topic, "$") && c.b.limits.withinLimits(topic) &&
		c.grant.MayPublish(topic) {
		return 0
	}
	c.b.stats.refusedWills.Add(1)
	c.b.refused(c.client, "will", topic)
	return codeNotAuthorized
}

// settings sets what follows from who the client is.
func (c *conn) settings() {
	l := c.b.limits
	c.keepAlive = time.Duration(c.connect.keepAlive) * time.Second
	if c.version >= 5 {
		c.keepAlive = l.ServerKeepAlive
	} else if c.keepAlive == 0 || c.keepAlive > l.KeepAlive {
		c.keepAlive = l.KeepAlive
	}
	c.bucket = bucket{rate: l.ClientRate, burst: l.ClientBurst, last: time.Now()}
	if c.client.Kind == gateway.KindDevice {
		c.bucket.rate, c.bucket.burst = l.DeviceRate, l.DeviceBurst
	}
	c.bucket.tokens = c.bucket.burst
}

// maximumPacket is the longest packet that the client takes, 0 for any.
func (k *connect) maximumPacket() int {
	// 32 bits hold what matters: no packet is longer than 256 MiB.
	return int(min(k.props.maximumPacket, 1<<29))
}

// window is how many messages may wait for the client's acknowledgement.
func (k *connect) window(most int) int {
	if k.props.receiveMaximum > 0 {
		return min(most, int(k.props.receiveMaximum))
	}
	return most
}

// sessionKey returns the name of a session: the client id in the space of
// its credential. NUL is in no client id.
func sessionKey(cred gateway.CredentialID, id string) string {
	return strconv.FormatInt(int64(cred), 10) + "\x00" + id
}
