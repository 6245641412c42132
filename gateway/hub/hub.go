// Package hub carries what happens in the household to those who watch it
// live.
//
// It owns the order of what is shown (a sequence number for each item) and a
// bounded memory of the newest ones. It must not know who watches, in which
// form, or what the items mean.
//
// # Usage
//
// A viewer calls Join, takes a snapshot of the household from elsewhere, and
// then calls Next again and again. Publish never blocks: a viewer that falls
// behind by more than the hub remembers is told so and takes a new snapshot.
//
// # Concurrency
//
// A Hub is safe for concurrent use. The zero value is ready.
package hub

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/wattle-home/wattle/gateway"
)

// Size is how many items a hub remembers.
const Size = 1024

// Hub hands items from publishers to viewers.
type Hub struct {
	mu      sync.Mutex
	ring    [Size]gateway.LiveItem
	seq     uint64        // of the newest item
	first   uint64        // of the oldest one that may be asked for
	viewers atomic.Int32  // changed under mu; without any nothing is kept
	wake    chan struct{} // closed when an item comes; nil while nobody waits
}

// Publish appends an item. It never blocks. While nobody watches, the item is
// only counted.
func (h *Hub) Publish(kind gateway.LiveKind, value any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	if h.viewers.Load() == 0 {
		h.first = h.seq + 1
		return
	}
	h.ring[h.seq%Size] = gateway.LiveItem{Seq: h.seq, Kind: kind, Value: value}
	if h.seq >= h.first+Size {
		h.first = h.seq - Size + 1
	}
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// Watched reports whether anybody watches, for publishers to whom making the
// value is dear.
func (h *Hub) Watched() bool {
	return h.viewers.Load() > 0
}

// Join begins a view. It returns the sequence number of the newest item; what
// happens later has a higher one. The caller must call leave once.
func (h *Hub) Join() (seq uint64, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers.Load() == 0 {
		h.first = h.seq + 1
	}
	h.viewers.Add(1)
	var once sync.Once
	return h.seq, func() {
		once.Do(func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.viewers.Add(-1) == 0 {
				clear(h.ring[:]) // values may be large; nobody will ask for them
			}
		})
	}
}

// Next waits until there are items newer than seq and returns them in order.
// If some of them are forgotten already, gap is true, items is nil and the
// viewer goes on from the returned newest number after a new snapshot. The
// error is that of ctx.
func (h *Hub) Next(
	ctx context.Context, seq uint64,
) (items []gateway.LiveItem, newest uint64, gap bool, err error) {
	for {
		h.mu.Lock()
		if h.seq > seq {
			defer h.mu.Unlock()
			if seq+1 < h.first {
				return nil, h.seq, true, nil
			}
			items = make([]gateway.LiveItem, 0, h.seq-seq)
			for n := seq + 1; n <= h.seq; n++ {
				items = append(items, h.ring[n%Size])
			}
			return items, h.seq, false, nil
		}
		if h.wake == nil {
			h.wake = make(chan struct{})
		}
		wake := h.wake
		h.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, seq, false, ctx.Err()
		}
	}
}
