package renderers

import (
	"errors"
	"io/fs"

	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/render"
)

// fault is an error on its way to another process. It keeps its text, and the errors that callers look for in it.
type fault struct {
	Text  string
	Is    []string        `json:",omitempty"` // keys of known
	Limit *render.Limited `json:",omitempty"`
	Panic *panics.Report  `json:",omitempty"`
}

// known are the sentinels that callers compare with, by the name that they travel under.
var known = map[string]error{
	"not exist":  fs.ErrNotExist,
	"permission": fs.ErrPermission,
	"no overlay": render.ErrNoOverlay,
	"empty":      render.ErrEmpty,
	"pointer":    render.ErrPointer,
}

func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	f := &fault{Text: err.Error()}
	for name, sentinel := range known {
		if errors.Is(err, sentinel) {
			f.Is = append(f.Is, name)
		}
	}
	f.Limit, _ = errors.AsType[*render.Limited](err)
	if caught := panics.In(err); caught != nil {
		report := caught.Report()
		f.Panic = &report
	}
	return f
}

// err is the error that arrived.
func (f *fault) err() error {
	if f == nil {
		return nil
	}
	e := &arrived{text: f.Text}
	for _, name := range f.Is {
		if sentinel, ok := known[name]; ok {
			e.wrapped = append(e.wrapped, sentinel)
		}
	}
	if f.Limit != nil {
		e.wrapped = append(e.wrapped, f.Limit)
	}
	if f.Panic != nil {
		e.wrapped = append(e.wrapped, f.Panic.Error())
	}
	return e
}

// arrived is an error of another process.
type arrived struct {
	text    string
	wrapped []error
}

func (e *arrived) Error() string { return e.text }

func (e *arrived) Unwrap() []error { return e.wrapped }
