package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/gateway/link"
	"github.com/wattle-home/wattle/store/household"
)

// running is the program as a child.
type running struct {
	*exec.Cmd
	http, mqtt string
	ready      time.Duration // from start to ready
}

// start starts the program on the store and waits until it is ready.
func (b *bench) start(ctx context.Context) (*running, error) {
	cmd := exec.CommandContext(ctx, b.program, "serve", "--data-dir", b.dir, "--timezone", "UTC",
		"--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--trust-clock", "--max-megabytes", "0",
		"--keep-days", "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	r := &running{Cmd: cmd, ready: time.Since(began)}
	if err == nil {
		_, err = fmt.Sscanf(line, "wattle is ready: http://%s mqtt://%s", &r.http, &r.mqtt)
	}
	if err != nil {
		err = fmt.Errorf("the program said %q: %w", line, err)
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	r.http = "http://" + strings.TrimSuffix(r.http, "/") + "/api/v1"
	return r, nil
}

// kill ends the program without a chance to tidy up.
func (r *running) kill() error {
	err := r.Process.Kill()
	_ = r.Wait() // it was killed
	return err
}

// gateway measures the program.
func (b *bench) gateway(ctx context.Context) error {
	token, err := b.command(ctx, "token", "create", fmt.Sprint("bench", time.Now().UnixNano()),
		"--role", "owner")
	if err != nil {
		return err
	}
	var starts []time.Duration
	var g *running
	for range 5 {
		if g != nil {
			if err := g.kill(); err != nil {
				return err
			}
		}
		if g, err = b.start(ctx); err != nil {
			return err
		}
		starts = append(starts, g.ready)
	}
	defer func() { _ = g.kill() }() // it only read
	b.add("start to ready after SIGKILL, warm", ms(middle(starts)), "≤ 100 ms",
		"VictoriaMetrics 325, InfluxDB 175, plain 32")
	time.Sleep(3 * time.Second) // it tidies up at the start
	b.add("resident memory at rest", fmt.Sprintf("%.0f MiB", memory(g.Process.Pid, "VmRSS")), "",
		"VictoriaMetrics 526 MiB, InfluxDB 79")
	c := asker{g.http, strings.TrimSpace(string(token)), new(bytes.Buffer)}
	if err := b.queries(ctx, c); err != nil {
		return err
	}
	return b.load(ctx, g, c)
}

// asker asks the API on a connection that is kept.
type asker struct {
	base, token string
	body        *bytes.Buffer
}

// get asks once and returns the size of the answer and how long it took.
func (a asker) get(ctx context.Context, path string) (int, time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", a.base+path, nil)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	a.body.Reset()
	_, err = a.body.ReadFrom(resp.Body)
	took := time.Since(began)
	err = errors.Join(err, resp.Body.Close())
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", path, resp.Status, a.body.Bytes())
	}
	return a.body.Len(), took, err
}

// question is what a page asks.
type question struct{ what, path, target, others string }

// questions returns what is asked of a store that ends at end.
func questions(end gateway.Instant, first gateway.Instant) []question {
	const day = 24 * gateway.Hour
	midnight := end - end%day
	// As a page asks: whole buckets, up to the one that runs.
	span := func(days, bucket gateway.Instant) string {
		to := end - end%bucket + bucket
		return "from=" + (to - days*day).String() + "&to=" + to.String()
	}
	ids := "1"
	for id := range household.Plugs - 1 {
		ids += fmt.Sprint(",", id+2)
	}
	hour, minutes := gateway.Hour, 5*gateway.Minute
	whole := "from=" + first.String() + "&to=" + (midnight + day).String()
	yesterday := "from=" + (midnight - 2*day).String() + "&to=" + (midnight - day).String()
	return []question{
		{
			"q1: 24 h of a device by 5 minutes", "/devices/1/series?step=5m&" + span(1, minutes),
			"≤ 1 ms", "VictoriaMetrics 0.93, InfluxDB 6.2",
		},
		{
			"q2: 30 days of a device by hour", "/devices/2/series?step=1h&" + span(30, hour),
			"≤ 0.5 ms", "VictoriaMetrics 4.0, InfluxDB 60",
		},
		{
			"q3: 365 days of 30 devices by day",
			"/series?step=1d&devices=" + ids + "&" + span(365, day),
			"≤ 5 ms", "VictoriaMetrics 977, InfluxDB 28,700",
		},
		{
			"q4: whole history of a device", "/devices/3/series?step=all&" + whole,
			"≤ 1 ms", "VictoriaMetrics 41, InfluxDB 1,400",
		},
		{
			"a day of a device, 8,640 readings", "/devices/4/readings?per_page=10000&" + yesterday,
			"≤ 5 ms", "",
		},
	}
}

// queries asks each question many times and takes the median.
func (b *bench) queries(ctx context.Context, c asker) error {
	for _, q := range questions(b.end(), household.Start) {
		var took []time.Duration
		size := 0
		for range 41 {
			n, d, err := c.get(ctx, q.path)
			if err != nil {
				return err
			}
			size, took = n, append(took, d)
		}
		b.add(q.what+", over HTTP", fmt.Sprintf("%s (%d KB)", ms(middle(took)), size/1000),
			q.target, q.others)
	}
	return nil
}

// load has all devices publish a reading each second, while questions are
// asked, and looks at the memory.
func (b *bench) load(ctx context.Context, g *running, c asker) error {
	ds, err := b.devices(ctx)
	if err != nil {
		return err
	}
	ds = ds[household.Plugs:]
	const seconds = 30
	ctx, cancel := context.WithTimeout(ctx, (seconds+1)*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(ds))
	for i, d := range ds {
		client, err := link.NewClient(link.Options{
			Broker: "mqtt://" + g.mqtt, ClientID: d.Username, Username: d.Username,
			Password: d.Password, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return err
		}
		wg.Go(func() { errs[i] = client.Run(ctx) })
		wg.Go(func() {
			for n := range seconds {
				client.Send(gateway.Message{
					Topic: "wattle/" + d.Username + "/reading", QoS: 1,
					Payload: fmt.Appendf(nil, `{"power_w":%d}`, 100+n),
				})
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	qs := questions(gateway.InstantOf(time.Now()), household.Start)
	most := 0.0
	for i := 0; ctx.Err() == nil; i++ {
		if _, _, err := c.get(ctx, qs[i%len(qs)].path); err != nil && ctx.Err() == nil {
			return err
		}
		most = max(most, memory(g.Process.Pid, "VmRSS"))
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	b.add("resident memory, 30 devices at 1 s, and asked 20 times a second",
		fmt.Sprintf("%.0f MiB", most), "≤ 40 MB", "VictoriaMetrics 526 MiB idle, InfluxDB 79")
	return nil
}

// middle returns the median.
func middle(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// ms writes a duration in milliseconds.
func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }
