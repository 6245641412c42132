package store

import (
	"context"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway"
)

// TestTail_sealed has readings come in while others are sealed: what changed
// since stays, with the rows that hold it.
func TestTail_sealed(t *testing.T) {
	a := someReadings(1, 0, 4)
	tl := tail{first: 1}
	tl.add(1, a[:2])
	tl.add(2, a[2:])
	j, ok := tl.job(anyDevice)
	if !ok || j.device != 1 || len(j.rs) != 4 || j.mark != 2 {
		t.Fatalf("job %+v, %t; want all four readings up to row 2", j, ok)
	}
	more := a[1]
	more.Energy, more.Has = 9, gateway.HasPower|gateway.HasEnergy
	tl.add(3, []gateway.Reading{more})

	tl.sealed(j, 3)
	if diff := cmp.Diff([]gateway.Reading{more, a[3]}, tl.of(1)); diff != "" {
		t.Errorf("after a part (-want +got):\n%s", diff)
	}
	if from, to := tl.needless(0); from != 1 || to != 1 {
		t.Errorf("rows %d to %d may go, want none while a part is to be sealed", from, to)
	}
	j, ok = tl.job(anyDevice)
	if diff := cmp.Diff(a[3:], j.rs); diff != "" || !ok || j.mark != 2 {
		t.Errorf("job %+v, %t; want the rest of the one before (-want +got):\n%s", j, ok, diff)
	}
	tl.sealed(j, 1)
	if diff := cmp.Diff([]gateway.Reading{more}, tl.of(1)); diff != "" || tl.size() != 1 {
		t.Errorf("%d readings after all (-want +got):\n%s", tl.size(), diff)
	}
	if from, to := tl.needless(0); from != 1 || to != 3 {
		t.Errorf("rows %d to %d may go, want 1 to 3", from, to)
	}
	tl.deleted(3)
	if from, to := tl.needless(1); from != 3 || to != 4 {
		t.Errorf("rows %d to %d may go without the device, want 3 to 4", from, to)
	}
}

// TestTail_add_leavesReadersAlone holds that what a reader was given never
// changes, in whatever order readings come in.
func TestTail_add_leavesReadersAlone(t *testing.T) {
	all := someReadings(1, 0, 30)
	var tl tail
	tl.add(1, all[10:20])
	given := tl.of(1)
	tl.add(2, all[20:])
	tl.add(3, all[:10])
	changed := all[15]
	changed.Power++
	tl.add(4, []gateway.Reading{changed})
	if diff := cmp.Diff(all[10:20], given); diff != "" {
		t.Errorf("what was given (-want +got):\n%s", diff)
	}
	if n := tl.size(); n != 30 || tl.of(1)[15] != changed {
		t.Errorf("%d readings, reading 15 is %v", n, tl.of(1)[15])
	}
}

// TestStore_sealedAndLate has the other field of sealed readings come later,
// for each of them: all that reads joins them.
func TestStore_sealedAndLate(t *testing.T) {
	ctx := context.Background()
	for i := range 5 {
		s, id := openFresh(t, 5)
		if err := s.clearTail(ctx); err != nil {
			t.Fatal(err)
		}
		want := someReadings(id, 0, 5)
		late := want[i]
		late.Power, late.Energy, late.Has = 0, 9, gateway.HasEnergy
		if err := s.Append(ctx, []gateway.Reading{late}); err != nil {
			t.Fatal(err)
		}
		want[i].Energy, want[i].Has = 9, gateway.HasPower|gateway.HasEnergy
		at := want[i].At
		before, _, err1 := find(s, id, at+1, true)
		after, _, err2 := find(s, id, at, false)
		last, err3 := s.Last(ctx)
		page, total, err4 := s.Page(ctx, id, at, math.MaxInt64, 0, 1)
		n, err5 := s.Count(ctx, id)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if before != want[i] || after != want[i] || page[0] != want[i] {
			t.Errorf("reading %d is %v, %v, %v; want %v", i, before, after, page[0], want[i])
		}
		if last[0] != want[4] || total != 5-i || n != 5 {
			t.Errorf("reading %d: last %v, total %d, count %d", i, last[0], total, n)
		}
	}
}
