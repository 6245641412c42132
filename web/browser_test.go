package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdp "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/wattle-home/wattle/web"
)

// patience is how long a busy machine may take for what is done at once.
const patience = 60 * time.Second

// chrome is the browser of all tests: started by the first that needs it and
// ended by TestMain.
var chrome struct {
	once sync.Once
	ctx  context.Context
	err  error
}

// browser returns the browser's context, in which tabs are opened.
func browser() (context.Context, error) {
	chrome.once.Do(func() {
		opts := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(patience),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
			chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1280, 900))
		alloc, _ := chromedp.NewExecAllocator(context.Background(), opts...)
		// What chromedp does not know of a newer browser is no fault of ours.
		unknown := chromedp.WithErrorf(func(string, ...any) {})
		chrome.ctx, _ = chromedp.NewContext(alloc, unknown)
		chrome.err = chromedp.Run(chrome.ctx)
	})
	return chrome.ctx, chrome.err
}

// TestMain ends the browser, if one was started.
func TestMain(m *testing.M) {
	code := m.Run()
	if chrome.ctx != nil {
		if err := chromedp.Cancel(chrome.ctx); err != nil {
			fmt.Fprintln(os.Stderr, "ending the browser:", err)
		}
	}
	os.Exit(code)
}

// page is a browser's tab that shows a household.
type page struct {
	t     *testing.T
	house *household
	url   string
	ctx   context.Context

	mu     sync.Mutex
	faults []string // what the browser complained of
}

// show opens a path of a household in a tab; each household has an origin of its
// own, and so nothing of another's is kept. At the end of the test the browser must have had nothing to complain of.
func show(t *testing.T, h *household, path string) *page {
	t.Helper()
	root, err := browser()
	if err != nil {
		t.Fatalf("starting chromium (Debian's package chromium has it): %v", err)
	}
	server := httptest.NewServer(h.handler(web.Options{}))
	ctx, cancel := chromedp.NewContext(root)
	p := &page{t: t, house: h, url: server.URL, ctx: ctx}
	chromedp.ListenTarget(ctx, p.listen)
	t.Cleanup(func() {
		cancel()
		h.drop(true)
		server.Close()
		p.quiet()
	})
	if err := chromedp.Run(ctx, log.Enable()); err != nil {
		t.Fatal(err)
	}
	p.do(cdp.BringToFront(), chromedp.Navigate(server.URL+path))
	return p
}

// listen collects what the browser complains of: faults of scripts, refusals
// by the policy, files that are not there.
func (p *page) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventConsoleAPICalled:
		p.faults = append(p.faults, fmt.Sprintf("console: %s", e.Type))
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		p.faults = append(p.faults, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

// quiet fails the test if the browser complained.
func (p *page) quiet() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		p.t.Errorf("the browser complains: %s", f)
	}
	p.faults = nil
}

// expect forgets complaints with a text in them, which the test provoked, and
// fails on all others.
func (p *page) expect(text string) {
	p.t.Helper()
	p.mu.Lock()
	kept := p.faults[:0]
	for _, f := range p.faults {
		if !strings.Contains(f, text) {
			kept = append(kept, f)
		}
	}
	p.faults = kept
	p.mu.Unlock()
	p.quiet()
}

// do runs actions.
func (p *page) do(actions ...chromedp.Action) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		p.t.Fatal(err)
	}
}

// eval works out an expression in the page, a promise to its end.
func (p *page) eval(expression string, out any) {
	p.t.Helper()
	p.do(chromedp.Evaluate(expression, out, func(e *runtime.EvaluateParams) *runtime.EvaluateParams {
		return e.WithAwaitPromise(true)
	}))
}

// wait waits until an expression is true.
func (p *page) wait(expression string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var ok bool
		p.eval("Boolean("+expression+")", &ok)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			var shown string
			p.eval("document.body.innerText", &shown)
			p.t.Fatalf("it never came that %s; the page shows:\n%s", expression, shown)
		}
		time.Sleep(50 * time.Millisecond) // between two looks; the deadline decides
	}
}

// text reads the text of what a selector finds.
func (p *page) text(selector string) string {
	p.t.Helper()
	var out string
	p.eval(fmt.Sprintf("document.querySelector(%q)?.textContent ?? '(nothing)'", selector), &out)
	return out
}

// click presses what a selector finds.
func (p *page) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// fill types into a field.
func (p *page) fill(selector, value string) {
	p.t.Helper()
	p.eval(fmt.Sprintf("document.querySelector(%q).value = ''", selector), nil)
	p.do(chromedp.SendKeys(selector, value, chromedp.ByQuery))
}

