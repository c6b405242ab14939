package pipeline

import (
	"context"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/target"
)

// guarded does something of one target. A panic fails that target and no other: it is returned as an error, logged with
// its stack, and counted.
func (r *Runner) guarded(target v1alpha1.Target, do func() error) error {
	err := panics.Try(do)
	r.tellPanic(target, err)
	return err
}

// tellPanic logs and counts the panic that an error of a target wraps, if there is one, once. The zero target stands for
// what is of none.
func (r *Runner) tellPanic(target v1alpha1.Target, err error) {
	caught := panics.In(err)
	if caught == nil || !caught.First() {
		return
	}
	if r.metrics != nil { // a test's Runner may have none
		r.metrics.panicked(target)
	}
	r.log.Error("panic", "pipeline", target.Pipeline, "environment", target.Environment, "error", caught, "stack", caught.Stack)
}

// reconcileOrFail is reconcile, after which the record tells of a panic as well, where that can be written.
func (c *carrier) reconcileOrFail(ctx context.Context, w *target.Desired, result *TargetResult) error {
	var err error
	caught := panics.Catch(func() { err = c.reconcile(ctx, w, result) })
	if caught == nil {
		c.tellPanic(w.Target, err) // such as of its rendering, which keeps its own
		return err
	}
	c.tellPanic(w.Target, caught)
	return c.guarded(w.Target, func() error {
		// It may have been written since it was read.
		if record, err := w.Cluster.Records().Get(ctx, w.Target); err == nil && record != nil {
			w.Record = record
		}
		return c.fail(ctx, w, caught)
	})
}

// failedResult is the result of a target whose turn did not come to its end.
func failedResult(w *target.Desired, failure error) TargetResult {
	result := newResult(w)
	result.Result, result.Error, result.failure = Failed, failure.Error(), failure
	return result
}
