package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/wattle-home/wattle/gateway"
)

// problem is an RFC 9457 problem document.
type problem struct {
	Type   string               `json:"type"`
	Title  string               `json:"title"`
	Status int                  `json:"status"`
	Detail string               `json:"detail,omitempty"`
	Errors []gateway.FieldError `json:"errors,omitempty"`
}

// codes maps our codes to HTTP.
var codes = map[gateway.Code]int{
	gateway.CodeInvalid:      http.StatusBadRequest,
	gateway.CodeUnauthorized: http.StatusUnauthorized,
	gateway.CodeForbidden:    http.StatusForbidden,
	gateway.CodeNotFound:     http.StatusNotFound,
	gateway.CodeConflict:     http.StatusConflict,
	gateway.CodeUnavailable:  http.StatusServiceUnavailable,
	gateway.CodeInternal:     http.StatusInternalServerError,
}

// statusError is a failure that only HTTP knows.
type statusError struct {
	status int
	detail string
}

// Error implements error.
func (e statusError) Error() string { return e.detail }

// writeError answers with the problem document of err. What is internal goes
// to the log alone.
func writeError(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	p := problem{Type: "about:blank", Status: http.StatusInternalServerError}
	var e *gateway.Error
	var se statusError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &se):
		p.Status, p.Detail = se.status, se.detail
	case errors.As(err, &tooLarge):
		p.Status, p.Detail = http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB"
	case errors.As(err, &e):
		p.Status, p.Detail, p.Errors = codes[e.Code], e.Message, e.Fields
	}
	switch {
	case r.Context().Err() != nil && errors.Is(err, r.Context().Err()):
		log.DebugContext(r.Context(), "giving up a request whose sender left", "path", r.URL.Path,
			"err", err)
	case p.Status >= http.StatusInternalServerError:
		log.ErrorContext(r.Context(), "answering a request", "method", r.Method,
			"path", r.URL.Path, "status", p.Status, "err", err)
	}
	if p.Status == http.StatusInternalServerError {
		p.Detail = "something went wrong here; the gateway's log says what"
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="wattle"`)
	}
	p.Title = http.StatusText(p.Status)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Del("ETag")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away; nothing to do
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client went away; nothing to do
	return nil
}

// unauthorized is the answer to no or bad credentials.
func unauthorized(detail string) error {
	return &gateway.Error{Code: gateway.CodeUnauthorized, Message: detail}
}

// forbidden is the answer to a role that may not.
func forbidden(detail string) error {
	return &gateway.Error{Code: gateway.CodeForbidden, Message: detail}
}

// invalid is the answer to one wrong value.
func invalid(field, detail string) error {
	return &gateway.Error{
		Code:    gateway.CodeInvalid,
		Message: field + ": " + detail,
		Fields:  []gateway.FieldError{{Field: field, Detail: detail}},
	}
}
