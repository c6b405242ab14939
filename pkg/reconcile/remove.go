package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/limit"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// remove deletes the objects of a target that left git, and its record with them.
func (t *task) remove(ctx context.Context) error {
	d := t.d
	if d.Err != nil {
		if _, gone := errors.AsType[*target.MissingOverlayError](d.Err); !gone || !t.pass.allowed().Prunes[d.Target] {
			t.mark.Close(ctx)
			return t.fail(ctx, d.Err)
		}
	}
	if d.Record == nil {
		// Another reconcile, another syncer or a user has deleted it since the commit was planned. Without it nothing says
		// which objects are the target's to delete.
		t.result.Result, t.result.Detail.Converged, t.result.Message = Unchanged, true, "it is no longer in git, and has no record any more"
		return nil
	}
	plan, err := apply.Make(ctx, d.Cluster, apply.Request{
		Target: d.Target, Record: d.Record, Neighbours: t.pass.neighbours[d.Cluster.Server()], Rules: d.Rules, Confirm: t.pass.Confirm,
	})
	t.mark.Close(ctx)
	if err == nil {
		err = UncomparedError(plan) // an object that cannot be read cannot be deleted, and the record stays until it is
	}
	if err != nil {
		return t.fail(ctx, err)
	}
	if !*d.Environment.Prune.Enabled {
		t.result.Detail.Converged = true
		t.result.Result, t.result.Message = Unchanged, "it is no longer in git; its objects stay, because prune is disabled for "+d.Environment.Name
		return nil
	}
	if exceeded := limit.Target(len(plan.Members), d.Environment.Prune.MaxObjects); exceeded != "" && !t.pass.allowed().Prunes[d.Target] {
		return t.fail(ctx, &apply.PruneRefusedError{Target: d.Target, Objects: idsOf(plan.Pending()), Of: len(plan.Members), Limit: exceeded})
	}
	return t.carryOutRemoval(ctx, plan)
}

// carryOutRemoval deletes the objects of a plan. The record goes when all of them are gone.
func (t *task) carryOutRemoval(ctx context.Context, plan *apply.Plan) error {
	d := t.d
	applied, err := apply.Remove(ctx, d.Cluster, plan)
	t.result.Changes = Changes(slices.Concat(applied.Changes, applied.Held), false)
	if IsOvertaken(err) {
		return err
	}
	if err != nil {
		// Deleted objects are not in the inventory any more: a revert creates them again.
		o := t.newOutcome(applied.Record)
		o.Failure, o.Apply = failureOf(err), &record.Apply{Removal: true, Inventory: applied.Inventory}
		return errors.Join(err, t.save(ctx, o, applied.Record, nil))
	}
	if len(applied.Held) > 0 {
		return t.holdRemoval(ctx, applied)
	}
	t.noteWrite(applied.Record)
	if err := t.retire(ctx); err != nil {
		return err
	}
	t.result.Result, t.result.Detail.Converged = Applied, true
	t.result.Message = fmt.Sprintf("it is no longer in git: %s pruned", manifest.Plural(len(t.result.Changes), "object"))
	return nil
}

// noteWrite takes the versions over that a write of the record left.
func (t *task) noteWrite(written cluster.Written) {
	if written.Version == "" {
		return
	}
	r := t.d.Record
	r.ResourceVersion, r.Generation, r.Status.ConfirmedApply = written.Version, written.Generation, written.Apply
}

// holdRemoval keeps the record of a removed target while an object of it still runs.
func (t *task) holdRemoval(ctx context.Context, applied apply.Applied) error {
	d := t.d
	o := t.newOutcome(applied.Record)
	o.Apply = &record.Apply{Removal: true, Held: applied.Held, Inventory: applied.Inventory}
	o.Health, o.Drift = healthFor(target.HealthOf(ctx, d.Cluster, applied.Inventory, applied.Live), nil, nil), &record.Drift{}
	t.result.Result, t.result.Detail.Wait = Held, target.WaitFor(d, applied.Held)
	t.result.Message = "it is no longer in git: " + record.HeldMessage(record.HeldChanges(d.Record.Status.Held, applied.Held, t.r.Dates.Stamp(d.Cluster)))
	return t.save(ctx, o, applied.Record, nil)
}

// retire ends the record of a removed target: at once where it holds no pin, else when the pins are past their time.
func (t *task) retire(ctx context.Context) error {
	d := t.d
	if len(d.Record.Spec.Images) == 0 {
		return d.Cluster.Records().Delete(ctx, d.Target, d.Record.UID, d.Record.ResourceVersion)
	}
	status := record.Removed(*d.Record, d.Snapshot.Commit, t.r.Dates.In(d.Cluster))
	_, err := d.Cluster.Records().SaveStatus(ctx, d.Target, status, d.Record.ResourceVersion)
	return err
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
	t := r.newTask(ctx, Request{Desired: d, Pass: pass})
	err := t.remove(ctx)
	return t.result, err
}
