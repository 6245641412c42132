package broker

import (
	"net"
	"sync"
	"time"
)

// outbox is the queue of bytes to one client. Appending never blocks: a
// goroutine that exists while there is something to write empties it. The
// bound is the writer's, so one frame that is longer than the bound still
// goes out when nothing waits before it.
type outbox struct {
	raw     net.Conn
	limits  *Limits
	stats   *counters
	drained func() // called by the writer when it has nothing left, without locks

	mu       sync.Mutex
	buf      []byte // waiting
	spare    []byte // to be used for buf when the writer has taken it
	writing  int    // bytes that the writer took and has not written
	appended uint64 // bytes ever appended
	active   bool   // there is a writer
	closed   bool   // nothing is appended any more; the writer goes on to the end
	broken   bool   // the writer stops at once
	idle     *sync.Cond
}

// spareSize is the largest buffer that an idle outbox keeps.
const spareSize = 256

// begin locks o and returns the buffer to append to. If it returns false the
// outbox is closed, and end must not be called.
func (o *outbox) begin() ([]byte, bool) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil, false
	}
	return o.buf, true
}

// end takes the longer buffer back, starts the writer and unlocks o. On
// overflow the connection is cut off.
func (o *outbox) end(buf []byte) {
	defer o.mu.Unlock()
	added, before := len(buf)-len(o.buf), len(o.buf)+o.writing
	o.buf = buf
	if added == 0 {
		return
	}
	o.appended += uint64(added)
	total := o.stats.writeBytes.Add(int64(added))
	over := before > 0 && before+added > o.limits.WriteQueue ||
		total > o.limits.WriteBudget && before+added > 64<<10
	if over {
		o.stats.overflowed.Add(1)
		o.breakLocked()
		return
	}
	if !o.active {
		o.active = true
		go o.write()
	}
}

// write writes what is in o until there is nothing left.
func (o *outbox) write() {
	o.mu.Lock()
	for len(o.buf) > 0 && !o.broken {
		b := o.buf
		o.buf, o.spare = o.spare[:0], nil
		o.writing = len(b)
		_ = o.raw.SetWriteDeadline(time.Now().Add(o.timeout()))
		o.mu.Unlock()
		_, err := o.raw.Write(b)
		o.mu.Lock()
		o.stats.writeBytes.Add(-int64(len(b)))
		o.writing = 0
		if cap(b) <= spareSize {
			o.spare = b[:0]
		}
		if err != nil {
			if isTimeout(err) && !o.closed {
				o.stats.stalled.Add(1)
			}
			o.breakLocked()
		}
		if len(o.buf) == 0 && !o.broken && !o.closed && o.drained != nil {
			o.mu.Unlock()
			o.drained()
			o.mu.Lock()
		}
	}
	if cap(o.buf) > spareSize {
		o.buf = nil
	}
	if o.closed {
		o.mu.Unlock()
		_ = o.raw.Close() // TLS writes its farewell here
		o.mu.Lock()
	}
	o.active = false
	if o.idle != nil {
		o.idle.Broadcast()
	}
	o.mu.Unlock()
}

// timeout is how long one write may take. o is locked.
func (o *outbox) timeout() time.Duration {
	if o.closed {
		return flushTime
	}
	return o.limits.WriteTimeout
}

// queued returns how many bytes wait.
func (o *outbox) queued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf) + o.writing
}

// mark returns how many bytes were ever appended.
func (o *outbox) mark() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.appended
}

// written returns how many bytes were given to the kernel.
func (o *outbox) written() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.appended - uint64(len(o.buf)+o.writing)
}

// finish lets the writer write what there is, for a short while, and then
// closes the connection. It does not wait.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.closed = true
	_ = o.raw.SetWriteDeadline(time.Now().Add(flushTime))
	if !o.active {
		o.active = true
		go o.write()
	}
}

// abort closes the connection with what waits.
func (o *outbox) abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breakLocked()
}

// breakLocked is abort with o locked. The connection is reset, so that bytes
// which the kernel holds are gone too.
func (o *outbox) breakLocked() {
	if o.broken {
		return
	}
	o.broken, o.closed = true, true
	o.stats.writeBytes.Add(-int64(len(o.buf)))
	o.buf = nil
	reset(o.raw)
}

// wait returns when there is no writer. finish or abort came before.
func (o *outbox) wait() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle == nil {
		o.idle = sync.NewCond(&o.mu)
	}
	for o.active {
		o.idle.Wait()
	}
}
