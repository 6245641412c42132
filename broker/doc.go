// Package broker is the gateway's MQTT broker, 3.1.1 and 5 over TCP and TLS.
//
// It owns connections, sessions, subscriptions, retained messages, wills, and
// every limit on what a client can make grow. It must not know what a message
// means, where readings are stored or how passwords are kept: it asks
// Config.Authenticate who a client is and what it may do, and hands each
// PUBLISH that was allowed to Config.Handle.
//
// # The library, and what is around it
//
// mochi-mqtt decodes CONNECT, takes over and resumes sessions, answers
// CONNECT and PINGREQ, ends connections on DISCONNECT and holds the index of
// subscriptions. It is built for trusted peers: one cut packet panics in it, a
// subscriber that stops reading blocks every publisher, and a length field
// allocates up to 256 MiB before anybody was authenticated. So each connection
// is given to it as a net.Conn of ours (type conn), whose Read assembles and
// checks whole frames first, and whose Write appends to a bounded queue.
//
// PUBLISH, the four acknowledgements, SUBSCRIBE and UNSUBSCRIBE are handled in
// that Read and never reach the library. Rejecting them in its hooks would do
// for the acknowledgement of stored readings, but the library would still
// allocate each frame twice, keep a quota that loses count and can deadlock,
// and send in-flight messages again ordered by truncated seconds. With it all
// in one place an acknowledgement goes out in the order of arrival and only
// after Handle's done(nil), and flow control, queues, retained messages and
// wills follow one set of rules. The library's event loop is never started:
// expiry of sessions and delayed wills are timed here, where a session cannot
// expire while its client comes back.
//
// # Order and delivery
//
// Messages of one client are handed to Handle, acknowledged and delivered in
// the order in which they came. A session has at most one connection; a second
// CONNECT with its client id waits until the first connection has ended
// altogether. Client ids live in the space of their credential. A device gets
// nothing that was published while it was away; bridges and other clients get
// what a persistent session owes them, within limits.
//
// # Concurrency
//
// A Broker is safe for concurrent use. Each connection has a goroutine of ours
// that reads, one of the library that idles, and one that writes as long as
// there is something to write. Run waits for all of ours. No lock is held
// while a function of Config is called. Locks are taken in the order Broker,
// session, then retained or outbox; all are held for memory operations only,
// so nothing waits for a client's socket but the goroutines of that client.
package broker
