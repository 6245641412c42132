package store

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/wattle-home/wattle/gateway"
)

// toText returns v as JSON for a column.
func toText(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// scheduleText is how a gateway.Schedule stands in its column. Field names are
// part of the file's format.
type scheduleText struct {
	AlwaysOn  bool                `json:"always_on,omitempty"`
	Intervals []intervalText      `json:"intervals,omitempty"`
	Power     []powerIntervalText `json:"power,omitempty"`
	Handlers  []handlerText       `json:"handlers,omitempty"`
	Channel   string              `json:"channel,omitempty"`
}

// intervalText is a gateway.Interval; times are minutes after midnight and
// days are bits from Sunday.
type intervalText struct {
	From gateway.Clock `json:"from"`
	To   gateway.Clock `json:"to"`
	Days gateway.Days  `json:"days,omitempty"`
}

// powerIntervalText is a gateway.PowerInterval.
type powerIntervalText struct {
	intervalText
	During gateway.PowerState `json:"during"`
	After  gateway.PowerState `json:"after"`
}

// handlerText is a gateway.Handler.
type handlerText struct {
	Name     string          `json:"name"`
	Settings json.RawMessage `json:"settings,omitempty"`
}

// formatSchedule returns sch as text for its column. It fails if the settings
// of a handler are not JSON.
func formatSchedule(sch gateway.Schedule) (string, error) {
	t := scheduleText{AlwaysOn: sch.AlwaysOn, Channel: sch.Channel}
	for _, i := range sch.Intervals {
		t.Intervals = append(t.Intervals, intervalText(i))
	}
	for _, p := range sch.Power {
		t.Power = append(t.Power, powerIntervalText{intervalText(p.Interval), p.During, p.After})
	}
	for _, h := range sch.Handlers {
		t.Handlers = append(t.Handlers, handlerText(h))
	}
	return toText(t)
}

// parseSchedule is the inverse of formatSchedule.
func parseSchedule(text string) (gateway.Schedule, error) {
	var t scheduleText
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return gateway.Schedule{}, err
	}
	sch := gateway.Schedule{AlwaysOn: t.AlwaysOn, Channel: t.Channel}
	for _, i := range t.Intervals {
		sch.Intervals = append(sch.Intervals, gateway.Interval(i))
	}
	for _, p := range t.Power {
		sch.Power = append(sch.Power, gateway.PowerInterval{
			Interval: gateway.Interval(p.intervalText), During: p.During, After: p.After,
		})
	}
	for _, h := range t.Handlers {
		sch.Handlers = append(sch.Handlers, gateway.Handler(h))
	}
	return sch, nil
}
