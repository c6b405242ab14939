package reconcile

import (
	"context"
	"errors"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/takeover"
	"github.com/syncerdev/syncer/pkg/target"
)

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
