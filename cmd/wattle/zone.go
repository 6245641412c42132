package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// loadZone returns the household's zone: the one named, else the system's
// under its IANA name, else UTC.
func loadZone(name string) (*time.Location, error) {
	if name == "" {
		name = systemZone()
	}
	return time.LoadLocation(name)
}

// systemZone returns the IANA name of the system's zone, or UTC if it has
// none that is known.
func systemZone() string {
	candidates := []string{strings.TrimPrefix(os.Getenv("TZ"), ":")}
	if target, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(target, "zoneinfo/"); ok {
			candidates = append(candidates, name)
		}
	}
	if text, err := os.ReadFile("/etc/timezone"); err == nil {
		candidates = append(candidates, strings.TrimSpace(string(text)))
	}
	for _, name := range candidates {
		if _, err := time.LoadLocation(name); err == nil && name != "" && name != "Local" {
			return name
		}
	}
	return "UTC"
}
