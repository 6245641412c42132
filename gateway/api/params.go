package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/wattle-home/wattle/gateway"
)

// decode reads the JSON body of r into v. Unknown fields, wrong types and
// anything after the value are faults that name the field.
func decode(r *http.Request, v any) error {
	if err := wantJSON(r); err != nil {
		return err
	}
	return decodeStrict(r.Body, v)
}

// readJSON reads a body that says it is JSON, for those who take it apart
// themselves.
func readJSON(r *http.Request) ([]byte, error) {
	if err := wantJSON(r); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, jsonError(err)
	}
	return text, nil
}

// wantJSON refuses a body that does not say it is JSON: what a form or a page
// of another site sends does not.
func wantJSON(r *http.Request) error {
	ct, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || ct != "application/json" {
		return statusError{http.StatusUnsupportedMediaType, "the body must be application/json"}
	}
	return nil
}

// decodeStrict reads one JSON value into v, and nothing after it.
func decodeStrict(body io.Reader, v any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return jsonError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("body", "has something after the JSON value")
	}
	return nil
}

// jsonError makes an error of encoding/json name the field.
func jsonError(err error) error {
	var typeErr *json.UnmarshalTypeError
	var tooLarge *http.MaxBytesError
	var own *gateway.Error
	var network net.Error
	switch {
	case errors.As(err, &tooLarge), errors.As(err, &own):
		return err
	case errors.As(err, &typeErr):
		field := typeErr.Field
		if field == "" {
			field = "body"
		}
		return invalid(field, fmt.Sprintf("a %s does not belong here", typeErr.Value))
	case errors.Is(err, io.EOF):
		return invalid("body", "is empty")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return invalid("body", "ends too early")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		if unquoted, err := strconv.Unquote(name); err == nil {
			name = unquoted
		}
		return invalid(name, "is not a field of this request")
	}
	return invalid("body", "is no JSON: "+err.Error())
}

// nullable is a field of a body whose null is a value of its own, other than
// when the field is absent. A pointer to a pointer cannot tell them apart.
type nullable[T any] struct{ text []byte }

// UnmarshalJSON implements json.Unmarshaler.
func (n *nullable[T]) UnmarshalJSON(b []byte) error {
	n.text = bytes.Clone(b)
	return nil
}

// given reports whether the field is there.
func (n nullable[T]) given() bool { return n.text != nil }

// value reads the field that is given: nil for null. It tells bad what is
// wrong, and returns nil then.
func (n nullable[T]) value(field string, bad func(field, detail string)) *T {
	var v *T
	err := decodeStrict(bytes.NewReader(n.text), &v)
	if err == nil {
		return v
	}
	var e *gateway.Error
	if !errors.As(err, &e) || len(e.Fields) == 0 {
		bad(field, err.Error())
		return nil
	}
	for _, f := range e.Fields {
		name := field
		if f.Field != "body" {
			name += "." + f.Field
		}
		bad(name, f.Detail)
	}
	return nil
}

// params reads the query of a request and gathers what is wrong with it. Each
// method takes one parameter; done complains of those that nobody took.
type params struct {
	query  url.Values
	zone   *time.Location
	faults []gateway.FieldError
}

func (s *Server) params(r *http.Request) *params {
	q, err := url.ParseQuery(r.URL.RawQuery)
	p := &params{query: q, zone: s.cfg.Zone}
	if err != nil {
		p.fault("query", "is malformed")
	}
	return p
}

func (p *params) fault(field, detail string) {
	p.faults = append(p.faults, gateway.FieldError{Field: field, Detail: detail})
}

// text takes a parameter as it is.
func (p *params) text(name, otherwise string) string {
	vs, ok := p.query[name]
	if !ok {
		return otherwise
	}
	delete(p.query, name)
	if len(vs) != 1 {
		p.fault(name, "is given more than once")
	}
	return vs[0]
}

// number takes a whole number in [least, most].
func (p *params) number(name string, otherwise, least, most int) int {
	v := p.text(name, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		p.fault(name, fmt.Sprintf("%q is not a whole number from %d to %d", clip(v), least, most))
		return otherwise
	}
	return n
}

// flag takes true or false.
func (p *params) flag(name string) bool {
	switch v := p.text(name, "false"); v {
	case "true":
		return true
	case "false":
		return false
	default:
		p.fault(name, fmt.Sprintf("%q is neither true nor false", clip(v)))
		return false
	}
}

