package main

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hosts knows under which names and addresses the gateway is reached, so that
// a page of another name cannot use a browser's way to it (DNS rebinding).
type hosts struct {
	names []string

	mu    sync.Mutex
	addrs []string
	read  time.Time
}

// addrsEvery is how often the machine's addresses are read again.
const addrsEvery = time.Minute

// newHosts returns the machine's names and those given.
func newHosts(given []string) *hosts {
	h := &hosts{names: []string{"localhost", "wattle.local"}}
	if name, err := os.Hostname(); err == nil {
		name = strings.ToLower(name)
		h.names = append(h.names, name, name+".local")
	}
	for _, n := range given {
		h.names = append(h.names, strings.ToLower(n))
	}
	return h
}

// own reports whether host, a name or address without port, is the
// gateway's. It is safe for concurrent use.
func (h *hosts) own(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if slices.Contains(h.names, host) {
		return true
	}
	ip := net.ParseIP(host)
	if ip == nil {
		return false
	}
	return ip.IsLoopback() || slices.Contains(h.addresses(), ip.String())
}

// addresses returns the machine's own addresses.
func (h *hosts) addresses() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.read) < addrsEvery {
		return h.addrs
	}
	h.read = time.Now()
	list, err := net.InterfaceAddrs()
	if err != nil {
		return h.addrs
	}
	addrs := make([]string, 0, len(list)) // a new one: the old may be in use
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			addrs = append(addrs, n.IP.String())
		}
	}
	h.addrs = addrs
	return addrs
}

// reach returns a host under which people reach a listener at addr.
func (h *hosts) reach(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "localhost"
		for _, a := range h.addresses() {
			if ip := net.ParseIP(a); ip != nil && ip.To4() != nil && !ip.IsLoopback() {
				host = a
				break
			}
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}
