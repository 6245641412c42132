package gateway

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an Error is.
type Code string

// Codes of an Error.
const (
	CodeInvalid      Code = "invalid"      // the caller's values are wrong
	CodeUnauthorized Code = "unauthorized" // no or bad credentials
	CodeForbidden    Code = "forbidden"    // the caller may not do this
	CodeNotFound     Code = "not_found"    // no such thing
	CodeConflict     Code = "conflict"     // it is not as the caller assumes
	CodeUnavailable  Code = "unavailable"  // not now; try again
	CodeInternal     Code = "internal"     // a fault of ours
)

// Error is a failure with a message for people. Err, if any, is for the log.
type Error struct {
	Code    Code
	Message string
	Fields  []FieldError // which values were wrong, for CodeInvalid
	Err     error
}

// FieldError names one wrong value.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Message
	for i, f := range e.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		s += sep + f.Field + ": " + f.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap implements the interface of package errors.
func (e *Error) Unwrap() error { return e.Err }

// Invalidf returns an Error with CodeInvalid.
func Invalidf(format string, args ...any) *Error { return errorf(CodeInvalid, format, args...) }

// NotFoundf returns an Error with CodeNotFound.
func NotFoundf(format string, args ...any) *Error { return errorf(CodeNotFound, format, args...) }

// Conflictf returns an Error with CodeConflict.
func Conflictf(format string, args ...any) *Error { return errorf(CodeConflict, format, args...) }

// Unavailablef returns an Error with CodeUnavailable.
func Unavailablef(format string, args ...any) *Error {
	return errorf(CodeUnavailable, format, args...)
}

// errorf returns an Error with a message as fmt.Sprintf makes it.
func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first Error in err's chain, else
// CodeInternal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// clip shortens a text of unknown origin for a message.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