// row selects something in a device's row.
func row(id int, rest string) string { return fmt.Sprintf(`[data-device="%d"] %s`, id, rest) }

// live waits until the page is live.
func (p *page) live() {
	p.t.Helper()
	p.wait(`document.body.dataset.live === "live" && document.querySelector("[data-device]")`)
}

func TestPage_now(t *testing.T) {
	h := newHousehold()
	p := show(t, h, "/")
	p.live()
	p.wait(`document.querySelector(".plot canvas")`)
	if got := p.text(row(1, ".watts")); got != "812 W" {
		t.Errorf("the dishwasher's row has %q", got)
	}
	if got := p.text("#total"); got != "1.13 kW" {
		t.Errorf("the house has %q", got)
	}
	if got := p.text(".house .finding"); got != "Dishwasher takes most of it, 812 W." {
		t.Errorf("the finding is %q", got)
	}
	if got := p.text(row(8, ".watts")); got != "–" {
		t.Errorf("a device that does not measure has %q", got)
	}
	h.reading(1, 2040.4)
	p.wait(fmt.Sprintf(`document.querySelector(%q).textContent === "2040 W"`, row(1, ".watts")))
	p.wait(`document.querySelector("#total").textContent === "2.36 kW"`)
	needs := p.text(".needs")
	for _, want := range []string{"Reading lamp", "is not reachable", "Washing machine", "the payload is no JSON"} {
		if !strings.Contains(needs, want) {
			t.Errorf("what needs someone does not have %q: %q", want, needs)
		}
	}
	p.click(".need [data-part=fine]")
	p.click(".need [data-part=fine]")
	p.wait(`document.querySelector(".needs").textContent.includes("Nothing needs you.")`)
	p.do(chromedp.Reload())
	p.live()
	p.wait(`document.querySelector(".needs").textContent.includes("Nothing needs you.")`)
}

func TestPage_names(t *testing.T) {
	h := newHousehold()
	h.devices[0]["alias"] = `<img src=x onerror="document.title='pwned'"><b>Dish</b> 🍽️`
	h.devices[0]["room"] = `<script>document.title='pwned'</script>`
	h.devices[1]["alias"], h.devices[1]["room"] = wide, wide
	h.devices[2]["alias"] = "ثلاجة المطبخ"
	h.devices[2]["rejected"] = map[string]any{"count": 3, "last_reason": "<i>bad</i> " + wide}
	h.events = append(h.events, h.event("command_failed", 2, "<u>late</u> "+wide, 0))
	p := show(t, h, "/")
	for _, path := range []string{"/", "/ui/devices", "/ui/devices/1", "/ui/devices/2", "/ui/devices/3"} {
		p.do(chromedp.Navigate(p.url + path))
		p.wait(`document.body.dataset.live === "live" && document.querySelector("main h1")`)
		p.wait(`!location.pathname.includes("devices/") || document.querySelector(".bars")`)
		for _, width := range []int64{320, 390, 760, 1280} {
			p.do(emulation.SetDeviceMetricsOverride(width, 800, 1, width < 700))
			p.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))", nil)
			var over string
			p.eval(`[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
				&& e.checkVisibility() && !e.closest(".hidden, .rows .words, .stack, .legend, .plot, .device .words"))
				.map((e) => e.tagName + "." + e.className).join(" ")`, &over)
			if over != "" {
				t.Errorf("%s at %d px: too wide: %s", path, width, over)
			}
			var wide bool
			p.eval("document.documentElement.scrollWidth > innerWidth", &wide)
			if wide {
				t.Errorf("%s at %d px scrolls sideways", path, width)
			}
		}
		var made int
		p.eval(`document.querySelectorAll("main b img, main img, main script, main i, main u, .name b").length`, &made)
		if made != 0 {
			t.Errorf("%s: names have become %d elements", path, made)
		}
		if title := p.text("title"); strings.Contains(title, "pwned") && !strings.Contains(title, "<") {
			t.Errorf("%s: a name has run as script", path)
		}
	}
	p.do(chromedp.Navigate(p.url + "/"))
	p.live()
	if got := p.text(row(1, ".name")); got != h.devices[0]["alias"] {
		t.Errorf("the name is %q", got)
	}
}

