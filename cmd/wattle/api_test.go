package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/wattle-home/wattle/gateway/api"
)

// operations reads the operations of the document: method and path to the
// operation's id.
func operations(t *testing.T) map[string]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	unmarshal(t, api.OpenAPI(), &doc)
	out := map[string]string{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			out[strings.ToUpper(method)+" "+path] = op.OperationID
		}
	}
	return out
}

func TestAPI_documentNamesEveryRoute(t *testing.T) {
	g := startGateway(t)
	got := map[string]string{}
	for _, r := range g.d.api.Operations() {
		got[r.Method+" "+r.Path] = r.ID
	}
	want := operations(t)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("the document has %s as %q, the router as %q", key, want[key], got[key])
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("the router has %s, the document does not", key)
		}
	}
}

func TestAPI_answersAsTheDocumentSays(t *testing.T) {
	g := startGateway(t)
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(api.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: g.http + "/api/v1"}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	lamp := g.addDevice("Lamp", "native", "lamp")
	dev := fmt.Sprintf("/devices/%d", lamp.ID)
	now := time.Now().UTC()
	span := "from=" + now.Add(-time.Hour).Format(time.RFC3339) + "&to=" + now.Add(time.Hour).Format(time.RFC3339)
	seen := map[string]bool{}
	// Each row is sent as it stands, in this order.
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/openapi.json", "", 200},
		{"GET", "/session", "", 200},
		{"GET", "/household", "", 200},
		{"GET", "/devices", "", 200},
		{"POST", "/devices", `{"alias":"Heater","dialect":"tasmota","room":"Bath","tags":["warm"]}`, 201},
		{"POST", "/devices", `{"alias":"Heater"}`, 409},
		{"GET", dev, "", 200},
		{"GET", "/devices/999", "", 404},
		{"PATCH", dev, `{"room":"Hall","relay":null}`, 200},
		{"POST", dev + "/credential", "", 201},
		{"POST", "/devices/999/credential", "", 404},
		{"POST", "/devices", `{"alias":"Fan","dialect":""}`, 201},
		{"POST", "/devices/3/credential", "", 409},
		{"PATCH", "/devices/3", `{"dialect":"native"}`, 200},
		{"POST", dev + "/readings", `[{"power_w":5},{"power_w":7,"time":"2026-01-02 03:04:05"},{"power_w":1,"time":5}]`, 200},
		{"GET", dev + "/readings?per_page=1", "", 200},
		{"GET", dev + "/series?step=5m&" + span, "", 200},
		{"GET", "/series?" + span, "", 200},
		{"POST", dev + "/commands", `{"action":"on"}`, 202},
		{"GET", dev + "/schedule", "", 200},
		{"PUT", dev + "/schedule", `{"schedule":[{"from":"08:00","to":"11:00","days":["mon"]}]}`, 200},
		{"GET", dev + "/occurrences?" + span, "", 200},
		{"GET", dev + "/wanted", "", 200},
		{"POST", "/household/startup", `{}`, 202},
		{"POST", "/household/shutdown", `{}`, 202},
		{"GET", "/events?per_page=3", "", 200},
		{"POST", "/members", `{"name":"anna","role":"owner","password":"correct horse"}`, 201},
		{"GET", "/members", "", 200},
		{"POST", "/login", `{"username":"anna","password":"correct horse"}`, 204},
		{"POST", "/login", `{"username":"anna","password":"wrong horse"}`, 401},
		{"PUT", "/members/anna/password", `{"password":"another horse"}`, 204},
		{"DELETE", "/members/anna", "", 409},
		{"POST", "/tokens", `{"name":"script","role":"viewer","expires":"720h"}`, 201},
		{"GET", "/tokens", "", 200},
		{"DELETE", "/tokens/script", "", 204},
		{"POST", "/credentials", `{"name":"hub","kind":"client","topics":["#"],"access":"read"}`, 201},
		{"GET", "/credentials", "", 200},
		{"DELETE", "/credentials/hub", "", 204},
		{"GET", "/exports", "", 200},
		{"POST", "/database/check", "", 200},
		{"POST", "/database/compact", "", 200},
		{"POST", "/logout", "", 204},
		{"DELETE", dev, "", 204},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, g.http+"/api/v1"+c.path,
				strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			req.Header.Set("Authorization", "Bearer "+g.token)
			route, params, err := router.FindRoute(req)
			if err != nil {
				t.Fatal(err)
			}
			seen[route.Method+" "+route.Path] = true
			in := &openapi3filter.RequestValidationInput{
				Request: req, PathParams: params, Route: route,
				Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
			}
			if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
				t.Errorf("the request is not as the document says: %v", err)
			}
			req.Body = io.NopCloser(strings.NewReader(c.body))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Errorf("got %d, want %d: %s", resp.StatusCode, c.status, body)
			}
			out := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header,
				Body:    io.NopCloser(bytes.NewReader(body)),
				Options: &openapi3filter.Options{IncludeResponseStatus: true},
			}
			if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
				t.Errorf("the answer is not as the document says: %v", err)
			}
		})
	}
	// The stream, the two import directions and one lookup have tests of their own.
	elsewhere := []string{"GET /live", "POST /imports", "GET /commands/{id}"}
	for key := range operations(t) {
		if !seen[key] && !slices.Contains(elsewhere, key) {
			t.Errorf("%s was not tried", key)
		}
	}
}

