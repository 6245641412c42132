package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
	"github.com/wattle-home/wattle/store/household"
)

// batch is how many readings are stored at once, of all devices in turn.
const batch = 15_000

// device is what `wattle device add` prints.
type device struct {
	ID       gateway.DeviceID `json:"id"`
	Username string           `json:"mqtt_username"`
	Password string           `json:"mqtt_password"`
}

// devicesFile is where the devices' passwords are kept for the next run.
func (b *bench) devicesFile() string { return filepath.Join(b.dir, "devices.json") }

// command runs the program on the store and returns what it printed.
func (b *bench) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.program, append(args, "--data-dir", b.dir)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("wattle %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// devices adds the devices, if they are not there, and returns them: first
// those that have a history, then as many that publish.
func (b *bench) devices(ctx context.Context) (ds []device, err error) {
	if text, err := os.ReadFile(b.devicesFile()); err == nil {
		return ds, json.Unmarshal(text, &ds)
	}
	if _, err := b.command(ctx, "token", "create", "first"); err != nil { // begins the household
		return nil, err
	}
	for i := range 2 * household.Plugs {
		out, err := b.command(ctx, "device", "add", fmt.Sprintf("plug%02d", i+1),
			"--dialect", "native", "--json")
		if err != nil {
			return nil, err
		}
		var d device
		if err := json.Unmarshal(out, &d); err != nil {
			return nil, err
		}
		ds = append(ds, d)
	}
	text, err := json.Marshal(ds)
	if err != nil {
		return nil, err
	}
	return ds, os.WriteFile(b.devicesFile(), text, 0o600)
}

// open opens the store; now is its clock.
func (b *bench) open(ctx context.Context, now time.Time) (*store.Store, error) {
	return store.Open(ctx, store.Config{
		Path: filepath.Join(b.dir, "wattle.db"), Zone: time.UTC,
		Now: func() time.Time { return now },
	})
}

// end is the instant after the last reading.
func (b *bench) end() gateway.Instant {
	return household.Start + gateway.Instant(b.readings/household.Plugs)*10*gateway.Second
}

// fill stores the readings that are missing, and sums them up.
func (b *bench) fill(ctx context.Context) (err error) {
	if _, err := b.devices(ctx); err != nil {
		return err
	}
	s, err := b.open(ctx, b.end().Time())
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.Close(); err == nil {
			err = cerr
		}
	}()
	last, err := s.Last(ctx)
	if err != nil {
		return err
	}
	newest := map[gateway.DeviceID]gateway.Instant{}
	for _, r := range last {
		newest[r.Device] = r.At
	}
	began, used := time.Now(), cpu()
	h := household.New(b.jitter)
	rs := make([]gateway.Reading, 0, batch)
	var stored int64
	for i := range b.readings {
		if r := h.Next(); r.At > newest[r.Device] {
			rs = append(rs, r)
		}
		if len(rs) < batch && (i < b.readings-1 || len(rs) == 0) {
			continue
		}
		if err := s.Append(ctx, rs); err != nil {
			return err
		}
		before := stored / 50_000_000
		if stored += int64(len(rs)); stored/50_000_000 > before {
			fmt.Fprintf(os.Stderr, "%d million stored, %.0f s\n", stored/1e6, time.Since(began).Seconds())
		}
		rs = rs[:0]
	}
	if stored > 0 {
		took, spent := time.Since(began), cpu()-used
		b.add("bulk append, with what makes the readings up",
			fmt.Sprintf("%.2f million/s, %.2f µs CPU a reading", float64(stored)/took.Seconds()/1e6,
				float64(spent.Nanoseconds())/1e3/float64(stored)),
			"≤ 1.1 µs", "VictoriaMetrics 1.10 µs, InfluxDB 2.32, plain table 2.68")
		b.add("resident memory at most meanwhile", fmt.Sprintf("%.0f MiB", memory(os.Getpid(), "VmHWM")),
			"≤ 64 MB", "VictoriaMetrics 635 MiB, InfluxDB 459")
	}
	began = time.Now()
	_, after, err := s.Compact(ctx)
	if err != nil {
		return err
	}
	took := fmt.Sprintf("%.1f s", time.Since(began).Seconds())
	b.add("sealing the rest and summing up", took, "", "")
	target, others := "≤ 0.45", "VictoriaMetrics 0.455, InfluxDB 1.66, recorder 67.9"
	if b.jitter > 0 {
		target, others = "≤ 1.3", "VictoriaMetrics 2.72, InfluxDB 4.58, recorder 67.9"
	}
	b.add("bytes a reading, whole file with rollups",
		fmt.Sprintf("%.3f (%.1f MB)", float64(after)/float64(b.readings), float64(after)/1e6),
		target, others)
	return nil
}

// scan reads all readings of the first devices.
func (b *bench) scan(ctx context.Context) (err error) {
	s, err := b.open(ctx, b.end().Time())
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }() // only read
	var n int64
	var sum gateway.Power
	used := cpu()
	for id := range gateway.DeviceID(8) { // one of each kind
		err := s.Scan(ctx, id+1, household.Start, b.end()+gateway.Minute,
			func(rs []gateway.Reading) error {
				n += int64(len(rs))
				for i := range rs {
					sum += rs[i].Power
				}
				return nil
			})
		if err != nil {
			return err
		}
	}
	b.add("scan of raw readings", fmt.Sprintf("%.0f million/s a core",
		float64(n)/(cpu()-used).Seconds()/1e6), "≥ 100 million/s", "")
	if sum == 0 {
		return fmt.Errorf("the readings are all zero")
	}
	return nil
}

// recorded stores recorded households and tells how many bytes they take.
func (b *bench) recorded(ctx context.Context) error {
	if b.data == "" {
		return nil
	}
	for _, name := range []string{"refit_h2", "ukdale_h2"} {
		dir := filepath.Join(b.dir, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		in := *b
		in.dir = dir
		out, err := in.command(ctx, "import", filepath.Join(b.data, "minute", name+".csv.gz"),
			"--zone", "Europe/London", "--json")
		if err != nil {
			return err
		}
		var sum struct {
			Files []struct {
				Readings int64 `json:"readings"`
				Added    int64 `json:"added"`
			} `json:"files"`
		}
		if err := json.Unmarshal(out, &sum); err != nil || len(sum.Files) != 1 {
			return fmt.Errorf("importing %s: %w: %s", name, err, out)
		}
		if _, err := in.command(ctx, "compact"); err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join(dir, "wattle.db"))
		if err != nil {
			return err
		}
		b.add("bytes a reading, recorded minutes ("+name+")",
			fmt.Sprintf("%.3f", float64(info.Size())/float64(sum.Files[0].Added)), "≤ 0.19",
			"VictoriaMetrics 0.191 (refit_h2), 0.175 (ukdale_h2)")
	}
	return nil
}

// cpu returns the CPU time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory returns a line of a process's status in MiB, 0 if there is none.
func memory(pid int, line string) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return float64(kib) / 1024
		}
	}
	return 0
}
