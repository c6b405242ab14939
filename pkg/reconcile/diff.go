package reconcile

import (
	"context"
	"errors"
	"slices"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/target"
)

// Diff returns the result that reconciling a target would have, from server-side dry runs. It writes nothing.
func (r *Reconciler) Diff(ctx context.Context, d *target.Desired, pass *Pass) (Result, error) {
	p, err := r.difference(ctx, task{pass: pass, desired: d})
	result := p.result(d)
	if wait, ok := errors.AsType[*target.WaitError](err); ok {
		result.Result, result.Message = Held, wait.Error()
		return result, nil
	}
	if err != nil {
		return result, err
	}
	// A change of the cluster is drift, and not a change of this revision.
	left := p.planned.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
	result.Drift = drift.Compare(d.Target.Pipeline, d.Target.Environment, left, manifest.FieldManager)
	held := p.planned.Held()
	result.Changes = Changes(slices.Concat(p.planned.Pending(), held), true)
	switch {
	case len(held) > 0:
		result.Result, result.Message = Held, target.WouldWait(held)
	case len(result.Changes) > 0:
		result.Result = Applied
	}
	return result, nil
}

// difference plans a target, or its removal, read-only.
func (r *Reconciler) difference(ctx context.Context, t task) (p prepared, err error) {
	d := t.desired
	if d.Err == nil && d.Overlay == "" || is[*target.MissingOverlayError](d.Err) && t.mayPrune() {
		p.planned, err = plan.Make(ctx, d.Cluster, plan.Request{Target: d.Target, Record: d.Record, Neighbours: t.pass.neighbours[d.Cluster.Server()], ReadOnly: true, Policies: d.Policies})
		return p, err
	}
	if err := suspended(d); err != nil {
		return p, err
	}
	return r.prepare(ctx, t, true)
}
