package reconcile

import (
	"context"
	"errors"
	"slices"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// newOutcome returns the outcome of a reconcile that leaves the objects as they are. written is the record as the reconcile
// wrote its spec; zero: it did not.
func (t *task) newOutcome(written cluster.Written) record.Outcome {
	d := t.d
	o := record.Outcome{
		Commit: record.Commit{Hash: d.Snapshot.Commit, Author: d.Snapshot.Author, Subject: d.Snapshot.Subject},
		Rules:  record.Rules{Promotes: d.Environment.Images.PromoteFrom != "", HealthTimeout: d.Settings.HealthTimeout.Duration},
		Spec:   record.Spec{Generation: written.Generation, Apply: written.Apply},
	}
	if keep := d.Environment.Images.KeepPins.Deployments; keep != nil {
		o.Rules.KeepDeployments = *keep
	}
	if d.Rendered.From == nil || d.Rendered.From.Err == nil { // else nothing new is known
		o.Rendered = &record.Rendered{Warnings: d.Warnings(), Unpinned: unpinned(d.Rendered.Suspects)}
	}
	return o
}

// appliedOutcome returns the outcome of an apply, without health and drift.
func (t *task) appliedOutcome(decided pin.Decision, plan *apply.Plan, applied apply.Applied, err error) record.Outcome {
	d, allowed := t.d, t.pass.allowed()
	o := t.newOutcome(applied.Record)
	o.Failure, o.Spec.Pins = failureOf(err), decided.Pins
	o.Apply = &record.Apply{
		Pending: len(plan.Pending()) > 0, Changes: applied.Changes, Held: applied.Held, Inventory: applied.Inventory,
		Images: decided.Deployed(d, plan.LeftAlone()), Allowed: allowed.Any(d.Target), AllowedBy: allowed.Promotions[d.Target],
	}
	flapping := record.Flapping(decided.Pins, t.r.Dates.In(d.Cluster), d.Environment.Images.Interval.Duration)
	o.Health.Notes = slices.Concat(flapping, plan.Terminating())
	return o
}

// appliedDrift returns the result of the comparison before an apply; nil where the apply failed, because the comparison is not
// true any more.
func (t *task) appliedDrift(corrected []drift.Finding, err error) *record.Drift {
	if err != nil {
		return nil
	}
	found := &record.Drift{Found: t.result.Drift, Corrected: corrected, Images: t.r.ChecksImages, Unwatched: t.pass.unwatched(t.d)}
	if uncorrected := t.uncorrected(); uncorrected != nil {
		found.Uncorrected = uncorrected.Error()
	}
	return found
}

// healthFor returns the health of a target as its record has it.
func healthFor(h target.Health, swapped, notes []string) record.Health {
	return record.Health{Status: h.Status, Message: h.Message, Unseen: h.Unseen, Swapped: swapped, Notes: notes}
}

func unpinned(suspects []image.Suspect) []v1alpha1.UnpinnedValue {
	var out []v1alpha1.UnpinnedValue
	for _, s := range suspects {
		out = append(out, v1alpha1.UnpinnedValue{Object: v1alpha1.ReferenceTo(s.Object), Path: s.Path, Reference: s.Value, Nameable: s.Nameable})
	}
	return out
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
