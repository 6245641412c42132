package web_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wattle-home/wattle/web"
)

// zone is where the household of the tests is; no browser of a test machine
// is there by itself.
const zone = "Asia/Kathmandu"

// household is a REST API like the gateway's, with made-up devices, behind
// which stands the page. Its fields may be changed under mu.
type household struct {
	mu       sync.Mutex
	devices  []map[string]any
	events   []map[string]any
	role     string // of who signs in
	password string // "" lets everybody in
	session  bool
	outcome  string // what becomes of commands: a status, or "" for nothing
	streams  map[chan string]bool
	refuse   bool // streams end and new ones are not had
	commands int
	now      func() time.Time
	loc      *time.Location
}

// newHousehold makes a house of nine devices.
func newHousehold() *household {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	h := &household{
		role: "owner", outcome: "confirmed", streams: map[chan string]bool{},
		now: time.Now, loc: loc,
	}
	add := func(alias, room, dialect, topic string, watts float64, more map[string]any) {
		d := map[string]any{
			"id": len(h.devices) + 1, "uuid": fmt.Sprintf("00000000-0000-4000-8000-%012d", len(h.devices)+1),
			"alias": alias, "description": "", "dialect": dialect, "topic": topic,
			"channel": "wattle/" + topic + "/set", "role": "consumer", "parent_id": nil, "room": room,
			"icon": "", "tags": []string{}, "always_on": false, "online": true, "on": true,
			"power_state": nil, "power_w": watts, "last_seen": h.stamp(0), "switchable": true,
			"rejected": map[string]any{"count": 0},
		}
		for k, v := range more {
			d[k] = v
		}
		h.devices = append(h.devices, d)
	}
	add("Dishwasher", "Kitchen", "tasmota", "dishwasher", 812, nil)
	add("Workstation", "Study", "native", "workstation", 148, map[string]any{"power_state": "D0"})
	add("Fridge", "Kitchen", "shelly-gen2", "shellyplugsg3-fridge", 92, nil)
	add("Freezer", "Cellar", "shelly-gen2", "shellyplugsg3-freezer", 64, map[string]any{"always_on": true})
	add("Router", "Hall", "tasmota", "router", 11, map[string]any{"always_on": true})
	add("Television", "Living room", "tasmota", "tv", 1.6, nil)
	add("Washing machine", "Laundry", "native", "washer", 0,
		map[string]any{"rejected": map[string]any{"count": 12, "last_reason": "the payload is no JSON"}})
	add("Water heater", "Bath", "", "", 0, map[string]any{
		"on": false, "power_w": nil,
		"relay": map[string]any{"line": "gpiochip0:17", "active_low": true, "initial": "off", "safe": "off"},
	})
	add("Reading lamp", "Living room", "tasmota", "lamp", 0,
		map[string]any{"on": nil, "online": false, "last_seen": h.stamp(-95 * time.Minute)})
	h.event("switched", 1, "Dishwasher was switched on by anna.", -50*time.Minute)
	h.event("offline", 9, "Reading lamp went away.", -95*time.Minute)
	h.event("device_added", 1, "Dishwasher was added.", -60*24*time.Hour)
	return h
}

// stamp writes the time some while from now.
func (h *household) stamp(d time.Duration) string {
	return h.now().Add(d).In(h.loc).Format(time.RFC3339)
}

// event adds an event and returns it.
func (h *household) event(kind string, device int, text string, ago time.Duration) map[string]any {
	e := map[string]any{
		"id": len(h.events) + 1, "time": h.stamp(ago), "kind": kind, "device_id": device, "text": text,
	}
	h.events = append(h.events, e)
	return e
}

// handler serves the page and the API.
func (h *household) handler(o web.Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler(o))
	mux.HandleFunc("POST /api/v1/login", h.login)
	mux.HandleFunc("POST /api/v1/logout", func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.session = false
		w.WriteHeader(http.StatusNoContent)
	})
	route := func(pattern string, f func(*http.Request) (int, any)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.password != "" && !h.session {
				problem(w, http.StatusUnauthorized, "sign in first")
				return
			}
			status, body := f(r)
			if text, ok := body.(string); ok {
				problem(w, status, text)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			if body != nil {
				_ = json.NewEncoder(w).Encode(body)
			}
		})
	}
	route("GET /api/v1/session", func(*http.Request) (int, any) {
		return 200, map[string]any{"username": "anna", "role": h.role, "demo": h.password == ""}
	})
	route("GET /api/v1/household", func(*http.Request) (int, any) {
		return 200, map[string]any{"name": "Test house", "timezone": h.loc.String(), "demo": h.password == "", "version": "v0"}
	})
	route("GET /api/v1/devices", func(*http.Request) (int, any) { return 200, h.devices })
	route("POST /api/v1/devices", h.addDevice)
	route("PATCH /api/v1/devices/{id}", h.patchDevice)
	route("DELETE /api/v1/devices/{id}", h.deleteDevice)
	route("GET /api/v1/devices/{id}/series", h.series)
	route("GET /api/v1/series", h.allSeries)
	route("GET /api/v1/devices/{id}/schedule", func(r *http.Request) (int, any) {
		return 200, map[string]any{
			"always_on": r.PathValue("id") == "4", "channel": "c", "handlers": map[string]any{},
			"schedule":       []any{map[string]any{"from": "06:30", "to": "09:00", "days": []string{"mon", "tue", "wed", "thu", "fri"}}},
			"power_schedule": []any{map[string]any{"from": "22:00", "to": "06:00", "during": "D2", "after": "D0"}},
		}
	})
	route("POST /api/v1/devices/{id}/commands", h.command)
	route("GET /api/v1/events", h.listEvents)
	mux.HandleFunc("GET /api/v1/live", h.live)
	return mux
}