func TestPage_switch(t *testing.T) {
	h := newHousehold()
	h.outcome = ""
	p := show(t, h, "/")
	p.live()
	lamp := row(1, "[role=switch]")
	is := func(attribute, value string) {
		t.Helper()
		p.wait(fmt.Sprintf(`document.querySelector(%q).getAttribute(%q) === %q`, lamp, attribute, value))
	}
	is("aria-checked", "true")
	is("aria-label", "Dishwasher")
	p.do(chromedp.Focus(lamp, chromedp.ByQuery), chromedp.KeyEvent(" "))
	is("aria-busy", "true")
	is("aria-checked", "false")
	if got := p.text(row(1, ".does")); got != "Kitchen, switching off…" {
		t.Errorf("meanwhile the row says %q", got)
	}
	end := func(status string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		c := map[string]any{"id": fmt.Sprintf("c%d", h.commands), "device_id": 1, "action": "off", "tries": 3}
		h.finish(c, h.devices[0], status)
	}
	end("failed")
	is("data-state", "failed")
	is("aria-checked", "true")
	const failed = "did not switch off: the device did not answer in 30 s"
	p.wait(fmt.Sprintf(`document.querySelector("#announce").textContent === %q`, "Dishwasher "+failed+"."))
	if got := p.text(row(1, ".does")); got != "Kitchen, "+failed {
		t.Errorf("after the failure the row says %q", got)
	}
	p.wait(`document.querySelector(".need.bad").textContent.includes("did not switch off")`)
	p.click(".need.bad [data-part=again]")
	is("aria-busy", "true")
	end("confirmed")
	is("aria-checked", "false")
	is("data-state", "off")
	p.wait(`document.querySelector("#announce").textContent === "Dishwasher is off."`)
	p.wait(`!document.querySelector(".need.bad")`)

	// What is always on is asked about first.
	p.click(row(4, "[role=switch]"))
	p.wait(`document.querySelector("dialog").textContent.includes("Freezer")`)
	p.click("dialog [value=cancel]")
	p.wait(`!document.querySelector("dialog")`)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.commands != 2 {
		t.Errorf("%d commands were sent, want 2", h.commands)
	}
}

