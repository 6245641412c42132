package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattle-home/wattle/broker"
	"github.com/wattle-home/wattle/gateway"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// account is a credential of the test household. Its password is its name.
type account struct {
	client gateway.Client
	grant  gateway.Grant
}

// house is a running broker with what it did.
type house struct {
	*broker.Broker
	t      testing.TB
	addr   string
	stop   func() error
	logged *logbook

	mu       sync.Mutex
	accounts map[string]account
	handled  []gateway.Message
	refused  []string
	present  map[string]int
	handle   func(m gateway.Message, done func(error)) error
}

// logbook collects what was logged.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was logged so far.
func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// standard are the accounts of a house: two devices, a bridge and a client.
func standard() map[string]account {
	device := func(id int64, name string) account {
		return account{
			client: gateway.Client{
				Credential: gateway.CredentialID(id), Kind: gateway.KindDevice,
				Device: gateway.DeviceID(id), Name: name,
			},
			grant: gateway.Grant{
				Publish:   []string{"wattle/" + name + "/#"},
				Deny:      []string{"wattle/" + name + "/set"},
				Subscribe: []string{"wattle/" + name + "/set", "wattle/global/ann"},
			},
		}
	}
	all := gateway.Grant{Publish: []string{"#"}, Subscribe: []string{"#"}}
	return map[string]account{
		"plug":  device(1, "plug"),
		"meter": device(2, "meter"),
		"zigbee": {
			client: gateway.Client{Credential: 3, Kind: gateway.KindBridge, Name: "zigbee"},
			grant:  gateway.Grant{Publish: []string{"zigbee/#"}, Subscribe: []string{"zigbee/#"}},
		},
		"hass": {
			client: gateway.Client{Credential: 4, Kind: gateway.KindClient, Name: "hass"}, grant: all,
		},
		"nodred": {
			client: gateway.Client{Credential: 5, Kind: gateway.KindClient, Name: "nodred"}, grant: all,
		},
	}
}

// open starts a broker; change, if not nil, changes its Config.
func open(t testing.TB, change func(*broker.Config)) *house {
	t.Helper()
	h := &house{
		t: t, accounts: standard(), logged: &logbook{}, present: map[string]int{},
	}
	cfg := broker.Config{
		Logger: slog.New(slog.NewTextHandler(h.logged,
			&slog.HandlerOptions{Level: slog.LevelDebug})),
		Authenticate: h.authenticate,
		Handle: func(m gateway.Message, done func(error)) error {
			h.mu.Lock()
			h.handled = append(h.handled, m)
			handle := h.handle
			h.mu.Unlock()
			if handle != nil {
				return handle(m, done)
			}
			if done != nil {
				done(nil)
			}
			return nil
		},
		Connected: func(c gateway.Client, connected bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if connected {
				h.present[c.Name+"/"+c.ID]++
			} else {
				h.present[c.Name+"/"+c.ID]--
			}
		},
		Refused: func(c gateway.Client, action, topic string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.refused = append(h.refused, c.Name+" "+action+" "+topic)
		},
	}
	if change != nil {
		change(&cfg)
	}
	b, err := broker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Broker = b
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, l) }()
	h.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(3 * patience):
			return errors.New("the broker does not stop")
		}
	})
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", h.logged)
		}
	})
	return h
}

// authenticate implements Config.Authenticate.
func (h *house) authenticate(user string, password []byte, _ string) (
	gateway.Client, gateway.Grant, error,
) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.accounts[user]
	if !ok || string(password) != user {
		return gateway.Client{}, gateway.Grant{}, &gateway.Error{Code: gateway.CodeUnauthorized}
	}
	return a.client, a.grant, nil
}

// setHandle sets what Handle does from now on.
func (h *house) setHandle(f func(m gateway.Message, done func(error)) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handle = f
}

// topics returns the topics that Handle got so far.
func (h *house) topics() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, m := range h.handled {
		all = append(all, m.Topic)
	}
	return all
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// link is how a peer says hello.
type link struct {
	version   byte // 4 unless set
	user      string
	id        string
	keep      bool // no clean session
	keepAlive uint16
	props     []byte // of CONNECT, MQTT 5
	will      *testWill
}

// testWill is the will of a link.
type testWill struct {
	topic, payload string
	qos            byte
	retain         bool
	props          []byte
}

// peer is a client that is only bytes.
type peer struct {
	t       testing.TB
	c       net.Conn
	r       *bufio.Reader
	version byte
	connack []byte
}

// dial connects to addr without a word.
func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t: t, c: c, r: bufio.NewReader(c), version: 4}
}

// join connects and says hello; the answer is in connack.
func join(t testing.TB, addr string, l link) *peer {
	t.Helper()
	p := dial(t, addr)
	if l.version != 0 {
		p.version = l.version
	}
	p.send(hello(l))
	kind, body := p.read()
	if kind>>4 != 2 {
		t.Fatalf("got packet %#x, want CONNACK", kind)
	}
	p.connack = body
	return p
}

// enter is join where the client must be let in.
func (h *house) enter(l link) *peer {
	h.t.Helper()
	p := join(h.t, h.addr, l)
	if p.connack[1] != 0 {
		h.t.Fatalf("CONNACK %x, want success", p.connack)
	}
	return p
}

