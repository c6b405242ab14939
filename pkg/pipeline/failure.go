package pipeline

import (
	"context"
	"errors"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// failureOf returns an error as a record has it; nil: there is none.
func failureOf(err error) *record.Failure {
	if err == nil {
		return nil
	}
	return &record.Failure{Reason: reasonOf(err), Message: err.Error(), Passing: passes(err), Canceled: errors.Is(err, context.Canceled)}
}

// reasonOf names a failure in one word for a condition.
func reasonOf(err error) string {
	if _, ok := errors.AsType[*apply.PruneRefusedError](err); ok {
		return "PruneRefused"
	}
	if _, ok := errors.AsType[*target.RefusedError](err); ok {
		return "PruneRefused"
	}
	if _, ok := errors.AsType[*apply.OwnedError](err); ok {
		return "OwnedByAnother"
	}
	if _, ok := errors.AsType[*apply.AdoptionError](err); ok {
		return "AdoptionNeeded"
	}
	if _, ok := errors.AsType[*record.TooLargeError](err); ok {
		return "TooLarge"
	}
	if _, ok := errors.AsType[*target.MissingOverlayError](err); ok {
		return "OverlayMissing"
	}
	if _, ok := errors.AsType[*image.RefusedError](err); ok {
		return "ImageRefused"
	}
	switch {
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

// passes reports whether a failure may end by itself.
func passes(err error) bool {
	return answer.IsPassing(err) || errors.Is(err, image.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