func TestPage_switch_viewer(t *testing.T) {
	h := newHousehold()
	h.role = "viewer"
	p := show(t, h, "/")
	p.live()
	p.wait(fmt.Sprintf(`document.querySelector(%q).getAttribute("aria-disabled") === "true"`, row(1, "[role=switch]")))
	p.click(row(1, "[role=switch]"))
	p.do(chromedp.Navigate(p.url + "/ui/devices"))
	p.live()
	var tools int
	p.eval(`[...document.querySelectorAll("main button")].filter((b) => b.checkVisibility()).length`, &tools)
	if tools != 0 {
		t.Errorf("a viewer is offered %d buttons", tools)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.commands != 0 {
		t.Errorf("a viewer has sent %d commands", h.commands)
	}
}

func TestPage_login(t *testing.T) {
	h := newHousehold()
	h.password = "correct horse"
	p := show(t, h, "/ui/devices")
	p.wait(`document.activeElement.id === "username"`)
	p.fill("#username", "anna")
	p.fill("#password", "wrong")
	p.do(chromedp.KeyEvent("\r"))
	p.wait(`document.querySelector("#login [role=alert]").textContent === "User name or password is wrong."`)
	p.fill("#password", h.password)
	p.do(chromedp.KeyEvent("\r"))
	p.live()
	if got := p.text("main h1"); got != "Devices" {
		t.Errorf("after the login the page shows %q", got)
	}
	h.mu.Lock()
	h.session = false
	h.mu.Unlock()
	h.drop(false)
	p.wait(`document.querySelector("#login")?.closest("section").textContent.includes("Your session has ended.")`)
	var shown string
	p.eval("document.body.innerText", &shown)
	if strings.Contains(shown, "Dishwasher") {
		t.Error("the house is still shown after the session has ended")
	}
	p.fill("#username", "anna")
	p.fill("#password", h.password)
	p.do(chromedp.KeyEvent("\r"))
	p.live()
	p.click("#signout")
	p.wait(`document.querySelector("#login")?.closest("section").textContent.includes("You have signed out.")`)
	p.expect("401")
}

func TestPage_offline(t *testing.T) {
	h := newHousehold()
	p := show(t, h, "/")
	p.live()
	h.drop(true)
	p.wait(`document.body.dataset.live === "lost" && document.querySelector(".notice").checkVisibility()`)
	if got := p.text(".notice"); !strings.Contains(got, "Not live") || !strings.Contains(got, "0 min ago") {
		t.Errorf("the notice says %q", got)
	}
	if got := p.text(row(1, ".watts")); got != "812 W" {
		t.Errorf("the last value is gone: %q", got)
	}
	h.mu.Lock()
	h.refuse = false
	h.devices[0]["power_w"] = 90.0
	h.mu.Unlock()
	p.live()
	p.wait(fmt.Sprintf(`document.querySelector(%q).textContent === "90 W"`, row(1, ".watts")))
	p.wait(`!document.querySelector(".notice").checkVisibility()`)
	p.expect("503")
}

func TestPage_devices(t *testing.T) {
	h := newHousehold()
	p := show(t, h, "/ui/devices")
	p.live()
	p.click("main .head .main")
	p.fill("dialog [name=alias]", "Fridge")
	p.click("dialog [data-part=submit]")
	p.wait(`document.querySelector("dialog [data-for=alias]").textContent === "is taken"`)
	p.fill("dialog [name=alias]", "Second fridge")
	p.click("dialog [data-part=submit]")
	p.wait(`document.querySelector("dialog [name=password]")?.value === "shown-once-7f3a"`)
	if got := p.text("dialog:has([name=password])"); !strings.Contains(got, "wattle/new/reading and wattle/new/state") {
		t.Errorf("the topics are not shown: %q", got)
	}
	p.click("dialog:has([name=password]) .actions button")
	p.wait(`!document.querySelector("dialog")`)
	p.wait(fmt.Sprintf(`document.querySelector(%q)?.textContent === "Second fridge"`, row(10, ".name")))
	var left bool
	p.eval(`document.documentElement.innerHTML.includes("shown-once")`, &left)
	if left {
		t.Error("the password is still in the page")
	}

	p.click(row(10, "[data-part=rename]"))
	p.fill("dialog [name=alias]", "Third fridge")
	p.click("dialog [data-part=submit]")
	p.wait(fmt.Sprintf(`document.querySelector(%q)?.textContent === "Third fridge"`, row(10, ".name")))

	p.click(row(10, "[data-part=remove]"))
	p.do(chromedp.KeyEvent("\x1b"))
	p.wait(`!document.querySelector("dialog")`)
	p.click(row(10, "[data-part=remove]"))
	p.click("dialog [value=yes]")
	p.wait(fmt.Sprintf(`!document.querySelector(%q)`, row(10, "")))
	p.expect("400")
}

func TestPage_device(t *testing.T) {
	p := show(t, newHousehold(), "/")
	p.live()
	p.click(row(4, ".name"))
	p.wait(`location.pathname === "/ui/devices/4" && document.activeElement.textContent === "Freezer"`)
	p.wait(`document.querySelector(".plot canvas") && document.querySelectorAll(".bars li").length === 7`)
	// Yesterday has 40 minutes without data, as has every day of it.
	p.click("[data-part=back]")
	p.wait(`document.querySelector(".chart .finding").textContent.includes("No data from 08:00 to 08:40.")`)
	if got := p.text(".chart .finding"); !strings.HasPrefix(got, "On ") || !strings.Contains(got, "runs of about") {
		t.Errorf("the finding is %q", got)
	}
	p.click("[data-part=toggle]")
	p.wait(`document.querySelectorAll(".table tbody tr").length === 280`)
	if got := p.text(".table tbody tr"); !strings.HasPrefix(got, "00:00") || !strings.HasSuffix(got, "Wh") {
		t.Errorf("the table begins with %q", got)
	}
	p.click("[data-range=week]")
	p.wait(`location.search.startsWith("?range=week") && document.querySelector(".table tbody th").textContent.startsWith("Mon ")`)
	if got := p.text("[data-part=plan]"); !strings.Contains(got, "On 06:30 to 09:00, Monday to Friday.") {
		t.Errorf("the schedule is %q", got)
	}
	p.do(chromedp.NavigateBack())
	p.live()
	p.do(chromedp.Navigate(p.url + "/ui/devices/99"))
	p.wait(`document.querySelector("main h1")?.textContent === "This device is not here"`)
	p.expect("404")
}

func TestPage_empty(t *testing.T) {
	h := newHousehold()
	h.devices, h.events = h.devices[:0], nil
	p := show(t, h, "/")
	p.wait(`document.querySelector(".empty")?.checkVisibility()`)
	if got := p.text(".house .finding"); got != "No device measures anything yet." {
		t.Errorf("the finding is %q", got)
	}
	p.wait(`document.querySelector(".chart .finding").textContent === "No readings today yet."`)
}

func TestScripts_pure(t *testing.T) {
	p := show(t, newHousehold(), "/")
	p.live()
	for _, c := range []struct{ file, expression, want string }{
		{"zone", `new m.Zone("Europe/Berlin").instant(2026, 3, 29, 2, 30)`, `1774747800000`},  // skipped: 01:30 UTC
		{"zone", `new m.Zone("Europe/Berlin").instant(2026, 10, 25, 2, 30)`, `1792888200000`}, // twice: the first, 00:30 UTC
		{"zone", `new m.Zone("America/Santiago").instant(2026, 9, 6)`, `1788667200000`},       // a day that begins at 01:00
		{"zone", `new m.Zone("Asia/Kathmandu").instant(2026, 1, 32)`, `1769883300000`},        // counts on into February
		{"zone", `new m.Zone("Europe/Berlin").day(1774828800000, -1)`, `1774738800000`},       // a day of 23 hours
		{"zone", `new m.Zone("Europe/Berlin").moment("2026-03-29T10:00:00Z", 1774828800000)`, `"Sun 12:00"`},
		{"zone", `new m.Zone("Europe/Berlin").moment("2025-03-29T10:00:00Z", 1774828800000)`, `"29 March 2025"`},
		{"zone", `new m.Zone("No/Where").time(0).length`, `5`},
		{"format", `[812.4, 9999.4, 11240, -0.2, -450, null].map(m.watts)`, `["812 W","9999 W","11.2 kW","0 W","−450 W","–"]`},
		{"format", `[0, 0.004, 0.92, 6.78, 412.3, null].map(m.energy)`, `["0 kWh","4 Wh","0.92 kWh","6.8 kWh","412 kWh","–"]`},
		{"format", `[1140, 812, 12000].map((w) => m.bigWatts(w).join(" "))`, `["1.14 kW","812 W","12.0 kW"]`},
		{"schedule", `m.when({from: "22:00", to: "06:00", days: ["sat", "sun"]})`, `"22:00 to 06:00 the next day, Saturday and Sunday"`},
		{"schedule", `m.scheduleWords({})`, `["It has no schedule: it runs when someone turns it on."]`},
		{"icons", `[["Geschirr", "plug"], ["Dishwasher 2", ""], ["My PC", ""], ["Espresso", "kettle"], ["x", "<b>"]]
			.map(([alias, icon]) => m.pictureOf({alias, icon, role: "consumer"}))`, `["plug","dishwasher","pc","kettle","plug"]`},
		{"series", `m.gaps({from: 0, to: 7200, step: "5m", points: [0, 300, 2400, 2700].map((t) => ({t}))}, 3100)`, `[[600,2400]]`},
		{"series", `m.gaps({from: 0, to: 7200, step: "5m", points: [{t: 0}]}, 7000)`, `[[300,7000]]`},
		{"series", `m.gaps({from: 0, to: 7200, step: "raw", points: [0, 60, 120, 700, 760].map((t) => ({t}))}, 800)`, `[]`},
		{
			"series", `m.columns({from: 0, to: 7200, step: "5m", points: [0, 300, 2400].map((t) => ({t, w: t}))}, 2500, null)`,
			`[[0,300,600,1500,2400,2500],[0,300,300,null,2400,2400]]`,
		},
		{"flows", `(() => { const d = (id, role, power_w, parent_id = null) => ({id, role, power_w, parent_id, online: true});
			const all = new Map([d(1, "grid", 500), d(2, "solar", -800), d(3, "consumer", 900, 1), d(4, "consumer", 300, 3)].map((x) => [x.id, x]));
			const s = m.split(all, 4); return [s.total, s.unknown, s.parts.map((p) => p.device.id)]; })()`, `[1300,400,[3]]`},
		{"flows", `(() => { const all = new Map([[1, {id: 1, role: "grid", power_w: 500, online: false}],
			[2, {id: 2, role: "consumer", power_w: 70, online: true}]]);
			const s = m.split(all, 4); return [s.total, s.silent, s.unknown]; })()`, `[70,true,0]`},
	} {
		var got, want any
		var files string
		p.eval(`document.querySelector("script").src.replace("main.js", "")`, &files)
		p.eval(fmt.Sprintf(`import(%q).then((m) => (%s))`, files+c.file+".js", c.expression), &got)
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.expression, diff)
		}
	}
}
