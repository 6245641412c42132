package link_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway/link"
)

// zipped writes a file compressed with gzip and returns its name.
func zipped(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return plain(t, name, b.String())
}

// plain writes a file and returns its name.
func plain(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	write(t, name, text)
	return name
}

// recorded is a replay as fast as possible of files in UTC.
func recorded(b *mosquitto, files ...string) link.Recorded {
	return link.Recorded{
		Broker: b.url(), Files: files, Zone: time.UTC, Speed: math.Inf(1), Logger: quiet(),
	}
}

func TestReplay_complete(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("wattle/#")
	begin := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	const rows = 3000
	// One file in order of devices, one in order of time.
	var grouped, mixed strings.Builder
	grouped.WriteString("device,time,power_w\n")
	mixed.WriteString("device,time,power_w,energy_wh\r\n")
	for d := range 3 {
		for i := range rows {
			at := begin.Add(time.Duration(i) * time.Minute)
			fmt.Fprintf(&grouped, "house.d%d,%s,%d.5\n", d, at.Format(time.DateTime), i)
		}
	}
	for i := range rows {
		at := begin.Add(time.Duration(i)*time.Minute + 30*time.Second)
		fmt.Fprintf(&mixed, "m0,%s,%d,%d\r\n", at.Format(time.RFC3339), -i, i)
		fmt.Fprintf(&mixed, "m1,%d,,%d\r\n", at.Unix(), i)
	}
	before := runtime.NumGoroutine()
	got, err := link.Replay(t.Context(), recorded(b,
		zipped(t, "a.csv.gz", grouped.String()), plain(t, "b.csv", mixed.String())))
	if err != nil {
		t.Fatal(err)
	}
	if got.Devices != 5 || got.Readings != 5*rows || got.Acknowledged != 5*rows || got.Refused != 0 {
		t.Errorf("got %+v, want %d readings of 5 devices, all acknowledged", got, 5*rows)
	}
	if got.Messages >= got.Readings || !got.First.Equal(begin) {
		t.Errorf("got %+v, want several readings in a message, and %s first", got, begin)
	}
	for _, d := range []string{"house.d0", "house.d1", "house.d2", "m0", "m1"} {
		topic := "wattle/" + d + "/reading"
		var list []reading
		eventually(t, "all readings of "+d, func() bool {
			list = readings(t, o.all(topic))
			return len(list) >= rows
		})
		if len(list) != rows {
			t.Errorf("%s: %d readings, want %d", d, len(list), rows)
		}
		for i, r := range list {
			want := reading{begin.Add(time.Duration(i) * time.Minute), float64(i) + 0.5, 0}
			if d[0] == 'm' {
				want = reading{want.Time.Add(30 * time.Second), 0, float64(i)}
			}
			if d == "m0" {
				want.Power = float64(-i)
			}
			if !r.Time.Equal(want.Time) || r.Power != want.Power || r.Energy != want.Energy {
				t.Fatalf("%s: reading %d is %+v, want %+v", d, i, r, want)
			}
		}
	}
	noLeak(t, before)
}

