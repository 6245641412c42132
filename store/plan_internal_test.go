package store

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlan holds hot queries to the index that they were written for: each
// step of the plan must be a search, and none may sort.
func TestPlan(t *testing.T) {
	s := openWith(t, filepath.Join(t.TempDir(), "a.db"), ours(t, -1))
	for _, c := range []struct {
		name, query string
		want        string // a part of the first step
	}{
		{"spans", selectSpans, "SEARCH chunk USING COVERING INDEX chunk_span (device_id=? AND first_ms>? AND first_ms<?)"},
		{"next", selectNext, "SEARCH chunk USING INDEX chunk_span (device_id=? AND first_ms>? AND first_ms<?)"},
		{"previous", selectPrev, "SEARCH chunk USING INDEX chunk_span (device_id=? AND first_ms<?)"},
		{"later", selectLater, "SEARCH chunk USING INDEX chunk_span (device_id=? AND first_ms>?)"},
		{"there", selectThere, "SEARCH device USING INTEGER PRIMARY KEY (rowid=?)"},
		{
			"events", "SELECT id FROM event WHERE at_ms >= ? AND at_ms < ? " +
				"ORDER BY at_ms DESC, id DESC LIMIT ?", "USING COVERING INDEX event_at (at_ms>? AND at_ms<?)",
		},
		{
			"events of a device", "SELECT id, text FROM event WHERE device_id = ? " +
				"ORDER BY at_ms DESC, id DESC LIMIT ?", "USING INDEX event_device (device_id=?)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := make([]any, strings.Count(c.query, "?"))
			for i, numbered := range []string{"?3", "?2"} {
				if strings.Contains(c.query, numbered) {
					args = args[:3-i]
					break
				}
			}
			steps, err := collect(context.Background(), s.r, func(row scanner) (string, error) {
				var id, parent, unused int
				var detail string
				err := row.Scan(&id, &parent, &unused, &detail)
				return detail, err
			}, "EXPLAIN QUERY PLAN "+c.query, args...)
			if err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(steps, "\n")
			if !strings.Contains(plan, c.want) {
				t.Errorf("plan does not hold %q:\n%s", c.want, plan)
			}
			if strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "SCAN chunk") {
				t.Errorf("plan sorts or reads a whole table:\n%s", plan)
			}
		})
	}
}
