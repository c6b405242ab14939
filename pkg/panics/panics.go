// Package panics keeps a fault of syncer to the work that met it: it turns a panic into an error that has its stack, and
// carries the panic of a goroutine to the one that waits for it. It does not know what the work is about.
package panics

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
)

// Error is a panic as an error. Its text names the place and shows the value only where that comes from Go's runtime:
// another value may quote an object, and with it a Secret.
type Error struct {
	Value    any
	Function string // that panicked
	Stack    string // of its goroutine, there

	line string // of the file
	told atomic.Bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("syncer panicked in %s (%s): %s; this is a fault of syncer: report it with the stack, which the log has", e.Function, e.line, e.what())
}

// what is the value of the panic where it may be shown, and else its type.
func (e *Error) what() string {
	switch value := e.Value.(type) {
	case runtime.Error:
		return value.Error()
	case reported:
		return string(value)
	default:
		return fmt.Sprintf("a value of type %T", value)
	}
}

// Report is a panic as another process tells of it.
type Report struct{ What, Function, Line, Stack string }

// Report returns the panic for another process.
func (e *Error) Report() Report {
	return Report{What: e.what(), Function: e.Function, Line: e.line, Stack: e.Stack}
}

// Error is the reported panic.
func (r Report) Error() *Error {
	return &Error{Value: reported(r.What), Function: r.Function, Stack: r.Stack, line: r.Line}
}

// reported is the value of a panic in another process, as that one may show it.
type reported string

// First reports whether nobody asked before, so that one panic is logged and counted once, in whichever room its error
// is first looked at.
func (e *Error) First() bool { return e.told.CompareAndSwap(false, true) }

// In finds the panic that an error wraps; nil: it wraps none.
func In(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

// Catch runs a function and returns its panic; nil where it returned.
func Catch(do func()) (caught *Error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Error: // that Wait raised again: it has its stack
			caught = p
		default:
			at := place()
			caught = &Error{Value: p, Function: at.Function, Stack: string(debug.Stack()), line: fmt.Sprintf("%s:%d", filepath.Base(at.File), at.Line)}
		}
	}()
	do()
	return nil
}

// Try runs a function and returns its error; a panic is an error that wraps an *Error.
func Try(do func() error) error {
	var err error
	if caught := Catch(func() { err = do() }); caught != nil {
		return caught
	}
	return err
}

// place is where the panic was raised: the first function above the deferred one that is not the runtime's.
func place() runtime.Frame {
	const above = 3 // Callers, place and the deferred function
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(above, pcs)])
	for {
		frame, more := frames.Next()
		if !more || !strings.HasPrefix(frame.Function, "runtime.") {
			return frame
		}
	}
}
