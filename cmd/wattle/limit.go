package main

import (
	"net"
	"sync"
)

// Connections that HTTP keeps open; more are closed at once.
const (
	httpConnections = 512
	httpPerHost     = 128
)

// limited is a listener that keeps no more than a number of connections open,
// in all and of one host.
type limited struct {
	net.Listener

	mu   sync.Mutex
	all  int
	open map[string]int // by host
}

// limit bounds the connections of l.
func limit(l net.Listener) net.Listener {
	return &limited{Listener: l, open: map[string]int{}}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err != nil {
			host = conn.RemoteAddr().String()
		}
		if l.take(host) {
			return &limitedConn{Conn: conn, give: sync.OnceFunc(func() { l.give(host) })}, nil
		}
		_ = conn.Close() // one too many
	}
}

// take counts a connection if there is room for it.
func (l *limited) take(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= httpConnections || l.open[host] >= httpPerHost {
		return false
	}
	l.all++
	l.open[host]++
	return true
}

// give takes a connection off the count.
func (l *limited) give(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.open[host]--; l.open[host] == 0 {
		delete(l.open, host)
	}
}

// limitedConn tells its listener when it is closed.
type limitedConn struct {
	net.Conn
	give func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.give()
	return c.Conn.Close()
}
