package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/wattle-home/wattle/gateway"
)

// field is a member of a JSON object with its path in the schedule.
type field struct {
	name, path string
	value      json.RawMessage
}

// object returns the fields of a JSON object that are known, each once. raw
// must be a valid object.
func (p *parser) object(path string, raw json.RawMessage, known ...string) (fields []field) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace: raw is valid
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		f := field{name: name, path: name}
		if path != "" {
			f.path = path + "." + name
		}
		if err != nil || !ok || dec.Decode(&f.value) != nil {
			p.fault(path, "cannot be read")
			return fields
		}
		switch {
		case !slices.Contains(known, name):
			p.fault(clip(f.path), "is not known")
		case find(fields, name) != nil:
			p.fault(f.path, "stands there twice")
		default:
			fields = append(fields, f)
		}
	}
	return fields
}

// find returns the value of the named field, or nil.
func find(fields []field, name string) json.RawMessage {
	for _, f := range fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// list returns the elements of a list of intervals, no more than there may be.
func (p *parser) list(f field) []json.RawMessage {
	if kind(f.value) != "a list" {
		p.fault(f.path, "is %s, want a list of intervals", kind(f.value))
		return nil
	}
	elems := decode[[]json.RawMessage](p, f.path, f.value, "a list")
	if len(elems) > MaxIntervals {
		p.fault(f.path, "has %d intervals, at most %d are allowed", len(elems), MaxIntervals)
		return nil
	}
	return elems
}

// decode reads a value of one type; null is not of any.
func decode[T any](p *parser, path string, raw json.RawMessage, want string) (v T) {
	if kind(raw) == "null" || json.Unmarshal(raw, &v) != nil {
		p.fault(path, "is %s, want %s", kind(raw), want)
	}
	return v
}

// kind names the type of a JSON value for a message.
func kind(raw json.RawMessage) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "empty"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}

// at is the path of a list's element.
func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// clockText returns c as HH:MM.
func clockText(c gateway.Clock) string { return fmt.Sprintf("%02d:%02d", c/60, c%60) }

// intervalJSON is how an interval goes out; the states are for a power
// schedule alone.
type intervalJSON struct {
	From   string   `json:"from"`
	To     string   `json:"to"`
	Days   []string `json:"days,omitempty"`
	During string   `json:"during,omitempty"`
	After  string   `json:"after,omitempty"`
}

// Format returns the JSON of a schedule in its one canonical form, which Parse
// reads back to the same schedule. A schedule with handlers is an error: Parse
// makes none.
func Format(s gateway.Schedule) ([]byte, error) {
	if len(s.Handlers) > 0 {
		return nil, gateway.Invalidf("the schedule has handlers, which this version does not know")
	}
	out := struct {
		AlwaysOn bool           `json:"always_on"`
		Schedule []intervalJSON `json:"schedule"`
		Power    []intervalJSON `json:"power_schedule"`
		Handlers struct{}       `json:"handlers"`
		Channel  string         `json:"channel,omitempty"`
	}{
		AlwaysOn: s.AlwaysOn, Channel: s.Channel,
		Schedule: []intervalJSON{}, Power: []intervalJSON{},
	}
	for _, iv := range s.Intervals {
		out.Schedule = append(out.Schedule, toJSON(iv))
	}
	for _, iv := range s.Power {
		j := toJSON(iv.Interval)
		j.During, j.After = iv.During.String(), iv.After.String()
		out.Power = append(out.Power, j)
	}
	return json.Marshal(out)
}

// toJSON returns an interval's JSON form, its days from Monday on.
func toJSON(iv gateway.Interval) intervalJSON {
	j := intervalJSON{From: clockText(iv.From), To: clockText(iv.To)}
	if iv.Days != 0 && iv.Days != everyDay {
		for i := range 7 {
			if day := (i + 1) % 7; onDay(iv.Days, day) {
				j.Days = append(j.Days, dayNames[day])
			}
		}
	}
	return j
}
