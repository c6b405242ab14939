package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// remove deletes what a target that left git still has in the cluster, and its record with it.
func (c *carrier) remove(ctx context.Context, w *target.Desired, result *TargetResult) error {
	if w.Err != nil {
		if _, gone := errors.AsType[*target.MissingOverlayError](w.Err); !gone || !c.permits().Prunes[w.Target] {
			c.marks.of(w.Target).close(ctx)
			return c.fail(ctx, w, w.Err)
		}
	}
	if w.Record == nil {
		// Another turn, another syncer or a person has deleted it since the commit was looked at. Without it nothing tells
		// which objects are the target's to delete.
		result.Result, result.settled, result.Message = Unchanged, true, "it is no longer in git, and has no record any more"
		return nil
	}
	plan, err := apply.Make(ctx, w.Cluster, apply.Request{Target: w.Target, Record: w.Record, Neighbours: c.near[w.Cluster.Server()], Rules: w.Rules, Confirm: c.confirm})
	c.marks.of(w.Target).close(ctx)
	if err == nil {
		err = uncomparedError(plan) // what cannot be read cannot be deleted, and its record is not to go before it
	}
	if err != nil {
		return c.fail(ctx, w, err)
	}
	if !*w.Environment.Prune.Enabled {
		result.settled = true
		result.Result, result.Message = Unchanged, "it is no longer in git; its objects stay, because prune is disabled for "+w.Environment.Name
		return nil
	}
	if limit := w.Environment.Prune.MaxObjects; limit > 0 && len(plan.Members) > limit && !c.permits().Prunes[w.Target] {
		return c.fail(ctx, w, &apply.PruneRefusedError{Target: w.Target, Objects: idsOf(plan.Pending()), Of: len(plan.Members), Limit: fmt.Sprintf("the limit of %d objects", limit)})
	}
	applied, err := apply.Remove(ctx, w.Cluster, plan)
	result.Changes = changeResults(slices.Concat(applied.Changes, applied.Held), false)
	if isOvertaken(err) {
		return err
	}
	if err != nil {
		// What is deleted is not in the inventory any more: a revert makes it again.
		o := outcomeOf(w, applied.Record)
		o.Failure, o.Apply = failureOf(err), &record.Apply{Removal: true, Inventory: applied.Inventory}
		return errors.Join(err, c.save(ctx, w, o, applied.Record.Version, nil))
	}
	if len(applied.Held) > 0 {
		return c.holdRemoval(ctx, w, result, applied)
	}
	takeIn(w, applied.Record)
	if err := c.retire(ctx, w); err != nil {
		return err
	}
	result.Result, result.settled = Applied, true
	result.Message = fmt.Sprintf("it is no longer in git: %s pruned", manifest.Plural(len(result.Changes), "object"))
	return nil
}

// takeIn notes that a pass wrote a target's record.
func takeIn(w *target.Desired, written cluster.Written) {
	if written.Version == "" {
		return
	}
	w.Record.ResourceVersion, w.Record.Generation, w.Record.Status.ConfirmedApply = written.Version, written.Generation, written.Apply
}

// holdRemoval keeps the record of a removed target while something of it still runs.
func (c *carrier) holdRemoval(ctx context.Context, w *target.Desired, result *TargetResult, applied apply.Applied) error {
	o := outcomeOf(w, applied.Record)
	o.Apply = &record.Apply{Removal: true, Held: applied.Held, Inventory: applied.Inventory}
	o.Health, o.Drift = healthFor(target.HealthOf(ctx, w.Cluster, applied.Inventory, applied.Live), nil, nil), &record.Drift{}
	result.Result, result.until = Held, target.WaitFor(w, applied.Held)
	result.Message = "it is no longer in git: " + record.HeldMessage(record.HeldChanges(w.Record.Status.Held, applied.Held, c.dates().Stamp(w.Cluster)))
	return c.save(ctx, w, o, applied.Record.Version, nil)
}

func idsOf(changes []manifest.Change) []manifest.ID {
	ids := make([]manifest.ID, len(changes))
	for i, change := range changes {
		ids[i] = change.ID
	}
	return ids
}

// retire ends the record of a removed target: at once where it holds no pin, else when those are past their time.
func (c *carrier) retire(ctx context.Context, w *target.Desired) error {
	if len(w.Record.Spec.Images) == 0 {
		return w.Cluster.Records().Delete(ctx, w.Target, w.Record.UID, w.Record.ResourceVersion)
	}
	status := record.Removed(*w.Record, w.Snapshot.Commit, c.dates().In(w.Cluster))
	_, err := w.Cluster.Records().SaveStatus(ctx, w.Target, status, w.Record.ResourceVersion)
	return err
}

// forget deletes the records of targets that left git so long ago that nobody reverts to their pins.
func (c *carrier) forget(ctx context.Context, a *target.Commit) error {
	var errs []error
	for _, w := range a.Retired {
		if c.dates().IsPast(w.Cluster, w.Record.Status.RemovedAt.Time, w.Environment.Images.KeepPins.For.Duration) {
			err := w.Cluster.Records().Delete(ctx, w.Target, w.Record.UID, w.Record.ResourceVersion)
			if !isOvertaken(err) { // else somebody has revived it
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
