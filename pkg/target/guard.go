package target

import (
	"log/slog"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Guard bounds a panic to its target or environment. The zero Guard neither logs nor counts.
type Guard struct {
	Log *slog.Logger
	// Count receives the target of each panic; the zero target stands for work without a target. Optional.
	Count func(v1alpha1.Target)
}

// Call calls a function that is about one target and returns its panic as an error.
func (g Guard) Call(of v1alpha1.Target, do func() error) error {
	err := panics.Try(do)
	g.Report(of, err)
	return err
}

// Report logs and counts the panic that an error wraps, if there is one, once.
func (g Guard) Report(of v1alpha1.Target, err error) {
	caught := panics.In(err)
	if caught == nil || !caught.First() {
		return
	}
	if g.Count != nil {
		g.Count(of)
	}
	if g.Log != nil {
		g.Log.Error("panic", "pipeline", of.Pipeline, "environment", of.Environment, "error", caught, "stack", caught.Stack)
	}
}
