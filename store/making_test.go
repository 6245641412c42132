package store_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wattle-home/wattle/store"
)

// TestOpen_killedWhileMaking kills a process that makes a file at each write,
// sync and removal that it does, and opens what it left.
func TestOpen_killedWhileMaking(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"fsync", "ftruncate", "unlink", "pwrite64"} {
		kills, step := 0, 1
		for n := 1; ; n += step {
			path := filepath.Join(t.TempDir(), "a.db")
			cmd := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "trace="+call,
				"-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), self)
			cmd.Env = append(os.Environ(), childTask+"=open", childPath+"="+path)
			if out, err := cmd.Output(); err == nil {
				break // it had nothing more to do
			} else if len(out) > 0 {
				t.Fatalf("the child says %q", out)
			}
			kills++
			s, err := store.Open(context.Background(), store.Config{Path: path})
			if err != nil {
				t.Errorf("killed at %s %d: %v", call, n, err)
				continue
			}
			addDevices(t, s, 1)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			// Page size 1024 and incremental vacuum, as of any other file.
			head, err := os.ReadFile(path)
			if err != nil || len(head) < 100 || head[16] != 4 || head[17] != 0 || head[67] != 1 {
				t.Errorf("killed at %s %d: its pages are not as they should be: %v", call, n, err)
			}
			if n > 30 {
				step = 17
			}
		}
		if kills == 0 {
			t.Errorf("no %s was hit", call)
		}
	}
}
