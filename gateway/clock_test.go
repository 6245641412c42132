package gateway_test

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/wattle-home/wattle/gateway"
)

func TestParseWall_changesOfTheClock(t *testing.T) {
	for _, c := range []struct{ zone, wall, want string }{
		{"Europe/Berlin", "2026-07-01 12:00:00", "2026-07-01T10:00:00Z"},
		{"Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"},    // twice: the first
		{"Europe/Berlin", "2026-03-29 02:30:00", "2026-03-29T01:30:00Z"},    // skipped: offset before
		{"America/New_York", "2026-11-01 01:30:00", "2026-11-01T05:30:00Z"}, // twice
		{"America/New_York", "2026-03-08 02:30:00", "2026-03-08T07:30:00Z"}, // skipped
		{"Australia/Lord_Howe", "2026-04-05 01:45:00", "2026-04-04T14:45:00Z"},
		{"Australia/Lord_Howe", "2026-10-04 02:15:00", "2026-10-03T15:45:00Z"},
		{"Pacific/Apia", "2011-12-30 12:00:00", "2011-12-30T22:00:00Z"}, // a day that was not
		{"Asia/Kathmandu", "2026-01-01 00:00:00", "2025-12-31T18:15:00Z"},
		{"UTC", "2026-01-01 00:00:00", "2026-01-01T00:00:00Z"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := gateway.ParseWall(c.wall, zone)
		if text := got.UTC().Format(time.RFC3339); !ok || text != c.want {
			t.Errorf("%s in %s is %s, want %s", c.wall, c.zone, text, c.want)
		}
	}
	if _, ok := gateway.ParseWall("2026-02-30 00:00:00", time.UTC); ok {
		t.Error("30 February is a day")
	}
}
