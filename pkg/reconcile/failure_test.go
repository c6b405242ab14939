package reconcile

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/takeover"
	"github.com/syncerdev/syncer/pkg/target"
)

func TestFailureHasAReasonAndMayPass(t *testing.T) {
	for _, c := range []struct {
		err              error
		reason           string
		passing, stopped bool
	}{
		{err: &plan.PruneRefusedError{}, reason: "PruneRefused"},
		{err: &target.RefusedError{}, reason: "PruneRefused"},
		{err: &plan.OwnedError{}, reason: "OwnedByAnother"},
		{err: &takeover.Error{}, reason: "AdoptionNeeded"},
		{err: &record.TooLargeError{}, reason: "TooLarge"},
		{err: &target.MissingOverlayError{}, reason: "OverlayMissing"},
		{err: &image.RefusedError{}, reason: "ImageRefused"},
		{err: image.ErrUnsigned, reason: "ImageUnsigned"},
		{err: image.ErrNotFound, reason: "ImageNotFound"},
		{err: image.ErrMismatch, reason: "RegistryMismatch"},
		{err: image.ErrDenied, reason: "RegistryDenied"},
		{err: image.ErrUnavailable, reason: "RegistryUnavailable", passing: true},
		{err: answer.WillPass("soon"), reason: "Failed", passing: true},
		{err: context.DeadlineExceeded, reason: "Failed", passing: true},
		{err: context.Canceled, reason: "Failed", passing: true, stopped: true},
		{err: errors.New("anything"), reason: "Failed"},
	} {
		for _, err := range []error{c.err, fmt.Errorf("applying: %w", c.err), errors.Join(errors.New("another"), c.err)} {
			want := record.Failure{Reason: c.reason, Message: err.Error(), Passing: c.passing, Canceled: c.stopped}
			if got := failureOf(err); *got != want {
				t.Errorf("%v: %+v, want %+v", err, *got, want)
			}
		}
	}
	if failureOf(nil) != nil {
		t.Error("no error is a failure")
	}
}

func TestOvertakenIsNoFaultOfTheTarget(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, errors.New("refused"): false, ErrSuperseded: false,
		ErrOutdated: true, fmt.Errorf("x: %w", ErrOutdated): true, &answer.OvertakenError{}: true,
	} {
		if IsOvertaken(err) != want {
			t.Errorf("%v: %t", err, !want)
		}
	}
}
