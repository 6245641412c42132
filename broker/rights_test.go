package broker_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
)

// allows tells by other means than the broker whether one of filters matches
// topic.
func allows(filters []string, topic string) bool {
	return slices.ContainsFunc(filters, func(f string) bool {
		if topic[0] == '$' && f[0] != '$' {
			return false
		}
		re := regexp.QuoteMeta(f)
		re = strings.ReplaceAll(re, `\+`, `[^/]*`)
		if rest, ok := strings.CutSuffix(re, "/#"); ok {
			re = rest + "(/.*)?"
		} else if re == "#" {
			re = ".*"
		}
		return regexp.MustCompile("^" + re + "$").MatchString(topic)
	})
}

// mayPublish tells whether g allows a PUBLISH to topic.
func mayPublish(g gateway.Grant, topic string) bool {
	return topic[0] != '$' && allows(g.Publish, topic) && !allows(g.Deny, topic)
}

// TestRights_property tries some thousand ways to get at what a credential
// may not have: nothing may come through, and what is allowed must.
func TestRights_property(t *testing.T) {
	h := open(t, nil)
	h.accounts["plug"] = account{client: h.accounts["plug"].client, grant: gateway.Grant{
		Publish: []string{"a/b/#", "c/+"}, Deny: []string{"a/b/c", "c/d/#"},
		Subscribe: []string{"a/b/c", "c/+/a"},
	}}
	h.accounts["meter"] = account{client: h.accounts["meter"].client, grant: gateway.Grant{
		Publish: []string{"b/#"}, Subscribe: []string{"b/a"},
	}}
	h.accounts["zigbee"] = account{client: h.accounts["zigbee"].client, grant: gateway.Grant{
		Publish: []string{"+/b/c"}, Subscribe: []string{"a/#", "b/+"},
	}}
	spy := h.enter(link{user: "hass", id: "spy"})
	spy.watch(0, "#")
	users := []string{"plug", "meter", "zigbee"}
	cases, token := 0, 0
	level := rapid.SampledFrom([]string{"a", "b", "c", "d", "$SYS", ""})
	wild := rapid.SampledFrom([]string{"a", "b", "c", "d", "+", "#", "$SYS", ""})
	path := func(levels []string) string { return strings.Join(levels, "/") }
	actions := rapid.SampledFrom([]string{"publish", "will", "subscribe", "takeover"})
	alone := func() {
		eventually(t, "all but the spy are gone", func() bool { return h.Stats().Connections == 1 })
	}
	isTopic := func(s string) bool { return s != "" }

	rapid.Check(t, func(rt *rapid.T) {
		for range 25 {
			cases++
			token++
			mark := fmt.Sprint("token", token)
			user := rapid.SampledFrom(users).Draw(rt, "user")
			grant := h.accounts[user].grant
			version := rapid.SampledFrom([]byte{4, 5}).Draw(rt, "version")
			topic := rapid.Map(rapid.SliceOfN(level, 1, 4), path).Filter(isTopic).Draw(rt, "topic")
			l := link{version: version, user: user, id: "same", keep: rapid.Bool().Draw(rt, "keep")}
			action := actions.Draw(rt, "action")
			switch action {
			case "publish":
				qos, retain := rapid.Byte().Draw(rt, "qos")%3, rapid.Bool().Draw(rt, "retain")
				p := h.enter(l)
				p.publish(topic, mark, qos, retain, 1)
				if qos == 2 { // or the next with this identifier is the same message
					p.send([]byte{0x62, 2, 0, 1})
				}
				p.ping()
				judge(rt, h, spy, mark, topic, mayPublish(grant, topic))
				_ = p.c.Close()
			case "will":
				l.will = &testWill{topic: topic, payload: mark, retain: rapid.Bool().Draw(rt, "retain")}
				p := join(t, h.addr, l)
				if may := mayPublish(grant, topic); (p.connack[1] == 0) != may {
					rt.Fatalf("will of %s on %q: CONNACK %x, want allowed %t", user, topic, p.connack, may)
				}
				_ = p.c.Close()
				alone()
				judge(rt, h, spy, mark, topic, mayPublish(grant, topic))
			case "subscribe":
				filter := rapid.Map(rapid.SliceOfN(wild, 1, 4), path).Filter(isTopic).Draw(rt, "filter")
				if rapid.Bool().Draw(rt, "shared") {
					filter = "$share/g/" + filter
				}
				p := h.enter(l)
				p.send(packet(0x82, subscription(version, filter)...))
				_ = h.Publish(gateway.Message{Topic: topic, Payload: []byte(mark)})
				for _, n := range p.ping() {
					if !allows(grant.Subscribe, n.topic) {
						rt.Fatalf("%s with filter %q got %q", user, filter, n.topic)
					}
				}
				_ = p.c.Close()
				spy.ping()
			case "takeover":
				victim := h.enter(link{version: 4, user: "hass", id: "same", keep: true})
				victim.subscribe(0, "#")
				p := h.enter(l)
				_ = h.Publish(gateway.Message{Topic: topic, Payload: []byte(mark)})
				for _, n := range p.ping() {
					if !allows(grant.Subscribe, n.topic) {
						rt.Fatalf("%s with another's client id got %q", user, n.topic)
					}
				}
				if topic[0] != '$' && !slices.Contains(payloads(victim.ping()), mark) {
					rt.Fatalf("the other client lost its session")
				}
				_, _ = p.c.Close(), victim.c.Close()
				spy.ping()
			}
			alone()
		}
	})
	if cases < 2000 {
		t.Errorf("%d cases, want 2000", cases)
	}
	retained := h.enter(link{user: "nodred", id: "r"})
	retained.subscribe(0, "#")
	for _, n := range retained.ping() {
		ok := slices.ContainsFunc(users, func(u string) bool {
			return mayPublish(h.accounts[u].grant, n.topic)
		})
		if !ok {
			t.Errorf("retained on %q, where nobody may publish", n.topic)
		}
	}
	t.Logf("%d cases", cases)
}

// subscription is the body of a SUBSCRIBE.
func subscription(version byte, filter string) [][]byte {
	b := [][]byte{{0, 1}, str(filter), {0}}
	if version == 5 {
		b = slices.Insert(b, 1, []byte{0})
	}
	return b
}

// judge checks that what was published as mark came through only if it may.
func judge(rt *rapid.T, h *house, spy *peer, mark, topic string, may bool) {
	rt.Helper()
	// Wills are handled when the connection has ended, which leave waited for.
	seen := slices.Contains(payloads(spy.ping()), mark)
	h.mu.Lock()
	handled := slices.ContainsFunc(h.handled, func(m gateway.Message) bool {
		return string(m.Payload) == mark
	})
	h.handled = nil
	h.mu.Unlock()
	if seen != may || handled != may {
		rt.Fatalf("topic %q: handled %t, delivered %t, allowed %t", topic, handled, seen, may)
	}
}
