package broker

import "time"

// Limits bounds what clients can make grow. A field that is zero stands for
// its default; a negative rate is no limit.
type Limits struct {
	Connections     int           // open at a time; 256
	Unauthenticated int           // of these, before CONNECT was accepted, per address; 20
	PerDevice       int           // connections of one device credential; 8
	ConnectTimeout  time.Duration // from accept to a complete CONNECT; 10 s

	ServerKeepAlive time.Duration // what MQTT 5 clients are told to keep; 180 s
	KeepAlive       time.Duration // most that a 3.1.1 client gets, also for "none"; 1 h
	FrameTimeout    time.Duration // from a frame's first byte to its last; 30 s
	WriteTimeout    time.Duration // a client that takes no byte for so long is dropped; 30 s

	ConnectSize int   // bytes of a CONNECT after its fixed header; 8 KiB
	DeviceFrame int   // bytes of a later frame of a device; 64 KiB
	ClientFrame int   // the same of another program; 256 KiB
	BridgeFrame int   // the same of a bridge; 4 MiB
	FrameBudget int64 // bytes of all long frames that are being read; 16 MiB

	WriteQueue  int   // bytes waiting to be written to one client; 1 MiB
	WriteBudget int64 // the same of all clients; 32 MiB

	TopicBytes       int // length of a topic or filter; 256
	TopicLevels      int // levels of a topic or filter; 12
	FiltersPerPacket int // filters of a SUBSCRIBE or UNSUBSCRIBE; 64
	Subscriptions    int // filters of a session; 64
	UserProperties   int // of one packet; 16

	ReceiveMaximum  int   // PUBLISH of a client that are not acknowledged yet; 64
	InflightMaximum int   // messages to a client that it did not acknowledge yet; 64
	QueueMessages   int   // messages that wait for a client, in its session; 1000
	QueueBytes      int   // their payloads and topics; 1 MiB
	QueueBudget     int64 // the same of all sessions; 16 MiB

	SessionsPerCredential int           // 32
	Sessions              int           // 512
	SessionExpiry         time.Duration // how long a session waits for its client; 7 days

	DeviceRetainedTopics int // retained topics of a device credential; 500
	DeviceRetainedBytes  int // and their payloads and topics; 1 MiB
	RetainedTopics       int // retained topics of a bridge or client; 5000
	RetainedBytes        int // and their payloads and topics; 16 MiB

	DeviceRate  float64 // packets a second from one device connection; 50
	DeviceBurst float64 // packets that it may send at once; 200
	ClientRate  float64 // the same for bridges and clients; no limit
	ClientBurst float64 // 200, where there is a rate

	RetryStagger time.Duration // between closing clients so that they resend; 100 ms
	RetainedSave time.Duration // longest that a retained message is not saved; 2 s
}

// qos2Maximum bounds the packet identifiers of QoS 2 messages that a 3.1.1
// client, which knows no Receive Maximum, received PUBREC for and did not
// release.
const qos2Maximum = 4096

// flushTime is what a client gets to take its last packets when the
// connection is closed.
const flushTime = 500 * time.Millisecond

// takeoverTime is how long a CONNECT waits for the former connection of its
// session to end.
const takeoverTime = 10 * time.Second

// setDefault gives v a value if it has none.
func setDefault[T int | int64 | float64 | time.Duration](v *T, value T) {
	if *v == 0 {
		*v = value
	}
}

// withDefaults returns l with each zero field replaced.
func (l Limits) withDefaults() Limits {
	setDefault(&l.Connections, 256)
	setDefault(&l.Unauthenticated, 20)
	setDefault(&l.PerDevice, 8)
	setDefault(&l.ConnectTimeout, 10*time.Second)
	setDefault(&l.ServerKeepAlive, 180*time.Second)
	setDefault(&l.KeepAlive, time.Hour)
	setDefault(&l.FrameTimeout, 30*time.Second)
	setDefault(&l.WriteTimeout, 30*time.Second)
	setDefault(&l.ConnectSize, 8<<10)
	setDefault(&l.DeviceFrame, 64<<10)
	setDefault(&l.ClientFrame, 256<<10)
	setDefault(&l.BridgeFrame, 4<<20)
	setDefault(&l.FrameBudget, 16<<20)
	setDefault(&l.WriteQueue, 1<<20)
	setDefault(&l.WriteBudget, 32<<20)
	setDefault(&l.TopicBytes, 256)
	setDefault(&l.TopicLevels, 12)
	setDefault(&l.FiltersPerPacket, 64)
	setDefault(&l.Subscriptions, 64)
	setDefault(&l.UserProperties, 16)
	setDefault(&l.ReceiveMaximum, 64)
	setDefault(&l.InflightMaximum, 64)
	setDefault(&l.QueueMessages, 1000)
	setDefault(&l.QueueBytes, 1<<20)
	setDefault(&l.QueueBudget, 16<<20)
	setDefault(&l.SessionsPerCredential, 32)
	setDefault(&l.Sessions, 512)
	setDefault(&l.SessionExpiry, 7*24*time.Hour)
	setDefault(&l.DeviceRetainedTopics, 500)
	setDefault(&l.DeviceRetainedBytes, 1<<20)
	setDefault(&l.RetainedTopics, 5000)
	setDefault(&l.RetainedBytes, 16<<20)
	setDefault(&l.DeviceRate, 50)
	setDefault(&l.DeviceBurst, 200)
	setDefault(&l.ClientRate, -1)
	setDefault(&l.ClientBurst, 200)
	setDefault(&l.RetryStagger, 100*time.Millisecond)
	setDefault(&l.RetainedSave, 2*time.Second)
	return l
}