func TestAPI_rights(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	tokens := map[string]string{"none": "", "revoked": "Bearer " + g.newToken("gone", "owner")}
	g.must("DELETE", "/tokens/gone", nil, nil)
	tokens["unknown"] = "Bearer 0123"
	tokens["basic"] = "Basic YTpi"
	rank := map[string]int{"none": 0, "revoked": 0, "unknown": 0, "basic": 0}
	for i, role := range []string{"viewer", "member", "owner"} {
		tokens[role] = "Bearer " + g.newToken("as-"+role, role)
		rank[role] = i + 1
	}
	for _, op := range g.d.api.Operations() {
		if op.Need == "" || op.ID == "getLive" {
			continue
		}
		path := strings.NewReplacer("{id}", fmt.Sprint(lamp.ID), "{name}", "nobody").Replace(op.Path)
		for who, auth := range tokens {
			if who == "owner" {
				continue // would do it
			}
			a := g.doAs(auth, op.Method, "/api/v1"+path, nil)
			want := 0
			switch {
			case rank[who] == 0:
				want = http.StatusUnauthorized
			case rank[who] < rank[string(op.Need)]:
				want = http.StatusForbidden
			}
			if want != 0 && a.status != want {
				t.Errorf("%s %s as %s: got %d, want %d", op.Method, op.Path, who, a.status, want)
			}
			if want == 0 && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden) {
				t.Errorf("%s %s as %s: got %d", op.Method, op.Path, who, a.status)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := g.doAs("", "GET", path, nil); a.status != http.StatusOK {
			t.Errorf("%s without credentials: %d", path, a.status)
		}
	}
	if a := g.doAs("", "GET", "/api/v1/nothing", nil); a.status != http.StatusUnauthorized {
		t.Errorf("an unknown address without credentials: %d, want 401", a.status)
	}
	if a := g.do("GET", "/api/v1/nothing", nil); a.status != http.StatusNotFound {
		t.Errorf("an unknown address: %d, want 404", a.status)
	}
	if a := g.do("PUT", "/api/v1/devices", nil); a.status != http.StatusMethodNotAllowed {
		t.Errorf("a wrong method: %d, want 405", a.status)
	}
}

func TestAPI_expiredToken(t *testing.T) {
	g := startGateway(t)
	var out struct{ Token string }
	g.must("POST", "/tokens", map[string]string{"name": "short", "role": "owner", "expires": "1ms"}, &out)
	eventually(t, "the token to expire", func() bool {
		return g.doAs("Bearer "+out.Token, "GET", "/api/v1/session", nil).status == http.StatusUnauthorized
	})
}

func TestAPI_badInput(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	dev := fmt.Sprintf("/devices/%d", lamp.ID)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		field                    string
	}{
		{"unknown field", "POST", "/devices", `{"alias":"X","colour":"red"}`, 400, "colour"},
		{"wrong type", "POST", "/devices", `{"alias":7}`, 400, "alias"},
		{"no alias", "POST", "/devices", `{"dialect":"native"}`, 400, "alias"},
		{"unknown dialect", "POST", "/devices", `{"alias":"X","dialect":"morse"}`, 400, "dialect"},
		{"wildcard in topic", "POST", "/devices", `{"alias":"X","topic":"a/#"}`, 400, "topic"},
		{"global as topic", "POST", "/devices", `{"alias":"X","topic":"global"}`, 400, "topic"},
		{"control characters", "POST", "/devices", `{"alias":"a\u0007b"}`, 400, "alias"},
		{"turned direction", "POST", "/devices", `{"alias":"a\u202eb"}`, 400, "alias"},
		{"bad role", "PATCH", dev, `{"role":"toaster"}`, 400, "role"},
		{"own parent", "PATCH", dev, fmt.Sprintf(`{"parent_id":%d}`, lamp.ID), 400, "parent_id"},
		{"bad relay", "PATCH", dev, `{"relay":{"line":"gpiochip0:1","safe":"maybe"}}`, 400, "relay.safe"},
		{"relay of a wrong type", "PATCH", dev, `{"relay":{"line":4}}`, 400, "relay.line"},
		{"relay that is none", "PATCH", dev, `{"relay":"gpiochip0:4"}`, 400, "relay"},
		{"unknown field of a relay", "PATCH", dev, `{"relay":{"line":"gpiochip0:4","colour":"red"}}`, 400, "relay.colour"},
		{"parent of a wrong type", "PATCH", dev, `{"parent_id":"hall"}`, 400, "parent_id"},
		{"parent of nobody", "PATCH", dev, `{"parent_id":77}`, 400, "parent_id"},
		{"no JSON", "POST", "/devices", `{`, 400, "body"},
		{"two values", "POST", "/devices", `{"alias":"A"}{}`, 400, "body"},
		{"empty", "POST", "/devices", ` `, 400, "body"},
		{"a number as readings", "POST", dev + "/readings", `7`, 400, "body"},
		{"broken date", "GET", dev + "/readings?from=yesterday", "", 400, "from"},
		{"reversed span", "GET", dev + "/readings?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", 400, "to"},
		{"page too large", "GET", dev + "/readings?per_page=10001", "", 400, "per_page"},
		{"page too far", "GET", dev + "/readings?per_page=10000&page=214749", "", 400, "page"},
		{"page of events too far", "GET", "/events?per_page=2&page=1073741824", "", 400, "page"},
		{"page of more than 31 bits", "GET", dev + "/readings?per_page=1&page=2147483648", "", 400, "page"},
		{"unknown parameter", "GET", dev + "/readings?colour=red", "", 400, "colour"},
		{"no span", "GET", dev + "/series", "", 400, "from"},
		{"bad step", "GET", dev + "/series?from=1700000000&to=1700003600&step=2m", "", 400, "step"},
		{"unknown action", "POST", dev + "/commands", `{"action":"explode"}`, 400, "action"},
		{"no state", "POST", dev + "/commands", `{"action":"power_state"}`, 400, "power_state"},
		{"bad state", "POST", dev + "/commands", `{"action":"power_state","power_state":"D9"}`, 400, "power_state"},
		{"bad schedule", "PUT", dev + "/schedule", `{"schedule":[{"from":"25:00","to":"08:00"}]}`, 400, "schedule[0].from"},
		{"empty interval", "PUT", dev + "/schedule", `{"schedule":[{"from":"08:00","to":"08:00"}]}`, 400, "schedule[0].to"},
		{"short password", "POST", "/members", `{"name":"b","role":"owner","password":"short"}`, 400, "password"},
		{"bad member role", "POST", "/members", `{"name":"b","role":"king","password":"correct horse"}`, 400, "role"},
		{"name with a slash", "POST", "/members", `{"name":"a/b","role":"owner","password":"correct horse"}`, 400, "name"},
		{"wide write", "POST", "/credentials", `{"name":"x","kind":"client","topics":["#"],"access":"write"}`, 400, "topics[0]"},
		{"unknown id", "GET", "/devices/77", "", 404, ""},
		{"id that is no number", "GET", "/devices/abc", "", 404, ""},
		{"too large", "POST", dev + "/readings", "[" + strings.Repeat(" ", 2<<20) + "]", 413, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in any
			if c.body != "" {
				in = c.body
			}
			a := g.do(c.method, "/api/v1"+c.path, in)
			if a.status != c.status {
				t.Fatalf("got %d, want %d: %s", a.status, c.status, a.body)
			}
			if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			var p struct {
				Status int
				Errors []struct{ Field, Detail string }
			}
			unmarshal(t, a.body, &p)
			if p.Status != c.status {
				t.Errorf("the document says status %d", p.Status)
			}
			if c.field == "" {
				return
			}
			if !slices.ContainsFunc(p.Errors, func(e struct{ Field, Detail string }) bool { return e.Field == c.field }) {
				t.Errorf("errors %+v do not name %q", p.Errors, c.field)
			}
		})
	}
	for _, path := range []string{
		dev + "/readings?per_page=10000&page=214748", "/events?per_page=1&page=2147483647",
	} {
		var page struct{ Items []any }
		if g.get(path, &page); len(page.Items) != 0 {
			t.Errorf("%s: %d items", path, len(page.Items))
		}
	}
	a := g.do("POST", "/api/v1/devices", nil)
	if a.status != http.StatusUnsupportedMediaType {
		t.Errorf("a body without a type: got %d", a.status)
	}
}

