package reconcile

import (
	"context"
	"errors"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/takeover"
	"github.com/syncerdev/syncer/pkg/target"
)

// fail records a failure that came before anything was written, and returns it. A target that was never deployed gets a
// record for it, so that the cluster shows the failure.
func (r *Reconciler) fail(ctx context.Context, t task, failure error) error {
	d := t.desired
	if errors.Is(failure, context.Canceled) || !v1alpha1.ValidPipelineName(d.Target.Pipeline) {
		return failure
	}
	if IsUntried(failure) {
		return failure // the record is not known
	}
	if d.Record != nil && d.Record.Spec.Owner != r.Config.Name {
		return failure // the record belongs to another configuration
	}
	written, err := r.recorder().create(ctx, d)
	if err != nil {
		return errors.Join(failure, err)
	}
	o := newOutcome(d, written)
	o.Failure, o.Drift = failureOf(failure), compareLastApplied(ctx, r.Planner, r.Rating, t)
	if err := r.recorder().save(ctx, t, o, written, nil); err != nil {
		return errors.Join(failure, err)
	}
	return failure
}

// failureOf describes a failure for the record; nil without one.
func failureOf(err error) *record.Failure {
	if err == nil {
		return nil
	}
	return &record.Failure{Reason: reasonOf(err), Message: err.Error(), Passing: isPassing(err), Canceled: errors.Is(err, context.Canceled)}
}

// isPassing reports whether a failure may end by itself.
func isPassing(err error) bool {
	return answer.IsPassing(err) || errors.Is(err, image.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// reasonOf names a failure in one word for a condition.
func reasonOf(err error) string {
	switch {
	case is[*plan.PruneRefusedError](err), is[*target.RefusedError](err):
		return "PruneRefused"
	case is[*plan.OwnedError](err):
		return "OwnedByAnother"
	case is[*takeover.Error](err):
		return "AdoptionNeeded"
	case is[*record.TooLargeError](err):
		return "TooLarge"
	case is[*target.MissingOverlayError](err):
		return "OverlayMissing"
	case is[*image.RefusedError](err):
		return "ImageRefused"
	case errors.Is(err, image.ErrUnsigned):
		return "ImageUnsigned"
	case errors.Is(err, image.ErrNotFound):
		return "ImageNotFound"
	case errors.Is(err, image.ErrMismatch):
		return "RegistryMismatch"
	case errors.Is(err, image.ErrDenied):
		return "RegistryDenied"
	case errors.Is(err, image.ErrUnavailable):
		return "RegistryUnavailable"
	}
	return "Failed"
}

// is reports whether an error is, or wraps, one of a type.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
