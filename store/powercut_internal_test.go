package store

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// Variables that tell TestMain which child of TestPowerCut the process is.
const (
	CutTask = "WATTLE_STORE_CUT"
	cutPath = "WATTLE_STORE_CUT_PATH"
)

// cutNow is the clock of the children: all their readings are of past days.
const cutNow gateway.Instant = 1_743_000_000_000

// CutChild does what is to be cut, and prints how many readings are
// acknowledged after each step that acknowledges some.
func CutChild() int {
	s, err := openCut(os.Getenv(cutPath))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	if os.Getenv(CutTask) == "open" {
		fmt.Println(0)
		return 0 // without Close, as when the power fails
	}
	ctx := context.Background()
	for n := 0; n < 40_000; {
		size := 700 + n%13*900
		if err := s.Append(ctx, cutReadings(n, size)); err != nil {
			fmt.Println(err)
			return 1
		}
		n += size
		fmt.Println(n)
		if n%3 == 0 {
			if err := s.Maintain(ctx); err != nil {
				fmt.Println(err)
				return 1
			}
		}
	}
	return 0
}

// openCut opens a store that seals early.
func openCut(path string) (*Store, error) {
	s, err := Open(context.Background(), Config{
		Path: path, Now: func() time.Time { return cutNow.Time() }, Zone: time.UTC,
	})
	if err == nil {
		s.tailMost, s.chunkMost = 6000, 2000
	}
	return s, err
}

// cutReadings returns n readings of device 1, a second apart; the first is
// number first.
func cutReadings(first, n int) []gateway.Reading {
	rs := make([]gateway.Reading, n)
	for i := range rs {
		k := first + i
		rs[i] = gateway.Reading{
			Device: 1, At: cutNow - 40*day + gateway.Instant(k)*gateway.Second,
			Power: gateway.Power(k % 977 * 1000), Energy: gateway.Energy(k * 3),
			Has: gateway.HasPower | gateway.HasEnergy,
		}
	}
	return rs
}

// change is a write to a file, its cut to a length, or, without either, that
// it was synced.
type change struct {
	file  string // "" for an acknowledgement
	data  []byte
	at    int64
	cut   bool // to the length at
	acked int
}

// Lines of strace's report.
var (
	traceWrite = regexp.MustCompile(`^\d+ +pwrite64\(\d+<([^>]*)>, "([^"]*)", (\d+), (\d+)`)
	traceCut   = regexp.MustCompile(`^\d+ +ftruncate\(\d+<([^>]*)>, (\d+)`)
	traceSync  = regexp.MustCompile(`^(\d+) +(?:fsync|fdatasync)\(\d+<([^>]*)>`)
	traceDone  = regexp.MustCompile(`^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>`)
	traceSaid  = regexp.MustCompile(`^\d+ +write\(1<[^>]*>, "([^"]*)"`)
)

