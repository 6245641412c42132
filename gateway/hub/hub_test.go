package hub_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/hub"
)

func TestHub_Next_order(t *testing.T) {
	var h hub.Hub
	h.Publish(gateway.LiveEvent, "before anybody watched")
	seq, leave := h.Join()
	defer leave()
	for i := range 10 {
		h.Publish(gateway.LiveReading, i)
	}
	items, newest, gap, err := h.Next(t.Context(), seq)
	if err != nil || gap || len(items) != 10 || newest != seq+10 {
		t.Fatalf("got %d items, newest %d, gap %v, err %v", len(items), newest, gap, err)
	}
	for i, it := range items {
		if it.Seq != seq+uint64(i)+1 || it.Value != i {
			t.Errorf("item %d is %+v", i, it)
		}
	}
}

func TestHub_Next_slowViewerSeesGap(t *testing.T) {
	var h hub.Hub
	seq, leave := h.Join()
	defer leave()
	for i := range hub.Size {
		h.Publish(gateway.LiveReading, i)
	}
	if items, _, gap, _ := h.Next(t.Context(), seq); gap || len(items) != hub.Size {
		t.Fatalf("a viewer behind by the whole memory: got %d items, gap %v", len(items), gap)
	}
	h.Publish(gateway.LiveReading, "one more")
	items, newest, gap, err := h.Next(t.Context(), seq)
	if err != nil || !gap || items != nil {
		t.Fatalf("got %d items, gap %v, err %v; want a gap", len(items), gap, err)
	}
	h.Publish(gateway.LiveReading, "after")
	items, _, gap, _ = h.Next(t.Context(), newest)
	if gap || len(items) != 1 || items[0].Value != "after" {
		t.Fatalf("after the gap: got %+v, gap %v", items, gap)
	}
}

func TestHub_Next_contextEnds(t *testing.T) {
	var h hub.Hub
	seq, leave := h.Join()
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := h.Next(ctx, seq); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestHub_Next_afterNobodyWatched(t *testing.T) {
	var h hub.Hub
	seq, leave := h.Join()
	leave()
	leave() // a second call is nothing
	h.Publish(gateway.LiveReading, 1)
	_, leave = h.Join()
	defer leave()
	h.Publish(gateway.LiveReading, 2)
	if _, _, gap, _ := h.Next(t.Context(), seq); !gap {
		t.Fatal("what was published while nobody watched must show as a gap")
	}
}

func TestHub_Publish_concurrent(t *testing.T) {
	var h hub.Hub
	seq, leave := h.Join()
	defer leave()
	const writers, each = 4, 100
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				h.Publish(gateway.LiveState, nil)
			}
		})
	}
	seen := 0
	for seen < writers*each {
		items, newest, gap, err := h.Next(t.Context(), seq)
		if err != nil || gap {
			t.Fatalf("gap %v, err %v", gap, err)
		}
		seen, seq = seen+len(items), newest
	}
	wg.Wait()
}