// problem answers with a problem document.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}

// login lets in who knows the password.
func (h *household) login(w http.ResponseWriter, r *http.Request) {
	var in struct{ Username, Password string }
	err := json.NewDecoder(r.Body).Decode(&in)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || in.Password != h.password {
		problem(w, http.StatusUnauthorized, "no")
		return
	}
	h.session = true
	w.WriteHeader(http.StatusNoContent)
}

// find returns the device of a path, or nil.
func (h *household) find(r *http.Request) map[string]any {
	id, _ := strconv.Atoi(r.PathValue("id"))
	for _, d := range h.devices {
		if d["id"] == id {
			return d
		}
	}
	return nil
}

// addDevice adds a device; a name that is taken is refused.
func (h *household) addDevice(r *http.Request) (int, any) {
	var in map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 400, "no JSON"
	}
	for _, d := range h.devices {
		if d["alias"] == in["alias"] {
			return 400, map[string]any{
				"title": "Bad Request", "status": 400, "detail": "The device is not valid.",
				"errors": []any{map[string]any{"field": "alias", "detail": "is taken"}},
			}
		}
	}
	d := map[string]any{
		"id": len(h.devices) + 1, "alias": in["alias"], "description": "", "dialect": in["dialect"],
		"topic": "new", "role": "consumer", "parent_id": nil, "room": in["room"], "icon": "", "tags": []string{}, "always_on": false,
		"online": false, "on": nil, "power_state": nil, "power_w": nil, "last_seen": nil, "switchable": true,
		"rejected": map[string]any{"count": 0},
	}
	h.devices = append(h.devices, d)
	out := map[string]any{"mqtt": map[string]any{
		"username": "d-new", "password": "shown-once-7f3a",
		"topics": []string{"wattle/new/reading", "wattle/new/state"}, "broadcast": "wattle/global/anna",
	}}
	for k, v := range d {
		out[k] = v
	}
	return 201, out
}

// patchDevice changes what it is given.
func (h *household) patchDevice(r *http.Request) (int, any) {
	d := h.find(r)
	if d == nil {
		return 404, "no such device"
	}
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		return 400, "no JSON"
	}
	return 200, d
}

// deleteDevice removes a device.
func (h *household) deleteDevice(r *http.Request) (int, any) {
	d := h.find(r)
	if d == nil {
		return 404, "no such device"
	}
	h.devices = slices.DeleteFunc(h.devices, func(o map[string]any) bool { return o["id"] == d["id"] })
	return 204, nil
}

// listEvents lists the events of a query, the newest first.
func (h *household) listEvents(r *http.Request) (int, any) {
	items := []map[string]any{}
	q := r.URL.Query()
	for _, e := range slices.Backward(h.events) {
		if k := q.Get("kind"); k != "" && k != e["kind"] {
			continue
		}
		if d := q.Get("device"); d != "" && d != fmt.Sprint(e["device_id"]) {
			continue
		}
		items = append(items, e)
	}
	return 200, map[string]any{"items": items, "page": 0, "per_page": 100, "total": len(items)}
}

