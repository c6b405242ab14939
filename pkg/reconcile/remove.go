package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/limit"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// remove deletes the objects of a target that left git: it applies the empty set, and ends the record.
func (r *Reconciler) remove(ctx context.Context, t task) (Result, error) {
	d, result := t.desired, NewResult(t.desired)
	planned, err := planRemoval(ctx, t)
	t.mark.Close(ctx)
	if err != nil {
		return result, r.fail(ctx, t, err)
	}
	switch {
	case planned == nil:
		result.Detail.Converged, result.Message = true, "it is no longer in git, and has no record any more"
		return result, nil
	case !*d.Environment.Prune.Enabled:
		result.Detail.Converged = true
		result.Message = "it is no longer in git; its objects stay, because prune is disabled for " + d.Environment.Name
		return result, nil
	}
	if err := limitRemoval(t, planned); err != nil {
		return result, r.fail(ctx, t, err)
	}
	return r.concludeRemoval(ctx, t, applyRemoval(ctx, t, planned))
}

// planRemoval plans the empty set. It returns nil for a target that has no record: another reconcile, another syncer or a user
// has deleted it since the commit was planned, and without it nothing says which objects are the target's to delete.
func planRemoval(ctx context.Context, t task) (*plan.Plan, error) {
	d := t.desired
	if d.Err != nil && !(is[*target.MissingOverlayError](d.Err) && t.mayPrune()) {
		return nil, d.Err
	}
	if d.Record == nil {
		return nil, nil
	}
	planned, err := plan.Make(ctx, d.Cluster, plan.Request{
		Target: d.Target, Record: d.Record, Neighbours: t.pass.neighbours[d.Cluster.Server()], Policies: d.Policies, Shown: t.pass.Shown,
	})
	if err != nil {
		return nil, err
	}
	return planned, UncomparedError(planned) // an object that cannot be read cannot be deleted, and the record stays until it is
}

// limitRemoval returns a PruneRefusedError for a target with more objects than a commit may delete.
func limitRemoval(t task, planned *plan.Plan) error {
	d := t.desired
	exceeded := limit.Target(len(planned.Members), d.Environment.Prune.MaxObjects)
	if exceeded == "" || t.mayPrune() {
		return nil
	}
	return &plan.PruneRefusedError{Target: d.Target, Objects: idsOf(planned.Pending()), Of: len(planned.Members), Limit: exceeded}
}

// applyRemoval deletes the objects of a plan. The spec of the record stays, with its pins.
func applyRemoval(ctx context.Context, t task, planned *plan.Plan) applied {
	out := untouched(planned)
	if len(planned.Pending()) > 0 {
		out.Applied, out.err = apply.Carry(ctx, t.desired.Cluster, planned, apply.Options{Spec: t.desired.Record.Spec, Confirm: t.pass.Confirm})
	}
	return out
}

// concludeRemoval ends the record of a target whose objects are gone. While there are objects left, the record says so.
func (r *Reconciler) concludeRemoval(ctx context.Context, t task, done applied) (Result, error) {
	d, result := t.desired, NewResult(t.desired)
	result.Changes = Changes(slices.Concat(done.Changes, done.Held), false)
	o := newOutcome(d, done.Record)
	o.Apply = &record.Apply{Removal: true, Held: done.Held, Inventory: done.Inventory}
	switch {
	case IsOvertaken(done.err):
		return result, done.err
	case done.err != nil:
		// Deleted objects are not in the inventory any more: a revert creates them again.
		o.Failure, o.Apply.Held = failureOf(done.err), nil
		return result, errors.Join(done.err, r.recorder().save(ctx, t, o, done.Record, nil))
	case len(done.Held) > 0:
		o.Health, o.Drift = healthFor(target.HealthOf(ctx, d.Cluster, done.Inventory, done.Live), nil, nil), &record.Drift{}
		result.Result, result.Detail.Wait = Held, target.WaitFor(d, done.Held)
		result.Message = "it is no longer in git: " + record.HeldMessage(record.HeldChanges(d.Record.Status.Held, done.Held, r.Dates.Stamp(d.Cluster)))
		return result, r.recorder().save(ctx, t, o, done.Record, nil)
	}
	if err := r.recorder().retire(ctx, d, asWritten(*d.Record, done.Record)); err != nil {
		return result, err
	}
	result.Result, result.Detail.Converged = Applied, true
	result.Message = fmt.Sprintf("it is no longer in git: %s pruned", manifest.Plural(len(result.Changes), "object"))
	return result, nil
}

// asWritten returns a record with the versions that a write of its spec left.
func asWritten(record v1alpha1.PipelineSync, written cluster.Written) v1alpha1.PipelineSync {
	if written.Version != "" {
		record.ResourceVersion, record.Generation, record.Status.ConfirmedApply = written.Version, written.Generation, written.Apply
	}
	return record
}

// Forget deletes the records of targets that left git so long ago that nobody reverts to their pins.
func (r *Reconciler) Forget(ctx context.Context, retired []*target.Desired) error {
	var errs []error
	for _, d := range retired {
		if r.Dates.IsPast(d.Cluster, d.Record.Status.RemovedAt.Time, d.Environment.Images.KeepPins.For.Duration) {
			err := d.Cluster.Records().Delete(ctx, d.Target, d.Record.UID, d.Record.ResourceVersion)
			if !IsOvertaken(err) { // else another syncer has revived it
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func idsOf(changes []manifest.Change) []manifest.ID {
	ids := make([]manifest.ID, len(changes))
	for i, change := range changes {
		ids[i] = change.ID
	}
	return ids
}

// Remove deletes the objects of a target and its record, as if it had left git.
func (r *Reconciler) Remove(ctx context.Context, d *target.Desired) (Result, error) {
	pass := NewPass(target.NewCommit([]*target.Desired{d}), nil)
	return r.remove(ctx, newTask(ctx, Request{Desired: d, Pass: pass}))
}
