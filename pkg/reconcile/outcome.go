package reconcile

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// defaultHealthTimeout is how long a deployment may take to become healthy where pipeline.yaml does not say.
const defaultHealthTimeout = 10 * time.Minute

// newOutcome returns the outcome of a reconcile in which nothing was done yet.
func (t *task) newOutcome() record.Outcome {
	d := t.d
	o := record.Outcome{
		Commit: record.Commit{Hash: d.Snapshot.Commit, Author: d.Snapshot.Author, Subject: d.Snapshot.Subject},
		Policy: record.Policy{
			PromoteFrom: d.Environment.Images.PromoteFrom, HealthTimeout: cmp.Or(d.Settings.HealthTimeout.Duration, defaultHealthTimeout),
		},
	}
	if keep := d.Environment.Images.KeepPins.Deployments; keep != nil {
		o.Policy.Deployments = *keep
	}
	if d.Rendered.From == nil || d.Rendered.From.Err == nil { // else nothing new is known
		o.Content = &record.Content{Warnings: d.Warnings(), Unpinned: unpinned(d.Rendered.Suspects)}
	}
	return o
}

// keptOutcome returns the outcome of a reconcile that leaves the objects as they are.
func (t *task) keptOutcome() record.Outcome {
	o, status := t.newOutcome(), t.d.Record.Status
	o.Objects.Inventory, o.Objects.Held, o.Objects.Conflicts = status.Inventory, status.Held, status.Contested
	return o
}

// appliedOutcome returns the outcome of an apply, without health and drift.
func (t *task) appliedOutcome(decided pin.Decision, plan *apply.Plan, applied apply.Applied, err error) record.Outcome {
	d, before, allowed := t.d, t.before(), t.pass.allowed()
	now := t.r.Dates.In(d.Cluster)
	held := record.HeldChanges(before.Held, applied.Held, target.ToSecond(now))
	o := t.newOutcome()
	o.Attempted = len(plan.Pending()) > 0 || record.NewlyHeld(before.Held, record.KeptHeld(held)) || len(before.Held) > 0 && len(held) == 0 ||
		before.LastAppliedCommit == "" || record.Unsaid(before, applied.Inventory, held)
	o.Failure, o.Write = failureOf(err), writeOf(applied.Record)
	o.Objects = record.Objects{
		Inventory: applied.Inventory, Held: held, Released: record.Releases(before.Held, applied.Changes, applied.Inventory), Changed: len(applied.Changes) > 0,
		Conflicts: record.Conflicts(before.Contested, applied.Changes, now), Terminating: plan.Terminating(),
	}
	o.Images = record.Images{
		Deployed: decided.Deployed(d, plan.LeftAlone()), Pins: decided.Pins, Allowed: allowed.Any(d.Target), AllowedBy: allowed.Promotions[d.Target],
		Flapping: record.Flapping(decided.Pins, now, d.Environment.Images.Interval.Duration),
	}
	o.Drift = record.Drift{Findings: t.result.Drift, Checked: t.r.ChecksImages}
	return o
}

func writeOf(written cluster.Written) record.Write {
	return record.Write{Generation: written.Generation, Apply: written.Apply}
}

func healthOf(h target.Health, swapped []string) record.Health {
	return record.Health{Status: h.Status, Message: h.Message, Unseen: h.Unseen, Swapped: len(swapped) > 0}
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
	return &record.Failure{Reason: reasonOf(err), Message: err.Error(), Passing: isPassing(err), Stopped: errors.Is(err, context.Canceled)}
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
