package broker

import (
	"net"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many bytes of c's send buffer its peer's kernel
// did not acknowledge yet. It returns 0 if that is unknown.
func unacknowledged(c net.Conn) int {
	tcp := tcpConn(c)
	if tcp == nil {
		return 0
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	err = rc.Control(func(fd uintptr) {
		if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	if err != nil {
		return 0
	}
	return n
}
