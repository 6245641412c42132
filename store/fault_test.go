package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wattle-home/wattle/gateway"
	"github.com/wattle-home/wattle/store"
)

// Variables that make a process of the test binary a child of a test.
const (
	childTask = "WATTLE_STORE_CHILD" // open or append
	childPath = "WATTLE_STORE_PATH"
)

// nobody is the user that has no rights.
const nobody = 65534

// TestMain runs the tests, or a child's task.
func TestMain(m *testing.M) {
	if os.Getenv(store.CutTask) != "" {
		os.Exit(store.CutChild())
	}
	switch os.Getenv(childTask) {
	case "":
		os.Exit(m.Run())
	case "open":
		os.Exit(childOpen(os.Getenv(childPath)))
	case "persist":
		os.Exit(childPersist(os.Getenv(childPath)))
	case "append":
		os.Exit(childAppend(os.Getenv(childPath)))
	}
	os.Exit(2)
}

// childOpen opens the store and prints what came of it.
func childOpen(path string) int {
	s, err := store.Open(context.Background(), store.Config{Path: path})
	if err != nil {
		fmt.Println(gateway.CodeOf(err), err)
		return 1
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("opened")
	return 0
}

// childAppend appends batches of readings of the first device for ever, from
// the second on that follows those that are there, and prints how many there
// are after each batch that is acknowledged.
func childAppend(path string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, store.Config{Path: path})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	n, err := s.Count(ctx, 1)
	for err == nil {
		size := 1 + int(n%40)
		if err = s.Append(ctx, readingsOf(1, int(n), size)); err == nil {
			n += int64(size)
			_, err = fmt.Println(n)
		}
	}
	fmt.Println(err)
	return 1
}

// TestStore_Append_killed kills a process that appends, again and again. What
// it had acknowledged is there, in the same file, after each.
func TestStore_Append_killed(t *testing.T) {
	const cycles = 50
	path := filepath.Join(t.TempDir(), "a.db")
	s := openAt(t, path)
	addDevices(t, s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for cycle := range cycles {
		acked := killedAppend(t, self, path, 1+cycle*7%20)
		s, err := store.Open(context.Background(), store.Config{Path: path})
		if err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
		got := scanAll(t, s, 1)
		if len(got) < acked {
			t.Fatalf("cycle %d: %d readings, but %d were acknowledged", cycle, len(got), acked)
		}
		for i, want := range readingsOf(1, 0, len(got)) {
			if got[i] != want {
				t.Fatalf("cycle %d: reading %d is %v, want %v", cycle, i, got[i], want)
			}
		}
		if err := errors.Join(s.Check(context.Background()), s.Close()); err != nil {
			t.Fatalf("cycle %d: %v", cycle, err)
		}
	}
}

// killedAppend runs a child that appends, kills it after it acknowledged
// batches batches, and returns how many readings it acknowledged.
func killedAppend(t *testing.T, self, path string, batches int) (acked int) {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childTask+"=append", childPath+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break // a line that was cut acknowledges nothing
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(line, &acked); err != nil {
			t.Fatalf("the child says %q", line)
		}
		if n == batches {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	if acked == 0 {
		t.Fatal("the child acknowledged nothing")
	}
	return acked
}

// TestStore_Append_diskFull fills a small file system, which has no room for a
// reserve.
func TestStore_Append_diskFull(t *testing.T) {
	dir, ok := store.SmallDisk(t, "3m")
	if !ok {
		return
	}
	ctx := context.Background()
	s := openAt(t, filepath.Join(dir, "a.db"))
	id := addDevices(t, s, 1)[0]
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	acked := 0
	var err error
	for err == nil && acked < 1_000_000 {
		if err = s.Append(ctx, readingsOf(id, acked, 256)); err == nil {
			acked += 256
		}
	}
	wantCode(t, err, gateway.CodeUnavailable, "appending readings")
	for range 3 { // it does not get worse
		wantCode(t, s.Append(ctx, readingsOf(id, acked, 5000)), gateway.CodeUnavailable, "full")
	}
	if got := len(scanAll(t, s, id)); got != acked {
		t.Errorf("%d readings, want the %d acknowledged", got, acked)
	}
	backup := filepath.Join(dir, "backup.db")
	wantCode(t, s.Backup(ctx, backup), gateway.CodeUnavailable, "full")
	if _, err := os.Stat(backup); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed backup is left: %v", err)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(ctx, readingsOf(id, acked, 5000)); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if got := len(scanAll(t, s, id)); got != acked+5000 {
		t.Errorf("%d readings, want %d", got, acked+5000)
	}
	if err := s.Check(ctx); err != nil {
		t.Error(err)
	}
}

// TestOpen_noRights has a process without rights open a file that it may not
// write, and one in a directory that it may not write.
func TestOpen_noRights(t *testing.T) {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && len(d) > 1; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self := copySelf(t, dir)
	locked := filepath.Join(dir, "locked") // nobody may make files here
	open := filepath.Join(dir, "open")     // but here
	for d, mode := range map[string]os.FileMode{locked: 0o555, open: 0o777} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
	readOnly := filepath.Join(open, "readonly.db")
	if err := os.WriteFile(readOnly, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, want string }{
		{"file", readOnly, "unavailable opening database"},
		{"file is named", readOnly, "readonly.db"},
		{"what to do", readOnly, "no right to read and write it"},
		{"directory", filepath.Join(locked, "a.db"), "takes no files; check its rights"},
		{"with rights", filepath.Join(open, "a.db"), "opened"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childTask+"=open", childPath+"="+c.path)
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
				}
			}
			out, err := cmd.Output()
			if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if !strings.Contains(string(out), c.want) || strings.Count(string(out), "\n") != 1 {
				t.Errorf("got %q, want one line with %q", out, c.want)
			}
		})
	}
}

// copySelf copies the test binary to a place where everybody may run it.
func copySelf(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "self")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen_modes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // wider than it should be
		t.Fatal(err)
	}
	s := openAt(t, path)
	addDevices(t, s, 1)
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, error %v; want the database, its log and its index", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, error %v; want 0600", f, info.Mode(), err)
		}
	}
}
