package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/eclipse/paho.golang/paho"

	"github.com/wattle-home/wattle/gateway"
)

// browser starts Debian's chromium with an empty profile. What the page
// complains of on the console fails the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("/usr/bin/chromium"),
		chromedp.Flag("headless", "new"), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1280, 900),
	)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	ctx, stopAllocator := chromedp.NewExecAllocator(ctx, opts...)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(func() { stop(); stopAllocator(); cancel() })
	var mu sync.Mutex
	chromedp.ListenTarget(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw %s", e.ExceptionDetails.Error())
		case *log.EventEntryAdded:
			// A failed login shows as a failed request; that is no fault of the page.
			if e.Entry.Level == log.LevelError && !strings.Contains(e.Entry.Text, "401") {
				t.Errorf("the console says %s (%s)", e.Entry.Text, e.Entry.URL)
			}
		}
	})
	if err := chromedp.Run(ctx, log.Enable()); err != nil {
		t.Fatalf("starting chromium (`make deps` installs it): %v", err)
	}
	return ctx
}

// see waits until the text of an element says want.
func see(t *testing.T, ctx context.Context, selector, want string) {
	t.Helper()
	got := ""
	deadline := time.Now().Add(60 * time.Second)
	for time.Now().Before(deadline) {
		err := chromedp.Run(ctx, chromedp.Text(selector, &got, chromedp.ByQuery))
		if err == nil && strings.Contains(got, want) {
			return
		}
		pause()
	}
	t.Fatalf("%s says %q, want %q", selector, got, want)
}

// plug is a native device that this test plays itself.
type plug struct {
	t      *testing.T
	client *paho.Client
	topic  string
}

// newPlug connects; it obeys each command at once and reports its state.
func newPlug(t *testing.T, g *testGateway, d deviceJSON) *plug {
	t.Helper()
	p := &plug{t: t, topic: "wattle/" + d.Topic}
	p.client = connectPaho(t, g.mqtt, d.MQTT.Username, d.MQTT.Password, paho.ClientConfig{
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(r paho.PublishReceived) (bool, error) {
				on := strings.Contains(string(r.Packet.Payload), `"startup"`)
				go p.send("/state", fmt.Sprintf(`{"on":%v}`, on)) // not in the reader's way
				return true, nil
			},
		},
	})
	if _, err := p.client.Subscribe(t.Context(), &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: p.topic + "/set", QoS: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// send publishes and waits for the acknowledgement.
func (p *plug) send(topic, payload string) {
	resp, err := p.client.Publish(p.t.Context(), &paho.Publish{
		QoS: 1, Topic: p.topic + topic, Payload: []byte(payload),
	})
	if p.t.Context().Err() != nil {
		return // the test is over; nobody waits for this
	}
	if err != nil || resp.ReasonCode != 0 {
		p.t.Errorf("publishing %s: %v %+v", topic, err, resp)
	}
}

func TestBrowser_loginLiveSwitch(t *testing.T) {
	g := startGateway(t)
	g.must("POST", "/members", map[string]string{
		"name": "anna", "role": "owner", "password": "correct horse",
	}, nil)
	d := g.addDevice("Heater <b>&amp;", "native", "heater")
	p := newPlug(t, g, d)
	p.send("/state", `{"on":false}`)
	p.send("/reading", `{"power_w":123}`)

	ctx := browser(t)
	row := fmt.Sprintf("li.row[data-device='%d']", d.ID)
	err := chromedp.Run(ctx,
		chromedp.Navigate(g.http+"/"),
		chromedp.WaitVisible("#login", chromedp.ByQuery),
		chromedp.SendKeys("#username", "anna", chromedp.ByQuery),
		chromedp.SendKeys("#password", "wrong horse", chromedp.ByQuery),
		chromedp.Click("#login button[type=submit]", chromedp.ByQuery),
	)
	if err != nil {
		t.Fatal(err)
	}
	see(t, ctx, "#login .fault", "wrong")
	err = chromedp.Run(ctx,
		chromedp.SendKeys("#password", "correct horse", chromedp.ByQuery),
		chromedp.Click("#login button[type=submit]", chromedp.ByQuery),
		chromedp.WaitVisible(row, chromedp.ByQuery),
	)
	if err != nil {
		t.Fatal(err)
	}
	see(t, ctx, row+" .name", "Heater <b>&amp;") // a name stays text
	see(t, ctx, row+" .watts", "123 W")
	p.send("/reading", `{"power_w":1480}`)
	see(t, ctx, row+" .watts", "1480 W")

	if err := chromedp.Run(ctx, chromedp.Click(row+" button.switch", chromedp.ByQuery)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device to be on", func() bool { return g.state(d.ID).On })
	eventually(t, "the switch to show that the device is on", func() bool {
		var state string
		var ok bool
		err := chromedp.Run(ctx, chromedp.AttributeValue(row+" button.switch", "data-state", &state, &ok, chromedp.ByQuery))
		if err != nil {
			t.Fatal(err)
		}
		return state == "on"
	})
	var path string
	if err := chromedp.Run(ctx,
		chromedp.Click(row+" .name", chromedp.ByQuery),
		chromedp.WaitVisible("canvas", chromedp.ByQuery),
		chromedp.Location(&path),
	); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("/ui/devices/%d", d.ID); !strings.HasSuffix(path, want) {
		t.Errorf("the page of the device is %s", path)
	}
	if s := g.state(d.ID); s.Power != 1480*gateway.Watt {
		t.Errorf("the gateway has %v", s.Power)
	}
}