// unhex returns what strace wrote as \x..
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// record runs a child on the database at path and returns what it changed in
// the database and its log, in order.
func record(t *testing.T, task, path string) (changes []change) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command("strace", "-f", "-y", "-xx", "-s", "200000", "-o", trace,
		"-e", "trace=pwrite64,write,fsync,fdatasync,ftruncate", self)
	cmd.Env = append(os.Environ(), CutTask+"="+task, cutPath+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ours := func(name string) bool { return name == path || name == path+"-wal" }
	syncing := map[string]string{} // by thread
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 2<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := traceWrite.FindStringSubmatch(line); m != nil {
			if name := string(unhex(t, m[1])); ours(name) {
				at, _ := strconv.ParseInt(m[4], 10, 64)
				changes = append(changes, change{file: name, data: unhex(t, m[2]), at: at})
			}
		} else if m := traceCut.FindStringSubmatch(line); m != nil {
			if name := string(unhex(t, m[1])); ours(name) {
				at, _ := strconv.ParseInt(m[2], 10, 64)
				changes = append(changes, change{file: name, at: at, cut: true})
			}
		} else if m := traceSync.FindStringSubmatch(line); m != nil {
			name := string(unhex(t, m[2]))
			if strings.Contains(line, "<unfinished") {
				syncing[m[1]] = name
			} else if ours(name) {
				changes = append(changes, change{file: name})
			}
		} else if m := traceDone.FindStringSubmatch(line); m != nil {
			if name := syncing[m[1]]; ours(name) {
				changes = append(changes, change{file: name})
			}
		} else if m := traceSaid.FindStringSubmatch(line); m != nil {
			n, err := strconv.Atoi(strings.TrimSpace(string(unhex(t, m[1]))))
			if err != nil {
				t.Fatalf("the child says %q", unhex(t, m[1]))
			}
			changes = append(changes, change{acked: n})
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return changes
}

// disk is what files hold for sure, and what was changed since their last
// sync.
type disk struct {
	durable map[string][]byte
	pending map[string][]change
}

// apply carries a change out.
func (d disk) apply(c change) {
	switch {
	case c.file == "":
	case c.data == nil && !c.cut:
		for _, p := range d.pending[c.file] {
			d.durable[c.file] = changed(d.durable[c.file], p)
		}
		delete(d.pending, c.file)
	default:
		d.pending[c.file] = append(d.pending[c.file], c)
	}
}

// changed returns b after a write or cut.
func changed(b []byte, c change) []byte {
	end := c.at + int64(len(c.data))
	if c.cut && int64(len(b)) > c.at {
		return b[:c.at]
	}
	if int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	copy(b[c.at:], c.data)
	return b
}

// after returns what files hold after a power cut: of each change since the
// last sync those sectors that the disk happened to have written.
func (d disk) after(keep func() bool) map[string][]byte {
	const sector = 512
	files := map[string][]byte{}
	for name, b := range d.durable {
		files[name] = append([]byte(nil), b...)
	}
	for name, cs := range d.pending {
		b := files[name]
		for _, c := range cs {
			if c.cut {
				if keep() {
					b = changed(b, c)
				}
				continue
			}
			for at := 0; at < len(c.data); at += sector {
				if keep() {
					part := c.data[at:min(at+sector, len(c.data))]
					b = changed(b, change{data: part, at: c.at + int64(at)})
				}
			}
		}
		files[name] = b
	}
	return files
}

// TestPowerCut records every write, cut and sync that the program makes while
// it stores, seals, sums up and moves its log, and while it migrates, and has
// the power fail between any two of them: the file opens, nothing that was
// acknowledged is lost, nothing is wrong with the rest.
func TestPowerCut(t *testing.T) {
	t.Run("storing", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		s, err := openCut(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.AddDevice(context.Background(), gateway.Device{Alias: "a"})
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		cutEverywhere(t, "store", path, 100)
	})
	t.Run("migrating", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		s := openWith(t, path, ours(t, 1))
		_, err := s.w.Exec(`INSERT INTO device (uuid, alias, alias_key, description, dialect, topic,
			role, room, icon, tags, schedule, created_ms, version)
			VALUES ('u','a','a','','','','consumer','','','[]','{}',0,1)`)
		if err == nil {
			err = plainAppend(s, cutReadings(0, 3000))
		}
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		cutEverywhere(t, "open", path, 50)
	})
}

// cutEverywhere runs a child on the database at path and looks at it after
// about most power cuts. What is there before is acknowledged.
func cutEverywhere(t *testing.T, task, path string, most int) {
	rnd := rand.New(rand.NewPCG(1, uint64(most)))
	d := disk{map[string][]byte{}, map[string][]change{}}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d.durable[path] = before
	changes := record(t, task, path)
	acked, cuts, syncs := 0, 0, 0
	if task == "open" {
		acked = 3000
	}
	for i, c := range changes {
		d.apply(c)
		acked = max(acked, c.acked)
		isSync := c.file != "" && c.data == nil && !c.cut
		if isSync {
			syncs++
		}
		next := i+1 < len(changes) && changes[i+1].file != "" && changes[i+1].data == nil
		// Around syncs is where it matters; of the rest as many as there is time for.
		if !(isSync || next || c.file == "") && rnd.IntN(len(changes)) > most {
			continue
		}
		cuts++
		share := []int{0, 50, 90, 100}[rnd.IntN(4)]
		lookAfterCut(t, d.after(func() bool { return rnd.IntN(100) < share }), path, acked, cuts%8 == 0,
			fmt.Sprintf("cut %d of %d, %d %% of what was not synced", i, len(changes), share))
	}
	if cuts < most/2 || syncs < 5 {
		t.Errorf("%d cuts at %d changes with %d syncs", cuts, len(changes), syncs)
	}
	t.Logf("%d power cuts at %d changes, of them %d syncs", cuts, len(changes), syncs)
}

// lookAfterCut opens what a cut left and compares it with what was stored;
// closely, it looks at all the rest, too.
func lookAfterCut(
	t *testing.T, files map[string][]byte, path string, acked int, closely bool, what string,
) {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "cut")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, b := range files {
		err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	s, err := openCut(filepath.Join(dir, filepath.Base(path)))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() { _ = s.Close() }()
	ctx := context.Background()
	n := 0
	err = s.Scan(ctx, 1, 0, cutNow, func(rs []gateway.Reading) error {
		for i, want := range cutReadings(n, len(rs)) {
			if got := rs[i]; got.At != want.At || got.Power != want.Power || got.Energy != want.Energy {
				return fmt.Errorf("reading %d is %+v, want %+v", n+i, rs[i], want)
			}
		}
		n += len(rs)
		return nil
	})
	if err != nil || n < acked {
		t.Errorf("%s: %d readings, %d were acknowledged: %v", what, n, acked, err)
	}
	if !closely { // that takes its time
		return
	}
	if err := s.Check(ctx); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