// str is an MQTT string.
func str(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

// packet is a frame.
func packet(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	b := []byte{first}
	n := len(body)
	for ; n >= 128; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(append(b, byte(n)), body...)
}

// props is a property list with its length.
func props(p []byte) []byte { return packet(0, p)[1:] }

// hello is a CONNECT.
func hello(l link) []byte {
	if l.version == 0 {
		l.version = 4
	}
	flags := byte(0xc0)
	if l.user == "" {
		flags = 0
	}
	if !l.keep {
		flags |= 2
	}
	b := [][]byte{str("MQTT"), {l.version, 0}, {byte(l.keepAlive >> 8), byte(l.keepAlive)}}
	if l.version == 5 {
		b = append(b, props(l.props))
	}
	b = append(b, str(l.id))
	if w := l.will; w != nil {
		flags |= 4 | w.qos<<3
		if w.retain {
			flags |= 0x20
		}
		if l.version == 5 {
			b = append(b, props(w.props))
		}
		b = append(b, str(w.topic), str(w.payload))
	}
	if l.user != "" {
		b = append(b, str(l.user), str(l.user))
	}
	b[1][1] = flags
	return packet(0x10, b...)
}

// send writes bytes; an error is the reader's to see.
func (p *peer) send(b []byte) { _, _ = p.c.Write(b) }

// publish sends a PUBLISH; v5 properties are empty.
func (p *peer) publish(topic, payload string, qos byte, retain bool, id uint16) {
	p.send(p.publishBytes(topic, payload, qos, retain, id))
}

// publishBytes is a PUBLISH.
func (p *peer) publishBytes(topic, payload string, qos byte, retain bool, id uint16) []byte {
	first := 0x30 | qos<<1
	if retain {
		first |= 1
	}
	b := [][]byte{str(topic)}
	if qos > 0 {
		b = append(b, []byte{byte(id >> 8), byte(id)})
	}
	if p.version == 5 {
		b = append(b, []byte{0})
	}
	return packet(first, append(b, []byte(payload))...)
}

// subscribe subscribes and returns the codes of the SUBACK.
func (p *peer) subscribe(qos byte, filters ...string) []byte {
	p.t.Helper()
	b := [][]byte{{0, 77}}
	if p.version == 5 {
		b = append(b, []byte{0})
	}
	for _, f := range filters {
		b = append(b, str(f), []byte{qos})
	}
	p.send(packet(0x82, b...))
	kind, body := p.read()
	if kind != 0x90 {
		p.t.Fatalf("got packet %#x %x, want SUBACK", kind, body)
	}
	if p.version == 5 {
		return body[3:]
	}
	return body[2:]
}

// watch subscribes, and waits until what is retained was looked up: what others
// retain later is not sent twice.
func (p *peer) watch(qos byte, filters ...string) {
	p.t.Helper()
	p.subscribe(qos, filters...)
	p.ping()
}

// next reads a frame, or returns an error when there is none within patience.
func (p *peer) next() (first byte, body []byte, err error) {
	_ = p.c.SetReadDeadline(time.Now().Add(patience))
	if first, err = p.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(p.r)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.r, body)
	return first, body, err
}

// read is next where a frame must come.
func (p *peer) read() (first byte, body []byte) {
	p.t.Helper()
	first, body, err := p.next()
	if err != nil {
		p.t.Fatalf("reading a packet: %v", err)
	}
	return first, body
}

// expect reads a frame that must be this one.
func (p *peer) expect(want ...byte) {
	p.t.Helper()
	first, body := p.read()
	if got := packet(first, body); !bytes.Equal(got, want) {
		p.t.Fatalf("got packet %x, want %x", got, want)
	}
}

// note is a PUBLISH as the peer got it.
type note struct {
	topic, payload string
	qos            byte
	dup, retain    bool
	id             uint16
	props          []byte
}

// receive reads a PUBLISH.
func (p *peer) receive() note {
	p.t.Helper()
	first, body := p.read()
	if first>>4 != 3 {
		p.t.Fatalf("got packet %#x %x, want PUBLISH", first, body)
	}
	return p.toNote(first, body)
}

// toNote takes a PUBLISH apart.
func (p *peer) toNote(first byte, body []byte) note {
	n := note{qos: first >> 1 & 3, dup: first&8 != 0, retain: first&1 != 0}
	size := int(binary.BigEndian.Uint16(body))
	n.topic, body = string(body[2:2+size]), body[2+size:]
	if n.qos > 0 {
		n.id, body = binary.BigEndian.Uint16(body), body[2:]
	}
	if p.version == 5 {
		size, w := binary.Uvarint(body)
		n.props, body = body[w:w+int(size)], body[w+int(size):]
	}
	n.payload = string(body)
	return n
}

// ping checks that the connection lives and that all before was handled. It
// returns the PUBLISH packets that came before the answer.
func (p *peer) ping() []note {
	p.t.Helper()
	p.send([]byte{0xc0, 0})
	var notes []note
	for {
		first, body := p.read()
		if first == 0xd0 {
			return notes
		}
		if first>>4 == 3 {
			notes = append(notes, p.toNote(first, body))
		}
	}
}

// gone waits for the end of the connection and returns the reason of a
// DISCONNECT before it, or 0.
func (p *peer) gone() (reason byte) {
	p.t.Helper()
	for {
		first, body, err := p.next()
		if err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				p.t.Fatal("the connection stays open")
			}
			return reason
		}
		if first == 0xe0 && len(body) > 0 {
			reason = body[0]
		}
	}
}

// say is a short PUBLISH for a failure message.
func say(notes []note) string {
	var b strings.Builder
	for _, n := range notes {
		fmt.Fprintf(&b, "%s=%.40q ", n.topic, n.payload)
	}
	return b.String()
}

// openOn is open with a listener of the test's.
func openOn(t testing.TB, l net.Listener) *house {
	t.Helper()
	h := open(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	b, err := broker.New(broker.Config{
		Logger: slog.New(slog.NewTextHandler(h.logged, nil)), Authenticate: h.authenticate,
		Handle: func(gateway.Message, func(error)) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	h.Broker = b
	return h
}