// instant takes a time; ok is false if it is not given.
func (p *params) instant(name string) (i gateway.Instant, ok bool) {
	v := p.text(name, "")
	if v == "" {
		return 0, false
	}
	t, err := parseTime(v, p.zone)
	if err != nil {
		p.fault(name, err.Error())
	}
	return gateway.InstantOf(t), err == nil
}

// span takes from and to; both must be given unless there is an otherwise.
func (p *params) span(otherwise func() (from, to gateway.Instant)) (from, to gateway.Instant) {
	var f, t gateway.Instant
	if otherwise != nil {
		f, t = otherwise()
	}
	from, okFrom := p.instant("from")
	to, okTo := p.instant("to")
	for _, x := range []struct {
		name  string
		ok    bool
		value *gateway.Instant
		other gateway.Instant
	}{{"from", okFrom, &from, f}, {"to", okTo, &to, t}} {
		if x.ok {
			continue
		}
		*x.value = x.other
		if otherwise == nil && !p.has(x.name) {
			p.fault(x.name, "is missing")
		}
	}
	if len(p.faults) == 0 && to <= from {
		p.fault("to", "is not after from")
	}
	return from, to
}

// has reports whether a fault names field already.
func (p *params) has(field string) bool {
	for _, f := range p.faults {
		if f.Field == field {
			return true
		}
	}
	return false
}

// page takes page and per_page. Their product fits an int everywhere.
func (p *params) page() (page, perPage int) {
	page, perPage = p.number("page", 0, 0, math.MaxInt32), p.number("per_page", 100, 1, 10_000)
	if int64(page)*int64(perPage) > math.MaxInt32 {
		p.fault("page", fmt.Sprintf("%d is too far; with %d a page %d is the last", page, perPage,
			math.MaxInt32/perPage))
		return 0, perPage
	}
	return page, perPage
}

// done returns all faults, and names the parameters that nobody took.
func (p *params) done() error {
	for name := range p.query {
		p.fault(name, "is not a parameter of this request")
	}
	if len(p.faults) == 0 {
		return nil
	}
	return &gateway.Error{
		Code:    gateway.CodeInvalid,
		Message: p.faults[0].Field + ": " + p.faults[0].Detail,
		Fields:  p.faults,
	}
}

// parseTime reads RFC 3339, Unix seconds, or wall-clock time of the household
// as YYYY-MM-DD HH:MM:SS.
func parseTime(s string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return checkYear(s, t)
	}
	if t, ok := gateway.ParseWall(s, zone); ok {
		return checkYear(s, t)
	}
	if sec, err := strconv.ParseFloat(s, 64); err == nil && sec > -1e11 && sec < 1e11 {
		return time.UnixMilli(int64(sec * 1000)), nil
	}
	return time.Time{},
		fmt.Errorf("%q is not a time: want RFC 3339, Unix seconds or YYYY-MM-DD HH:MM:SS",
			clip(s))
}

// checkYear refuses times that no household means.
func checkYear(s string, t time.Time) (time.Time, error) {
	if y := t.Year(); y < 1900 || y > 3000 {
		return t, fmt.Errorf("%q is not between the years 1900 and 3000", clip(s))
	}
	return t, nil
}

// timeText is a time in a body: a string as parseTime reads it, or a number of
// Unix seconds.
type timeText string

// UnmarshalJSON implements json.Unmarshaler.
func (t *timeText) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*t = timeText(n)
	return nil
}

// stamp writes an instant as RFC 3339 with the household's offset; 0 is null.
func (s *Server) stamp(i gateway.Instant) *string {
	if i == 0 {
		return nil
	}
	t := i.Time().In(s.cfg.Zone).Format("2006-01-02T15:04:05.999Z07:00")
	return &t
}

// pathID reads the {id} of the path; what is no number is an unknown id.
func pathID(r *http.Request) (int64, error) {
	text := mux.Vars(r)["id"]
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, gateway.NotFoundf("nothing has the id %q", clip(text))
	}
	return id, nil
}

// pathName reads the {name} of the path.
func pathName(r *http.Request) (string, error) {
	name, err := url.PathUnescape(mux.Vars(r)["name"])
	if err != nil {
		return "", gateway.NotFoundf("the name in the address is malformed")
	}
	return name, nil
}

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
