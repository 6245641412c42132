package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// run calls a program of systemd and returns all that it said.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is missing; `make deps` installs it", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unit returns the unit as it is shipped.
func unit(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("wattle.service")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// place writes a unit into a directory of its own and returns its path.
func place(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "wattle.service")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// startable returns the unit with a program that this machine has.
func startable(t *testing.T) string {
	t.Helper()
	u := unit(t)
	if n := strings.Count(u, "ExecStart=/usr/bin/wattle "); n != 1 {
		t.Fatalf("the unit starts /usr/bin/wattle %d times, want once", n)
	}
	return strings.Replace(u, "/usr/bin/wattle ", "/bin/true ", 1)
}

func TestUnit_verifies(t *testing.T) {
	out, err := run(t, "systemd-analyze", "verify", "--man=no", place(t, startable(t)))
	if err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// The same check sees a fault.
	bad := startable(t) + "\nWatchdogSec=soon\n[Servic]\n"
	if out, _ := run(t, "systemd-analyze", "verify", "--man=no", place(t, bad)); out == "" {
		t.Error("systemd-analyze verify says nothing about a broken unit")
	}
}

func TestUnit_sandbox(t *testing.T) {
	const most = "--threshold=15" // 1.5 of 10
	out, err := run(t, "systemd-analyze", "security", "--offline=yes", "--no-pager", most,
		place(t, unit(t)))
	if err != nil {
		t.Errorf("the sandbox is weaker than promised: %v\n%s", err, out)
	}
	open := strings.Replace(unit(t), "NoNewPrivileges=yes", "", 1)
	open = strings.Replace(open, "CapabilityBoundingSet=", "", 1)
	if out, err := run(t, "systemd-analyze", "security", "--offline=yes", "--no-pager", most,
		place(t, open)); err == nil {
		t.Errorf("a unit with all capabilities passes too:\n%s", out)
	}
}

// What the unit promises beyond what the tools judge.
func TestUnit_promises(t *testing.T) {
	u := unit(t)
	for _, want := range []string{
		"Type=notify", "WatchdogSec=30", "Restart=always", "MemoryMax=128M", "TasksMax=128",
		"StateDirectory=wattle", "StateDirectoryMode=0700", "CapabilityBoundingSet=",
		"DeviceAllow=char-gpiochip rw", "User=wattle",
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(want) + `$`).MatchString(u) {
			t.Errorf("the unit lacks the line %s", want)
		}
	}
}

func TestUnit_eachHardeningLineIsExplained(t *testing.T) {
	_, hardening, ok := strings.Cut(unit(t), "# What follows takes away")
	if !ok {
		t.Fatal("the part of the unit that hardens is not found")
	}
	hardening, _, _ = strings.Cut(hardening, "\n[Install]")
	lines := strings.Split(hardening, "\n")[1:]
	n := 0
	for i, l := range lines {
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		n++
		if !strings.HasPrefix(lines[i-1], "#") {
			t.Errorf("%s stands without a comment", l)
		}
	}
	if n < 20 {
		t.Errorf("%d lines harden, want 20 at least", n)
	}
}

func TestSysusers_accepted(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf, err := filepath.Abs("wattle.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "systemd-sysusers", "--root="+root, conf); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passwd, err := os.ReadFile(filepath.Join(root, "etc", "passwd"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(passwd, []byte(":/var/lib/wattle:")) {
		t.Errorf("no user whose home is /var/lib/wattle in\n%s", passwd)
	}
	group, err := os.ReadFile(filepath.Join(root, "etc", "group"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^gpio:x:\d+:wattle$`).Match(group) {
		t.Errorf("the user is not in gpio:\n%s", group)
	}
}

func TestTmpfiles_accepted(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	users, err := filepath.Abs("wattle.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "systemd-sysusers", "--root="+root, users); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile("wattle.tmpfiles")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // only root gives files away
		text = regexp.MustCompile(`(root|wattle) +(gpio|wattle) +-`).ReplaceAll(text, []byte("- - -"))
	}
	conf := filepath.Join(t.TempDir(), "wattle.conf")
	if err := os.WriteFile(conf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, "systemd-tmpfiles", "--create", "--root="+root, conf); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for dir, want := range map[string]os.FileMode{"var/lib/wattle": 0o700, "etc/wattle": 0o750} {
		fi, err := os.Stat(filepath.Join(root, dir))
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", dir, got, want)
		}
	}
}