func TestReplay_order(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("wattle/#")
	// Over two files and three devices readings go out in order of time.
	var one, two strings.Builder
	one.WriteString("device,time,power_w\n")
	two.WriteString("device,time,power_w\n")
	for i := range 20 {
		fmt.Fprintf(&one, "a,%d,1\n", 1_000_000_000+i*30)
		fmt.Fprintf(&two, "c,%d,3\n", 1_000_000_020+i*30)
	}
	for i := range 20 {
		fmt.Fprintf(&one, "b,%d,2\n", 1_000_000_010+i*30)
	}
	cfg := recorded(b, plain(t, "one.csv", one.String()), plain(t, "two.csv", two.String()))
	cfg.Speed = 120 // 590 seconds in five
	began := time.Now()
	if _, err := link.Replay(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d < 4*time.Second {
		t.Errorf("the replay took %s, want about 5 s", d)
	}
	var all []reading
	eventually(t, "60 readings", func() bool {
		all = nil
		for _, m := range o.snapshot() {
			if strings.HasSuffix(m.topic, "/reading") {
				all = append(all, readings(t, []string{m.payload})...)
			}
		}
		return len(all) == 60
	})
	// What is due within one breath of the replay may swap between devices.
	for i := 1; i < len(all); i++ {
		if all[i-1].Time.Sub(all[i].Time) > 20*time.Second {
			t.Errorf("%s was sent before %s", all[i-1].Time, all[i].Time)
		}
	}
}

func TestReplay_shift(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("wattle/#")
	cfg := recorded(b, plain(t, "x.csv",
		"device,time,power_w\nx,2013-01-01 00:00:00,1\nx,2013-01-01 00:01:00,2\n"))
	cfg.Shift = true
	cfg.From = time.Date(2013, 1, 1, 0, 0, 30, 0, time.UTC)
	now := time.Date(2026, 5, 5, 5, 5, 5, 0, time.UTC)
	cfg.Now = func() time.Time { return now }
	got, err := link.Replay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.Readings != 1 || !got.First.Equal(now) || !got.Last.Equal(now) {
		t.Errorf("got %+v, want one reading at %s", got, now)
	}
	list := readings(t, []string{o.after("wattle/x/reading", 0, anything).payload})
	if len(list) != 1 || !list[0].Time.Equal(now) || list[0].Power != 2 {
		t.Errorf("got %+v", list)
	}
}

func TestReplay_clocksChange(t *testing.T) {
	b := startMosquitto(t)
	o := b.observe("wattle/#")
	// The hour from two to three occurs twice, and in March not at all.
	cfg := recorded(b, plain(t, "x.csv", `device,time,power_w
x,2026-03-29 01:30:00,1
x,2026-03-29 02:30:00,2
x,2026-03-29 03:45:00,3
x,2026-10-25 01:30:00,4
x,2026-10-25 02:00:00,5
x,2026-10-25 02:30:00,6
x,2026-10-25 02:00:00,7
x,2026-10-25 02:30:00,8
x,2026-10-25 03:00:00,9
y,2026-10-25 02:30:00,1
y,2026-10-25 03:00:00,2
`))
	cfg.Zone = zone(t, "Europe/Berlin")
	if _, err := link.Replay(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string][]string{
		"x": {
			"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T01:45:00Z",
			"2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z",
			"2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z",
		},
		"y": {"2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z"},
	} {
		var got []string
		eventually(t, "the readings of "+device, func() bool {
			got = nil
			for _, r := range readings(t, o.all("wattle/"+device+"/reading")) {
				got = append(got, r.Time.Format(time.RFC3339))
			}
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", device, got, want)
		}
	}
}

func TestReplay_badFiles(t *testing.T) {
	const head = "device,time,power_w\n"
	for _, c := range []struct {
		name, text string
		line       int
		reason     string
	}{
		{"no columns", "", 0, "empty"},
		{"other columns", "when,what\n", 1, "when,what"},
		{"too few", head + "x,2026-01-01 00:00:00\n", 2, "columns"},
		{"too many", head + "x,2026-01-01 00:00:00,1,2\n", 2, "columns"},
		{"no device", head + ",2026-01-01 00:00:00,1\n", 2, "device"},
		{"a wildcard", head + "x/#,2026-01-01 00:00:00,1\n", 2, "x/#"},
		{"no date", head + "x,2026-01-01 00:00:00,1\nx,2026-02-30 00:00:00,1\n", 3, "2026-02-30"},
		{"no time", head + "x,,1\n", 2, "time"},
		{"not a number", head + "x,2026-01-01 00:00:00,lots\n", 2, "lots"},
		{"NaN", head + "x,2026-01-01 00:00:00,NaN\n", 2, "NaN"},
		{"infinite", head + "x,2026-01-01 00:00:00,1e999\n", 2, "1e999"},
		{"absurd", head + "x,2026-01-01 00:00:00,100001\n", 2, "100 kW"},
		{"1970", head + "x,1970-01-01 00:00:00,1\n", 2, "2000"},
		{"nothing", head + "x,2026-01-01 00:00:00,\n", 2, "neither"},
		{"endless line", head + strings.Repeat("x", 1<<20), 2, "longer"},
		{"after good rows", head + "x,2026-01-01 00:00:00,1\n\nx,2026-01-01 00:01:00,x\n", 4, `"x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := plain(t, "bad.csv", c.text)
			_, err := link.Replay(t.Context(), link.Recorded{
				Broker: "mqtt://127.0.0.1:1", Files: []string{name}, Zone: time.UTC,
				Logger: quiet(),
			})
			var bad *link.RowError
			if !errors.As(err, &bad) {
				t.Fatalf("got %v, want a RowError", err)
			}
			if bad.File != name || bad.Line != c.line || !strings.Contains(bad.Reason, c.reason) {
				t.Errorf("got %v, want line %d and %q", bad, c.line, c.reason)
			}
		})
	}
}

func TestReplay_refuses(t *testing.T) {
	good := plain(t, "x.csv", "device,time,power_w\nx,2026-01-01 00:00:00,1\n")
	var shuffled, crowd strings.Builder
	shuffled.WriteString("device,time,power_w\n")
	crowd.WriteString("device,time,power_w\n")
	for i := range 600 {
		fmt.Fprintf(&shuffled, "x,%d,1\n", 1_600_000_000-i)
		fmt.Fprintf(&crowd, "d%d,1600000000,1\n", i)
	}
	cut := zipped(t, "cut.csv.gz", shuffled.String())
	for name, change := range map[string]func(*link.Recorded){
		"no file":     func(c *link.Recorded) { c.Files = nil },
		"no such":     func(c *link.Recorded) { c.Files = []string{good + ".not"} },
		"speed":       func(c *link.Recorded) { c.Speed = -60 },
		"all before":  func(c *link.Recorded) { c.From = time.Now().AddDate(100, 0, 0) },
		"no order":    func(c *link.Recorded) { c.Files = []string{plain(t, "s", shuffled.String())} },
		"a crowd":     func(c *link.Recorded) { c.Files = []string{plain(t, "c", crowd.String())} },
		"cut short":   func(c *link.Recorded) { c.Files = []string{half(t, cut)} },
		"a bad URL":   func(c *link.Recorded) { c.Broker = "ftp://x" },
		"no password": func(c *link.Recorded) { c.Credential = noLogin },
	} {
		cfg := link.Recorded{
			Broker: "mqtt://127.0.0.1:1", Files: []string{good}, Zone: time.UTC, Logger: quiet(),
		}
		change(&cfg)
		if got, err := link.Replay(t.Context(), cfg); err == nil {
			t.Errorf("%s: got %+v, want an error", name, got)
		}
	}
}

// half writes the first half of a file and returns its name.
func half(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return plain(t, "half.csv.gz", string(b[:len(b)/2]))
}

// noLogin knows no device.
func noLogin(string) (link.Login, error) { return link.Login{}, errors.New("unknown") }

func TestReplay_wrongPassword(t *testing.T) {
	b := startMosquitto(t, "x:word")
	cfg := recorded(b, plain(t, "x.csv", "device,time,power_w\nx,2026-01-01 00:00:00,1\n"))
	cfg.Credential = func(string) (link.Login, error) {
		return link.Login{Topic: "x", Username: "x", Password: "sword"}, nil
	}
	_, err := link.Replay(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), `"x"`) || strings.Contains(err.Error(), "sword") {
		t.Errorf("got %v, want an error that names the device", err)
	}
}

func TestReplay_brokerRestarts(t *testing.T) {
	b := startMosquitto(t)
	var text strings.Builder
	text.WriteString("device,time,power_w\n")
	const rows = 2000
	for i := range rows {
		fmt.Fprintf(&text, "x,%d,%d\n", 1_700_000_000+i, i)
	}
	cfg := recorded(b, plain(t, "x.csv", text.String()))
	cfg.Speed = 1000 // two seconds
	type outcome struct {
		link.Replayed
		err error
	}
	done := make(chan outcome, 1)
	o := b.observe("wattle/x/reading")
	go func() {
		got, err := link.Replay(t.Context(), cfg)
		done <- outcome{got, err}
	}()
	o.after("wattle/x/reading", 2, anything)
	b.stop()
	b.start()
	got := <-done
	if got.err != nil || got.Acknowledged != rows || got.Readings != rows {
		t.Errorf("got %+v, want %d acknowledged", got, rows)
	}
}

func TestReplay_ends(t *testing.T) {
	before := runtime.NumGoroutine()
	b := startMosquitto(t)
	cfg := recorded(b, plain(t, "x.csv",
		"device,time,power_w\nx,2026-01-01 00:00:00,1\nx,2026-02-01 00:00:00,2\n"))
	cfg.Speed = 1
	ctx, cancel := context.WithCancel(t.Context())
	o := b.observe("wattle/x/#")
	time.AfterFunc(0, func() {
		for len(o.all("wattle/x/reading")) == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	got, err := link.Replay(ctx, cfg)
	if !errors.Is(err, context.Canceled) || got.Readings != 1 {
		t.Errorf("got %+v and %v, want one reading and that it was ended", got, err)
	}
	o.after("wattle/x/availability", 0, is("offline"))
	o.stop()
	b.stop()
	noLeak(t, before)
}
