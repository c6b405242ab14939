package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// deployed deletes the objects that this configuration deployed, by the rules of a prune: it waits for running work, and
// keeps objects that are marked to stay. Targets with namespaces and CRDs, which hold objects of others, are last.
func (u *uninstall) deployed(ctx context.Context) error {
	targets, incomplete, err := u.planner.Recorded(ctx, v1alpha1.Selection{Environments: v1alpha1.Names(u.environments)})
	if err != nil || incomplete != nil {
		return errors.Join(err, incomplete)
	}
	var errs []error
	for _, last := range []bool{false, true} {
		for _, d := range targets {
			if holdsOthers(d.Record) != last {
				continue
			}
			if err := u.target(ctx, d); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", d.Target, err))
			}
		}
	}
	return errors.Join(errs...)
}

func holdsOthers(record *v1alpha1.PipelineSync) bool {
	return slices.ContainsFunc(record.Status.Inventory, func(e v1alpha1.InventoryEntry) bool {
		return e.Kind == "Namespace" || e.Kind == "CustomResourceDefinition"
	})
}

// target deletes the objects of one target.
func (u *uninstall) target(ctx context.Context, d *target.Desired) error {
	planned, err := plan.Make(ctx, d.Cluster, plan.Request{Target: d.Target, Record: d.Record, ReadOnly: true, Policies: d.Policies})
	if err != nil {
		return err
	}
	for _, change := range planned.Changes() {
		if change.Action == manifest.None && change.Live.GetDeletionTimestamp() == nil {
			u.keep(change.ID, "its annotation says that it stays")
		}
	}
	held := planned.Held()
	for _, change := range held {
		u.keep(change.ID, change.Held.Message+"; run uninstall again when that has ended")
	}
	reason := "deployed by " + d.Target.String()
	if u.options.DryRun {
		for _, change := range planned.Pending() {
			u.noteDeleted(change.ID, reason)
		}
		if len(held) > 0 {
			return errors.New(target.WouldWait(held))
		}
		return nil
	}
	ids, err := u.options.Delete(ctx, withoutLimits(d))
	for _, id := range ids {
		u.noteDeleted(id, reason)
	}
	return err
}

// withoutLimits returns a target whose objects may all be deleted: the limits of an environment are for commits.
func withoutLimits(d *target.Desired) *target.Desired {
	free, environment, enabled := *d, *d.Environment, true
	environment.Prune.Enabled, environment.Prune.MaxObjects = &enabled, 0
	free.Environment, free.Snapshot = &environment, source.Snapshot{Commit: d.Record.Status.LastAttemptedCommit}
	return &free
}