// command accepts a command and tells the streams what becomes of it.
func (h *household) command(r *http.Request) (int, any) {
	d := h.find(r)
	var in struct{ Action string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || d == nil {
		return 400, "no such command"
	}
	h.commands++
	c := map[string]any{"id": fmt.Sprintf("c%d", h.commands), "device_id": d["id"], "action": in.Action, "status": "queued", "tries": 1}
	if h.outcome != "" {
		h.finish(c, d, h.outcome)
	}
	return 202, c
}

// finish tells the streams how a command ended.
func (h *household) finish(c, d map[string]any, status string) {
	end := map[string]any{"reason": "the device did not answer in 30 s"}
	for k, v := range c {
		end[k] = v
	}
	end["status"] = status
	if status == "confirmed" {
		d["on"] = c["action"] == "on"
		h.tell("state", h.state(d))
	}
	h.tell("command", end)
}

// state is what a device does, as the stream says it.
func (h *household) state(d map[string]any) map[string]any {
	out := map[string]any{"device_id": d["id"]}
	for _, k := range []string{"online", "on", "power_state", "power_w", "last_seen", "rejected"} {
		out[k] = d[k]
	}
	return out
}

// tell sends an event to all streams; mu is held.
func (h *household) tell(kind string, data any) {
	b, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	for c := range h.streams {
		select {
		case c <- fmt.Sprintf("event: %s\ndata: %s\n\n", kind, b):
		default:
		}
	}
}

// reading sets a device's power and tells the streams.
func (h *household) reading(id int, watts float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range h.devices {
		if d["id"] == id {
			d["power_w"], d["last_seen"] = watts, h.stamp(0)
			h.tell("reading", map[string]any{"device_id": id, "time": h.stamp(0), "power_w": watts, "energy_wh": nil})
		}
	}
}

// drop ends all streams; with refuse set new ones are not had.
func (h *household) drop(refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = refuse
	for c := range h.streams {
		close(c)
		delete(h.streams, c)
	}
}

// live is the stream.
func (h *household) live(w http.ResponseWriter, r *http.Request) {
	c := make(chan string, 64)
	h.mu.Lock()
	if h.refuse || h.password != "" && !h.session {
		status := http.StatusServiceUnavailable
		if !h.refuse {
			status = http.StatusUnauthorized
		}
		h.mu.Unlock()
		problem(w, status, "no stream")
		return
	}
	for _, d := range h.devices {
		b, _ := json.Marshal(h.state(d))
		c <- fmt.Sprintf("event: state\ndata: %s\n\n", b)
	}
	h.streams[c] = true
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.streams, c)
		h.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case text, ok := <-c:
			if !ok {
				return
			}
			_, _ = w.Write([]byte(text))
			_ = flush.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// series answers for one device.
func (h *household) series(r *http.Request) (int, any) {
	d := h.find(r)
	if d == nil {
		return 404, "no such device"
	}
	step, points := h.points(d["id"].(int), r)
	return 200, map[string]any{"step": step, "points": points}
}

// allSeries answers for all devices.
func (h *household) allSeries(r *http.Request) (int, any) {
	out := []map[string]any{}
	step := ""
	for _, d := range h.devices {
		var points []map[string]any
		step, points = h.points(d["id"].(int), r)
		out = append(out, map[string]any{"device_id": d["id"], "points": points})
	}
	return 200, map[string]any{"step": step, "devices": out}
}

// points makes up the points of a query: minutes summed up to steps.
func (h *household) points(id int, r *http.Request) (string, []map[string]any) {
	q := r.URL.Query()
	from, err1 := time.Parse(time.RFC3339, q.Get("from"))
	to, err2 := time.Parse(time.RFC3339, q.Get("to"))
	step := q.Get("step")
	out := []map[string]any{}
	if err1 != nil || err2 != nil {
		return step, out
	}
	if now := h.now(); to.After(now) {
		to = now
	}
	next := func(t time.Time) time.Time {
		l := t.In(h.loc)
		switch step {
		case "raw":
			return t.Add(time.Minute)
		case "5m":
			return t.Add(5 * time.Minute)
		case "1h":
			return t.Add(time.Hour)
		case "1d":
			return time.Date(l.Year(), l.Month(), l.Day()+1, 0, 0, 0, 0, h.loc)
		}
		return to
	}
	for t := from; t.Before(to); t = next(t) {
		end := next(t)
		if end.After(to) {
			end = to
		}
		grain := max(time.Minute, end.Sub(t)/200)
		sum, n, low, high := 0.0, 0, math.Inf(1), 0.0
		for m := t; m.Before(end); m = m.Add(grain) {
			w, ok := made(id, m.In(h.loc))
			if !ok {
				continue
			}
			sum, n, low, high = sum+w, n+1, min(low, w), max(high, w)
		}
		if n > 0 {
			hours := float64(n) * grain.Hours()
			out = append(out, map[string]any{
				"time": t.UTC().Format(time.RFC3339), "mean_w": sum / float64(n),
				"min_w": low, "max_w": high, "energy_kwh": sum / float64(n) * hours / 1000,
			})
		}
	}
	return step, out
}

// made is what a device of the made-up house draws at a time, if it told.
func made(id int, t time.Time) (float64, bool) {
	minute := t.Hour()*60 + t.Minute()
	day := t.YearDay()
	noise := math.Sin(float64(minute)*1.7+float64(id)) * 0.04
	between := func(a, b int) bool { return minute >= a && minute < b }
	switch id {
	case 1:
		if between(760, 775) || between(800, 815) {
			return 1900 * (1 + noise), true
		}
		if between(755, 840) {
			return 90, true
		}
		return 0.6, true
	case 2:
		if between(7*60+30, 18*60) && day%7 != 0 {
			return 140 * (1 + noise*3), true
		}
		return 3, true
	case 3, 4:
		if id == 4 && between(480, 520) {
			return 0, false
		}
		if (minute+id*11)%45 < 16 {
			return 92 * (1 + noise + 0.3*math.Exp(-float64((minute+id*11)%45))), true
		}
		return 3, true
	case 5:
		return 11 + noise*8, true
	case 6:
		if between(19*60, 22*60+30) {
			return 96 * (1 + noise), true
		}
		return 1.6, true
	case 7:
		if between(9*60, 9*60+20) {
			return 2050, true
		}
		return 0.4, true
	case 9:
		return 0, between(0, 17*60)
	}
	return 0, false
}

// wide is a name of 200 characters.
var wide = string([]rune(strings.Repeat("Überlange Bezeichnung ", 10))[:200])
