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
		{"scan", selectScan, "SEARCH reading USING PRIMARY KEY (device_id=? AND at_ms>? AND at_ms<?)"},
		{"page", selectPage, "SEARCH reading USING PRIMARY KEY (device_id=? AND at_ms>? AND at_ms<?)"},
		{"before", selectBefore, "SEARCH reading USING PRIMARY KEY (device_id=? AND at_ms<?)"},
		{"after", selectAfter, "SEARCH reading USING PRIMARY KEY (device_id=? AND at_ms>?)"},
		{"count", selectCount, "SEARCH reading USING PRIMARY KEY (device_id=? AND at_ms>? AND at_ms<?)"},
		{"last", selectLast, "SEARCH r USING PRIMARY KEY (device_id=? AND at_ms=?)"},
		{"delete", deleteSome, "SEARCH reading USING PRIMARY KEY (device_id=?"},
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
			if strings.Contains(c.query, "?2") {
				args = args[:2]
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
			if strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "SCAN reading") {
				t.Errorf("plan sorts or reads a whole table:\n%s", plan)
			}
		})
	}
}
