package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/wattle-home/wattle/gateway"
)

// leastPause is the shortest real time between two messages of an appliance:
// at a high speed a device stays within what a broker lets one say.
const leastPause = 100 * time.Millisecond

// mostReadings is how many readings a native device puts into one message.
const mostReadings = 200

// Simulation says what Simulate does.
type Simulation struct {
	Broker    string     // as Options.Broker
	Household *Household // must not be nil
	// Credential gives each appliance its user name and password; nil means
	// none, for a broker that asks for none.
	Credential func(a Appliance) (username, password string)
	// Broadcast is the topic on which all native devices of a member take
	// commands; "" for none.
	Broadcast string
	// From is the instant of the household at which the simulation begins; the
	// zero value means now, or a day before if Speed is above 1. It is a moment
	// in the past: once the household has caught up with the present it lives
	// on in real time.
	From time.Time
	// Speed is how many seconds of the household pass in one; 0 means 1.
	Speed float64
	// Step is the household's time between two readings; 0 means 10 seconds.
	Step   time.Duration
	Logger *slog.Logger     // must not be nil
	Now    func() time.Time // the wall clock; nil means time.Now
}

// Simulate lets the appliances of a household publish, each as an MQTT client
// of its own, in the words of its family, and obey the commands that they get.
// It returns nil when ctx has ended and every appliance said goodbye, or an
// error that names the appliance when the settings are wrong or the broker
// does not let one in.
//
// At a Speed above 1 native readings carry the household's time; families
// that leave the time to the gateway say what they draw at that moment, and
// their counters rise by what it amounts to in real time.
func Simulate(ctx context.Context, cfg Simulation) error {
	if err := cfg.check(); err != nil {
		return err
	}
	clock := &houseClock{began: cfg.Now(), from: cfg.From, speed: cfg.Speed}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		errs = make([]error, len(cfg.Household.Appliances()))
	)
	for i, a := range cfg.Household.Appliances() {
		wg.Go(func() {
			if err := cfg.run(ctx, i, a, clock); err != nil {
				errs[i] = fmt.Errorf("simulating %s: %w", a.Alias, err)
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// check fills in what was left out and says what is wrong.
func (cfg *Simulation) check() error {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Speed == 0 {
		cfg.Speed = 1
	}
	if !(cfg.Speed > 0 && cfg.Speed <= 1e6) {
		return gateway.Invalidf("speed %g: want more than 0, up to a million", cfg.Speed)
	}
	if cfg.Step == 0 {
		cfg.Step = 10 * time.Second
	}
	if cfg.Step < time.Second {
		return gateway.Invalidf("step %s: want a second or more", cfg.Step)
	}
	now := cfg.Now()
	if cfg.From.IsZero() {
		cfg.From = now
		if cfg.Speed > 1 {
			cfg.From = now.Add(-24 * time.Hour)
		}
	}
	if cfg.From.After(now) {
		return gateway.Invalidf("from %s: is in the future, and nothing can be measured there yet",
			cfg.From.Format(time.RFC3339))
	}
	if gateway.InstantOf(cfg.From) < gateway.EarliestReading {
		return gateway.Invalidf("from %s: is before 2000", cfg.From.Format(time.RFC3339))
	}
	return nil
}

// houseClock tells the time in the household.
type houseClock struct {
	began time.Time // when the simulation began
	from  time.Time // and what the household's clock showed then
	speed float64
}

// at returns what the household's clock shows at now; never more than now.
func (c *houseClock) at(now time.Time) time.Time {
	passed := float64(now.Sub(c.began)) * c.speed
	if left := now.Sub(c.from); passed >= float64(left) {
		return now
	}
	return c.from.Add(time.Duration(passed))
}

// pause returns how long after now the household's clock shows t.
func (c *houseClock) pause(t, now time.Time) time.Duration {
	house := c.at(now)
	if !house.Before(now) {
		return t.Sub(now)
	}
	return time.Duration(float64(t.Sub(house)) / c.speed)
}
