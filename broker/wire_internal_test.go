package broker

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"

	"github.com/wattle-home/wattle/gateway"
)

// TestAppendPublish_decoded has the library's decoder read what is written.
func TestAppendPublish_decoded(t *testing.T) {
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		m := &message{
			topic:   rapid.StringMatching(`[a-zä/]{1,300}`).Draw(t, "topic"),
			payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"),
		}
		version := rapid.SampledFrom([]byte{4, 5}).Draw(t, "version")
		if rapid.Bool().Draw(t, "props") {
			m.props = []byte{packets.PropUser, 0, 1, 'k', 0, 1, 'v'}
		}
		left := uint32(rapid.IntRange(0, 100).Draw(t, "left"))
		if left > 0 {
			m.expires = now.Add(seconds(left))
		}
		d := delivery{
			qos: byte(rapid.IntRange(0, 2).Draw(t, "qos")), retain: rapid.Bool().Draw(t, "retain"),
			ids: rapid.SliceOfN(rapid.IntRange(1, 268435455), 0, 3).Draw(t, "ids"),
		}
		if d.qos > 0 {
			d.id, d.dup = rapid.Uint16Min(1).Draw(t, "id"), rapid.Bool().Draw(t, "dup")
		}
		before := []byte("before")
		b, ok := appendPublish(before, m, d, version, now, 0)
		if !ok {
			t.Fatal("refused without a limit")
		}
		size := len(b) - len(before)
		if _, ok := appendPublish(nil, m, d, version, now, size); !ok {
			t.Errorf("%d bytes are refused", size)
		}
		if got, ok := appendPublish(before, m, d, version, now, size-1); ok || len(got) != len(before) {
			t.Errorf("%d bytes are not refused with a limit of %d", size, size-1)
		}

		pk := packets.Packet{ProtocolVersion: version}
		if err := pk.FixedHeader.Decode(b[len(before)]); err != nil {
			t.Fatal(err)
		}
		r := bytes.NewReader(b[len(before)+1:])
		length, _, err := packets.DecodeLength(r)
		if err != nil || length != r.Len() {
			t.Fatalf("length %d, %v; %d bytes follow", length, err, r.Len())
		}
		if err := pk.PublishDecode(b[len(b)-length:]); err != nil {
			t.Fatal(err)
		}
		got := delivery{
			qos: pk.FixedHeader.Qos, dup: pk.FixedHeader.Dup, retain: pk.FixedHeader.Retain,
			id: pk.PacketID, ids: pk.Properties.SubscriptionIdentifier,
		}
		if version < 5 {
			d.ids, m.props, left = nil, nil, 0
		}
		opts := cmp.Options{cmp.AllowUnexported(delivery{}), cmp.Transformer("ids", func(v []int) string {
			var b strings.Builder
			for _, id := range v {
				b.WriteString(string(rune(id)) + " ")
			}
			return b.String()
		})}
		if diff := cmp.Diff(d, got, opts); diff != "" {
			t.Errorf("delivery (-want +got):\n%s", diff)
		}
		if pk.TopicName != m.topic || !bytes.Equal(pk.Payload, m.payload) ||
			pk.Properties.MessageExpiryInterval != left ||
			len(pk.Properties.User) != min(1, len(m.props)) {
			t.Errorf("got %+v, want %+v", pk, m)
		}
	})
}

