package reconcile

import (
	"context"
	"errors"
	"slices"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// Diff sets the result that reconciling a target would have, from server-side dry runs. It writes nothing.
func (r *Reconciler) Diff(ctx context.Context, d *target.Desired, pass *Pass, result *Result) error {
	plan, err := r.difference(ctx, d, pass, result)
	if wait, ok := errors.AsType[*target.WaitError](err); ok {
		result.Result, result.Message = Held, wait.Error()
		return nil
	}
	if err != nil {
		return err
	}
	// A change of the cluster is drift, and not a change of this revision.
	left := plan.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
	result.Drift = drift.Compare(d.Target.Pipeline, d.Target.Environment, left, manifest.FieldManager)
	held := plan.Held()
	result.Changes = Changes(slices.Concat(plan.Pending(), held), true)
	switch {
	case len(held) > 0:
		result.Result, result.Message = Held, target.WouldWait(held)
	case len(result.Changes) > 0:
		result.Result = Applied
	}
	return nil
}

// difference plans a target, or its removal, read-only.
func (r *Reconciler) difference(ctx context.Context, d *target.Desired, pass *Pass, result *Result) (*apply.Plan, error) {
	_, overlayGone := errors.AsType[*target.MissingOverlayError](d.Err)
	if d.Err == nil && d.Overlay == "" || overlayGone && pass.allowed().Prunes[d.Target] {
		return apply.Make(ctx, d.Cluster, apply.Request{Target: d.Target, Record: d.Record, Neighbours: pass.neighbours[d.Cluster.Server()], ReadOnly: true, Rules: d.Rules})
	}
	if err := suspended(d); err != nil {
		return nil, err
	}
	_, plan, err := r.prepare(ctx, d, pass, result, preparation{readOnly: true})
	return plan, err
}
