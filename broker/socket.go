package broker

import (
	"errors"
	"net"
	"os"
)

// tcpConn returns the TCP connection below c, or nil.
func tcpConn(c net.Conn) *net.TCPConn {
	for {
		switch v := c.(type) {
		case *net.TCPConn:
			return v
		case interface{ NetConn() net.Conn }: // TLS
			c = v.NetConn()
		default:
			return nil
		}
	}
}

// reset closes c so that nothing which waits in the kernel is delivered.
func reset(c net.Conn) {
	if tcp := tcpConn(c); tcp != nil {
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // not TLS's Close, which writes
		return
	}
	_ = c.Close()
}

// isTimeout reports whether err is a deadline that passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// host returns the address of a's host alone.
func host(a net.Addr) string {
	if a == nil {
		return ""
	}
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}