// TestParseConnect_library has the library read the CONNECT that is made for
// it, without will and password.
func TestParseConnect_library(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zä]{1,20}`)
		sent := packets.Packet{
			FixedHeader:     packets.FixedHeader{Type: packets.Connect},
			ProtocolVersion: rapid.SampledFrom([]byte{4, 5}).Draw(t, "version"),
			Connect: packets.ConnectParams{
				ProtocolName: []byte("MQTT"), ClientIdentifier: text.Draw(t, "id"),
				Keepalive: rapid.Uint16().Draw(t, "keepalive"), Clean: rapid.Bool().Draw(t, "clean"),
				UsernameFlag: true, Username: []byte(text.Draw(t, "user")),
			},
		}
		if rapid.Bool().Draw(t, "password") {
			sent.Connect.PasswordFlag = true
			sent.Connect.Password = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "secret")
		}
		if rapid.Bool().Draw(t, "will") {
			sent.Connect.WillFlag = true
			sent.Connect.WillTopic = text.Draw(t, "topic")
			sent.Connect.WillPayload = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "payload")
			sent.Connect.WillQos = byte(rapid.IntRange(0, 2).Draw(t, "qos"))
			sent.Connect.WillRetain = rapid.Bool().Draw(t, "retain")
			sent.Connect.WillProperties.WillDelayInterval = uint32(rapid.IntRange(0, 9).Draw(t, "delay"))
			sent.Connect.WillProperties.ContentType = "text"
		}
		var b bytes.Buffer
		if err := sent.ConnectEncode(&b); err != nil {
			t.Fatal(err)
		}
		h, bad := parseHeader(b.Bytes())
		if bad != 0 || h.length != b.Len()-h.size {
			t.Fatalf("header %+v, code %#x", h, bad)
		}
		k, bad := parseConnect(b.Bytes()[h.size:], 16)
		if bad != 0 || k.check() != 0 {
			t.Fatalf("codes %#x and %#x", bad, k.check())
		}
		if k.id != sent.Connect.ClientIdentifier || k.username != string(sent.Connect.Username) ||
			!bytes.Equal(k.password, sent.Connect.Password) || k.clean() != sent.Connect.Clean ||
			k.hasWill != sent.Connect.WillFlag || k.willTopic != sent.Connect.WillTopic ||
			!bytes.Equal(k.willBody, sent.Connect.WillPayload) || k.willQoS() != sent.Connect.WillQos ||
			k.keepAlive != sent.Connect.Keepalive {
			t.Errorf("got %+v, want %+v", k, sent.Connect)
		}
		if want := []byte{packets.PropContentType, 0, 4, 't', 'e', 'x', 't'}; sent.ProtocolVersion == 5 &&
			k.hasWill && (!bytes.Equal(k.willProps.forward, want) ||
			k.willProps.willDelay != sent.Connect.WillProperties.WillDelayInterval) {
			t.Errorf("will's properties %+v", k.willProps)
		}

		frame := k.forLibrary(b.Bytes()[h.size:])
		h, _ = parseHeader(frame)
		got := packets.Packet{FixedHeader: packets.FixedHeader{
			Type: packets.Connect, Remaining: h.length,
		}}
		if err := got.ConnectDecode(frame[h.size:]); err != nil {
			t.Fatal(err)
		}
		want := sent.Connect
		want.WillFlag, want.WillTopic, want.WillPayload, want.WillQos = false, "", nil, 0
		want.WillRetain, want.WillProperties = false, packets.Properties{}
		want.PasswordFlag, want.Password = false, nil
		if diff := cmp.Diff(want, got.Connect); diff != "" {
			t.Errorf("for the library (-want +got):\n%s", diff)
		}
		if why := got.ConnectValidate(); why != packets.CodeSuccess {
			t.Errorf("the library refuses it: %v", why)
		}
	})
}

func TestConnect_check(t *testing.T) {
	ok := connect{version: 5, id: "x"}
	if why := ok.check(); why != 0 {
		t.Errorf("a plain one: %#x", why)
	}
	for name, test := range map[string]struct {
		change func(k *connect)
		want   code
	}{
		"reserved flag":   {func(k *connect) { k.flags = 1 }, codeMalformed},
		"retain, no will": {func(k *connect) { k.flags = flagRetain }, codeMalformed},
		"QoS, no will":    {func(k *connect) { k.flags = 1 << 3 }, codeMalformed},
		"will of QoS 3": {func(k *connect) {
			k.hasWill, k.willTopic, k.flags = true, "a", 3<<3
		}, codeMalformed},
		"password, no user": {func(k *connect) {
			k.version, k.flags = 4, flagPassword|flagClean
		}, codeMalformed},
		"no id, not clean": {func(k *connect) { k.version, k.id = 4, "" }, codeBadClientID},
		"enhanced login": {func(k *connect) {
			k.props.seen = 1 << packets.PropAuthenticationMethod
		}, codeBadAuthMethod},
		"will on a wildcard": {func(k *connect) { k.hasWill, k.willTopic = true, "a/#" }, codeBadTopic},
	} {
		k := ok
		test.change(&k)
		if why := k.check(); why != test.want {
			t.Errorf("%s: %#x, want %#x", name, why, test.want)
		}
	}
}

func TestAuthCode(t *testing.T) {
	for c, want := range map[gateway.Code]code{
		gateway.CodeUnauthorized: codeBadPassword, gateway.CodeInternal: codeBadPassword,
		gateway.CodeUnavailable: codeUnavailable, gateway.CodeForbidden: codeNotAuthorized,
	} {
		if got := authCode(&gateway.Error{Code: c}); got != want {
			t.Errorf("%s: %#x, want %#x", c, got, want)
		}
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(1e9, 0)
	k := bucket{rate: 50, burst: 200, tokens: 200, last: now}
	for i := range 200 {
		if d := k.take(now); d != 0 {
			t.Fatalf("packet %d waits %s", i, d)
		}
	}
	if d := k.take(now); d != 20*time.Millisecond {
		t.Errorf("the next waits %s, want 20 ms", d)
	}
	for range 1000 {
		if d := k.take(now); d > time.Second {
			t.Fatalf("waits %s, want a second at most", d)
		}
	}
	now = now.Add(time.Hour)
	if k.take(now); k.tokens != 199 {
		t.Errorf("%g tokens after an hour, want 199", k.tokens)
	}
	free := bucket{}
	if d := free.take(now); d != 0 {
		t.Errorf("without a rate waits %s", d)
	}
}

func TestParseProperties_forward(t *testing.T) {
	content, user := []byte{3, 0, 1, 'c'}, []byte{38, 0, 1, 'k', 0, 1, 'v'}
	expiry, alias := []byte{2, 0, 0, 0, 9}, []byte{35, 0, 1}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, test := range map[string]struct{ list, want []byte }{
		"none":   {nil, nil},
		"all":    {join(content, user), join(content, user)},
		"first":  {join(expiry, content, user), join(content, user)},
		"middle": {join(content, expiry, user), join(content, user)},
		"last":   {join(content, user, expiry), join(content, user)},
		"two":    {join(user, alias, content, expiry, user), join(user, content, user)},
	} {
		c := cursor{b: append(appendVarint(nil, len(test.list)), test.list...)}
		c.b = append(c.b, "payload"...)
		p, bad := parseProperties(&c, packets.Publish, 16)
		if bad != 0 || !bytes.Equal(p.forward, test.want) || string(c.b) != "payload" {
			t.Errorf("%s: code %#x, forward %x, want %x", name, bad, p.forward, test.want)
		}
	}
}