func TestAPI_readingsRejectedByIndex(t *testing.T) {
	g := startGateway(t)
	lamp := g.addDevice("Lamp", "native", "lamp")
	ahead := time.Now().Add(6 * time.Minute).Format(time.RFC3339)
	body := `[{"power_w":1},{"power_w":1e9},{"power_w":2,"time":"1970-01-01T00:00:05Z"},{"power_w":3,"time":"` + ahead +
		`"},{"volts":230},{"energy_wh":-1},"warm",{},{"power_w":4,"time":"2026-02-30T00:00:00Z"},{"power_w":5,"time":1700000000}]`
	var out struct {
		Accepted int
		Rejected []struct {
			Index int
			Error string
		}
	}
	g.must("POST", fmt.Sprintf("/devices/%d/readings", lamp.ID), json.RawMessage(body), &out)
	var rejected []int
	for _, r := range out.Rejected {
		rejected = append(rejected, r.Index)
		if r.Error == "" {
			t.Errorf("item %d has no reason", r.Index)
		}
	}
	if want := []int{1, 2, 3, 4, 5, 6, 7, 8}; out.Accepted != 2 || !slices.Equal(rejected, want) {
		t.Errorf("accepted %d, rejected %v; want 2 and %v", out.Accepted, rejected, want)
	}
	if n := len(g.readings(lamp.ID)); n != 2 {
		t.Errorf("%d readings are stored", n)
	}
}

func TestAPI_foreignHostsAndSites(t *testing.T) {
	g := startGateway(t)
	send := func(change func(*http.Request)) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", g.http+"/api/v1/household/startup",
			strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+g.token)
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("status %d without a policy: %q", resp.StatusCode, csp)
		}
		return resp.StatusCode
	}
	for _, host := range []string{"evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "8.8.8.8", "wattle"} {
		if got := send(func(r *http.Request) { r.Host = host }); got != http.StatusMisdirectedRequest {
			t.Errorf("host %s: got %d, want 421", host, got)
		}
	}
	if got := send(func(r *http.Request) { r.Host = "LOCALHOST:8480" }); got != http.StatusAccepted {
		t.Errorf("own host: got %d", got)
	}
	for name, change := range map[string]func(*http.Request){
		"fetch metadata": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"sibling site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"origin":         func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
	} {
		if got := send(change); got != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", name, got)
		}
	}
}
