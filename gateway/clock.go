package gateway

import "time"

// ResolveWall returns the instant of a wall-clock time in zone, both as Unix
// seconds; wall is counted as if the zone were UTC. As RFC 5545 says, a time
// that occurs twice means the first, one that is skipped is read with the
// offset before the gap. (time.Date leaves both open.)
func ResolveWall(wall int64, zone *time.Location) int64 {
	// No offset is as large as a day, so the wanted instant is later than this.
	t := time.Unix(wall-24*3600, 0).In(zone)
	_, before := t.Zone()
	for {
		_, offset := t.Zone()
		start, end := t.ZoneBounds()
		at := wall - int64(offset)
		if !start.IsZero() && at < start.Unix() {
			return wall - int64(before)
		}
		if end.IsZero() || at < end.Unix() {
			return at
		}
		t, before = end, offset
	}
}

// ParseWall reads YYYY-MM-DD HH:MM:SS as a wall-clock time in zone, as
// ResolveWall does. ok is false for anything else.
func ParseWall(text string, zone *time.Location) (t time.Time, ok bool) {
	wall, err := time.Parse(time.DateTime, text)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(ResolveWall(wall.Unix(), zone), int64(wall.Nanosecond())).In(zone), true
}
