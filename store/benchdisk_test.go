package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
	"github.com/wattle-home/wattle/store/household"
)

// loopDisk is a block device of its own with an ext4 file system.
type loopDisk struct {
	dir    string // where it is mounted
	device string // such as loop0
}

// newLoopDisk makes a loop device and mounts it. It needs root.
func newLoopDisk(b *testing.B) loopDisk {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("loop devices need root")
	}
	dir := b.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	run := func(name string, args ...string) string {
		b.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			b.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("truncate", "-s", "512M", image)
	run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	if err := os.Mkdir(mount, 0o700); err != nil {
		b.Fatal(err)
	}
	device := run("losetup", "--find", "--show", image)
	b.Cleanup(func() { run("losetup", "--detach", device) })
	run("mount", device, mount)
	b.Cleanup(func() { run("umount", mount) })
	return loopDisk{dir: mount, device: filepath.Base(device)}
}

// written returns how many bytes were ever written to the device, after what
// the kernel still holds.
func (d loopDisk) written(b *testing.B) float64 {
	b.Helper()
	if out, err := exec.Command("sync", "--file-system", d.dir).CombinedOutput(); err != nil {
		b.Fatalf("sync: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join("/sys/block", d.device, "stat"))
	if err != nil {
		b.Fatal(err)
	}
	var sectors float64
	if _, err := fmt.Sscan(strings.Fields(string(text))[6], &sectors); err != nil {
		b.Fatal(err)
	}
	return sectors * 512
}

// BenchmarkStore_disk counts what the block device below an ext4 file system
// is made to write for each reading of a household, with the sealing of the
// days and all: in commits of what comes with QoS 0 in five seconds, and of
// what comes with QoS 1 in one. Maintain runs each hour, as in the program.
func BenchmarkStore_disk(b *testing.B) {
	for _, size := range []int{15, 3} {
		b.Run(fmt.Sprintf("commit=%d", size), func(b *testing.B) {
			disk := newLoopDisk(b)
			clock := household.Start.Time()
			s, err := store.Open(context.Background(), store.Config{
				Path: filepath.Join(disk.dir, "wattle.db"), Now: func() time.Time { return clock },
			})
			if err != nil {
				b.Fatal(err)
			}
			addDevices(b, s, household.Plugs)
			before := disk.written(b)
			const hours = 30
			h, n, next := household.New(60), 0, household.Start+gateway.Hour
			batch := make([]gateway.Reading, size)
			for next <= household.Start+hours*gateway.Hour {
				for i := range batch {
					batch[i] = h.Next()
				}
				if err := s.Append(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
				n += size
				if at := batch[size-1].At; at >= next {
					clock, next = at.Time(), next+gateway.Hour
					if err := s.Maintain(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric((disk.written(b)-before)/float64(n), "B/reading")
			b.ReportMetric(float64(b.Elapsed().Microseconds())*float64(size)/float64(n), "µs/commit")
			b.ReportMetric(0, "ns/op")
		})
	}
}
