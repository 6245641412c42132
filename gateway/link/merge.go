package link

import (
	"container/heap"
	"errors"
	"fmt"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// cursor reads one stretch of a recording.
type cursor struct {
	name  string
	from  stretch
	order int             // of cursors with the same instant
	at    gateway.Instant // of head, or of the first row while rows is nil
	rows  *rowReader      // nil until the stretch is reached
	left  int             // rows after head
	head  sample
}

// open goes to the first row of the stretch.
func (c *cursor) open(zone *time.Location) error {
	r, err := openRows(c.name, zone)
	if err != nil {
		return err
	}
	for skip := c.from.offset - r.offset; skip > 0; {
		n, err := r.in.Discard(int(min(skip, 1<<30)))
		if err != nil {
			return errors.Join(fmt.Errorf("reading %s again: %w", c.name, err), r.Close())
		}
		skip -= int64(n)
	}
	r.offset, r.line, r.last = c.from.offset, c.from.line, c.from.last
	c.rows, c.left = r, c.from.rows
	return c.advance()
}

// advance reads the next row into head. left must not be 0.
func (c *cursor) advance() error {
	v, err := c.rows.next()
	if err != nil {
		return fmt.Errorf("reading %s again: %w", c.name, err)
	}
	c.left--
	c.head, c.at = v, v.r.At
	return nil
}

// merger yields the rows of several recordings in order of time; rows of one
// instant in order of the files. It keeps one row of each stretch that is
// being read.
type merger struct {
	zone *time.Location
	heap cursors
}

// cursors is a heap by instant.
type cursors []*cursor

// Len implements heap.Interface.
func (c cursors) Len() int { return len(c) }

// Less implements heap.Interface.
func (c cursors) Less(i, j int) bool {
	if c[i].at != c[j].at {
		return c[i].at < c[j].at
	}
	return c[i].order < c[j].order
}

// Swap implements heap.Interface.
func (c cursors) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

// Push implements heap.Interface.
func (c *cursors) Push(x any) { *c = append(*c, x.(*cursor)) }

// Pop implements heap.Interface.
func (c *cursors) Pop() any {
	old := *c
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*c = old[:len(old)-1]
	return x
}

// newMerger returns a merger of all rows of recs. Close it.
func newMerger(recs []recording, zone *time.Location) *merger {
	m := &merger{zone: zone}
	for _, rec := range recs {
		for _, s := range rec.stretches {
			m.heap = append(m.heap,
				&cursor{name: rec.name, from: s, order: len(m.heap), at: s.first})
		}
	}
	heap.Init(&m.heap)
	return m
}

// peek returns the next row without taking it; ok is false at the end.
func (m *merger) peek() (v sample, ok bool, err error) {
	for len(m.heap) > 0 {
		c := m.heap[0]
		if c.rows != nil {
			return c.head, true, nil
		}
		if err := c.open(m.zone); err != nil {
			return sample{}, false, err
		}
		heap.Fix(&m.heap, 0)
	}
	return sample{}, false, nil
}

// drop goes on to the row after the one that peek returned.
func (m *merger) drop() error {
	c := m.heap[0]
	if c.left == 0 {
		heap.Pop(&m.heap)
		return c.rows.Close()
	}
	if err := c.advance(); err != nil {
		return err
	}
	heap.Fix(&m.heap, 0)
	return nil
}

// Close closes what is open.
func (m *merger) Close() error {
	var errs []error
	for _, c := range m.heap {
		if c.rows != nil {
			errs = append(errs, c.rows.Close())
		}
	}
	return errors.Join(errs...)
}
