// Package config reads the bootstrap settings of the gateway from a file.
//
// It owns the file's format (YAML, strict) and the defaults. It must not know
// what the settings do, and holds no settings that a person changes in the
// page: those are in the database.
//
// Every key has a flag and, where CONTRACT names one, an environment variable,
// too; a flag wins over a variable, and a variable over the file.
package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wattle-home/wattle/gateway"
)

// Config is the settings of `wattle serve`.
type Config struct {
	DataDir    string   `yaml:"data_dir"`    // database and keys
	HTTP       string   `yaml:"http"`        // host:port of REST and dashboard
	MQTT       string   `yaml:"mqtt"`        // host:port of the broker
	Timezone   string   `yaml:"timezone"`    // IANA name; "" for the system's
	Names      []string `yaml:"names"`       // further host names of the gateway
	LogFormat  string   `yaml:"log_format"`  // text or json
	TrustClock bool     `yaml:"trust_clock"` // run schedules with any clock
	Commit     Commit   `yaml:"commit_interval"`
	Rate       Rate     `yaml:"mqtt_rate"`
	Retention  Keep     `yaml:"retention"`
}

// Keep says how long single readings are kept; their sums are for ever.
type Keep struct {
	Days int `yaml:"readings_days"` // 0 for ever
	// Megabytes bound the database; the oldest readings go first. 0 is no bound.
	Megabytes int `yaml:"max_megabytes"`
}

// Commit says how long readings may wait for others, 0 to 10 s.
type Commit struct {
	Acknowledged   time.Duration `yaml:"acknowledged"`   // QoS 1 and 2
	Unacknowledged time.Duration `yaml:"unacknowledged"` // QoS 0
}

// Rate limits what one device may publish; 0 messages a second lifts the limit.
type Rate struct {
	PerSecond float64 `yaml:"per_second"`
	Burst     int     `yaml:"burst"`
}

// DefaultFile is read if it is there and no other is named.
const DefaultFile = "/etc/wattle/wattle.yaml"

// Default returns the settings that hold without a file.
func Default() Config {
	return Config{
		DataDir:   "./wattle-data",
		HTTP:      ":8480",
		MQTT:      ":1883",
		LogFormat: "text",
		Commit:    Commit{Acknowledged: time.Second, Unacknowledged: 5 * time.Second},
		Rate:      Rate{PerSecond: 50, Burst: 200},
		Retention: Keep{Days: 3653, Megabytes: 2000},
	}
}

// Read returns the defaults changed by the file. If name is "" the default
// file is read if there is one.
func Read(name string) (Config, error) {
	cfg := Default()
	optional := name == ""
	if optional {
		name = DefaultFile
	}
	text, err := os.ReadFile(name)
	if optional && errors.Is(err, os.ErrNotExist) {
		return cfg, nil
	}
	if err != nil {
		return cfg, fmt.Errorf("reading the configuration: %w", err)
	}
	if err := parse(text, &cfg); err != nil {
		return cfg, fmt.Errorf("reading the configuration %s: %w", name, err)
	}
	return cfg, nil
}

// parse reads text into cfg, strictly: an unknown or repeated key is a fault.
func parse(text []byte, cfg *Config) error {
	if strings.TrimSpace(string(text)) == "" {
		return nil
	}
	err := yaml.UnmarshalWithOptions(text, cfg, yaml.Strict(), yaml.DisallowUnknownField())
	if err != nil {
		return errors.New(yaml.FormatError(err, false, false))
	}
	return nil
}

// Check returns all faults of c at once, or nil.
func (c Config) Check() error {
	e := &gateway.Error{Code: gateway.CodeInvalid, Message: "the settings are not valid"}
	bad := func(field, format string, args ...any) {
		e.Fields = append(e.Fields, gateway.FieldError{Field: field, Detail: fmt.Sprintf(format,
			args...)})
	}
	if c.DataDir == "" {
		bad("data_dir", "is empty")
	}
	if c.Timezone != "" {
		if _, err := time.LoadLocation(c.Timezone); err != nil {
			bad("timezone", "%q is not the name of a time zone, such as Europe/Berlin", c.Timezone)
		}
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("log_format", "%q is neither text nor json", c.LogFormat)
	}
	for _, iv := range []struct {
		key string
		d   time.Duration
	}{
		{"commit_interval.acknowledged", c.Commit.Acknowledged},
		{"commit_interval.unacknowledged", c.Commit.Unacknowledged},
	} {
		if iv.d < 0 || iv.d > 10*time.Second {
			bad(iv.key, "%v is not between 0s and 10s", iv.d)
		}
	}
	if c.Rate.PerSecond < 0 {
		bad("mqtt_rate.per_second", "%v is negative", c.Rate.PerSecond)
	}
	if c.Rate.Burst < 0 {
		bad("mqtt_rate.burst", "%d is negative", c.Rate.Burst)
	}
	if c.Retention.Days < 0 || c.Retention.Days > 0 && c.Retention.Days < 7 {
		bad("retention.readings_days", "%d is neither 0, for ever, nor 7 or more", c.Retention.Days)
	}
	if c.Retention.Megabytes < 0 || c.Retention.Megabytes > 0 && c.Retention.Megabytes < 50 {
		bad("retention.max_megabytes", "%d is neither 0, no bound, nor 50 or more",
			c.Retention.Megabytes)
	}
	if len(e.Fields) > 0 {
		return e
	}
	return nil
}
