package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/gateway/config"
)

func read(t *testing.T, text string) (config.Config, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "wattle.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Read(name)
}

func TestRead_fileChangesDefaults(t *testing.T) {
	got, err := read(t, `
# the household
data_dir: /srv/wattle
timezone: Europe/Berlin
names: [wattle.fritz.box]
commit_interval:
  acknowledged: 500ms
`)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.DataDir, want.Timezone = "/srv/wattle", "Europe/Berlin"
	want.Names = []string{"wattle.fritz.box"}
	want.Commit.Acknowledged = 500 * time.Millisecond
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Check(); err != nil {
		t.Error(err)
	}
}

func TestRead_faults(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":  {"htttp: :80\n", "htttp"},
		"repeated key": {"http: :80\nhttp: :81\n", "http"},
		"wrong type":   {"names: 7\n", "[1:8]"},
		"no yaml":      {"\t{", "wattle.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to name %q", err, c.want)
			}
		})
	}
	if _, err := config.Read(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a named file that is missing is no fault")
	}
}

func TestConfig_Check_allFaultsAtOnce(t *testing.T) {
	c := config.Default()
	c.Timezone, c.LogFormat, c.Commit.Acknowledged = "Mars/Olympus", "xml", time.Minute
	err := c.Check()
	for _, want := range []string{"Mars/Olympus", "xml", "1m0s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}
