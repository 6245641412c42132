package broker

import (
	"encoding/binary"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/wattle-home/wattle/gateway"
)

// sharePrefix begins a shared subscription: $share/group/filter.
const sharePrefix = "$share/"

// isShared reports whether a filter is that of a shared subscription.
func isShared(filter string) bool { return strings.HasPrefix(filter, sharePrefix) }

// judged returns the part of a filter that matches topics. It is empty if
// the filter is no valid one.
func judged(filter string) string {
	if mqtt.IsSharedFilter(filter) {
		group, rest, _ := strings.Cut(strings.TrimPrefix(filter, sharePrefix), "/")
		if !isShared(filter) || group == "" || strings.ContainsAny(group, "+#") {
			return "" // the library takes the prefix in any case, MQTT does not
		}
		filter = rest
	}
	if !gateway.ValidFilter(filter) {
		return ""
	}
	return filter
}

// parseFilters reads the body of a SUBSCRIBE or UNSUBSCRIBE. The code is 0 if
// it is well formed.
func parseFilters(body []byte, kind, version byte, l *Limits) (
	id uint16, subs []packets.Subscription, bad code,
) {
	c := cursor{b: body}
	if id = c.uint16(); id == 0 {
		return 0, nil, codeMalformed
	}
	var p properties
	if version >= 5 {
		if p, bad = parseProperties(&c, kind, l.UserProperties); bad != 0 {
			return 0, nil, bad
		}
	}
	for len(c.b) > 0 && !c.bad {
		sub := packets.Subscription{Filter: string(c.text()), Identifier: p.subscriptionID}
		if kind == packets.Subscribe {
			if bad := parseOptions(&sub, c.byte(), version); bad != 0 {
				return 0, nil, bad
			}
		}
		if len(subs) == l.FiltersPerPacket {
			return 0, nil, codeQuota
		}
		subs = append(subs, sub)
	}
	if c.bad {
		return 0, nil, codeMalformed
	}
	if len(subs) == 0 { // [MQTT-3.8.3-2] [MQTT-3.10.3-2]
		return 0, nil, codeProtocolError
	}
	return id, subs, 0
}

// parseOptions reads the subscription options.
func parseOptions(sub *packets.Subscription, o, version byte) code {
	sub.Qos = o & 3
	if sub.Qos == 3 || version < 5 && o > 2 || o&0xc0 != 0 || o&0x30 == 0x30 {
		return codeMalformed
	}
	sub.NoLocal = o&4 != 0
	sub.RetainAsPublished = o&8 != 0
	sub.RetainHandling = o >> 4 & 3
	if sub.NoLocal && isShared(sub.Filter) {
		return codeProtocolError // [MQTT-3.8.3-4]
	}
	return 0
}

// subscribe handles a SUBSCRIBE.
func (c *conn) subscribe(body []byte) code {
	id, subs, bad := parseFilters(body, packets.Subscribe, c.version, &c.b.limits)
	if bad != 0 {
		return bad
	}
	answers := make([]byte, len(subs))
	isNew := make([]bool, len(subs))
	for i := range subs {
		why := c.maySubscribe(&subs[i])
		if why == 0 {
			answers[i] = subs[i].Qos
			_, had := c.cl.State.Subscriptions.Get(subs[i].Filter)
			isNew[i] = !had
			c.cl.State.Subscriptions.Add(subs[i].Filter, subs[i])
			c.b.routes.addParent(c.session, subs[i])
			c.b.server.Topics.Subscribe(c.cl.ID, subs[i])
			continue
		}
		answers[i] = byte(why)
		if c.version < 5 {
			answers[i] = byte(codeUnspecified)
		}
	}
	c.b.routes.changed()
	c.answerFilters(byteSuback, id, answers)
	for i := range subs {
		if answers[i] <= 2 {
			c.sendRetained(&subs[i], isNew[i])
		}
	}
	return 0
}

// maySubscribe reports why the client may not have a subscription, 0 if it
// may.
func (c *conn) maySubscribe(sub *packets.Subscription) code {
	filter := judged(sub.Filter)
	if filter == "" || !c.b.limits.withinLimits(sub.Filter) {
		c.b.stats.refusedFilters.Add(1)
		return codeBadFilter
	}
	if !c.grant.MaySubscribe(filter) {
		c.b.stats.refusedFilters.Add(1)
		c.b.refused(c.client, "subscribe", sub.Filter)
		return codeNotAuthorized
	}
	if _, had := c.cl.State.Subscriptions.Get(sub.Filter); !had &&
		c.cl.State.Subscriptions.Len() >= c.b.limits.Subscriptions {
		c.b.stats.refusedFilters.Add(1)
		return codeQuota
	}
	return 0
}

// unsubscribe handles an UNSUBSCRIBE.
func (c *conn) unsubscribe(body []byte) code {
	id, subs, bad := parseFilters(body, packets.Unsubscribe, c.version, &c.b.limits)
	if bad != 0 {
		return bad
	}
	answers := make([]byte, len(subs))
	for i, sub := range subs {
		if _, had := c.cl.State.Subscriptions.Get(sub.Filter); !had {
			answers[i] = byte(codeNoSubscription)
			continue
		}
		c.cl.State.Subscriptions.Delete(sub.Filter)
		c.b.server.Topics.Unsubscribe(sub.Filter, c.cl.ID)
		c.b.routes.dropParent(c.session, sub.Filter)
	}
	c.b.routes.changed()
	if c.version < 5 {
		answers = nil
	}
	c.answerFilters(byteUnsuback, id, answers)
	return 0
}

// answerFilters writes a SUBACK or UNSUBACK.
func (c *conn) answerFilters(first byte, id uint16, answers []byte) {
	buf, ok := c.out.begin()
	if !ok {
		return
	}
	length := 2 + len(answers)
	if c.version >= 5 {
		length++
	}
	buf = appendVarint(append(buf, first), length)
	buf = binary.BigEndian.AppendUint16(buf, id)
	if c.version >= 5 {
		buf = append(buf, 0) // no properties
	}
	c.out.end(append(buf, answers...))
}

// sendRetained has a new subscriber sent what is retained, as it asked for
// [MQTT-3.3.1-9] to [MQTT-3.3.1-11]. A shared subscription gets none.
func (c *conn) sendRetained(sub *packets.Subscription, isNew bool) {
	if isShared(sub.Filter) || sub.RetainHandling == 2 || sub.RetainHandling == 1 && !isNew {
		return
	}
	topics := c.b.retains.match(sub.Filter)
	if len(topics) == 0 {
		return
	}
	t := target{session: c.session, qos: sub.Qos}
	if sub.Identifier > 0 {
		t.ids = []int{sub.Identifier}
	}
	c.session.addFeed(sub.Filter, topics, t)
}
