package pipeline

import (
	"context"
	"errors"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// Diff says what syncing a revision would change, from server-side dry runs; "" is the newest commit. It writes
// nothing. A target's Result is the one that a sync would have.
func (r *Runner) Diff(ctx context.Context, revision string, selection v1alpha1.Selection) (*Pass, error) {
	if _, err := r.Config.Select(selection.Environments); err != nil {
		return nil, err // before the network is asked
	}
	snap, err := r.snapshot(ctx, revision)
	if err != nil {
		return nil, err
	}
	agenda, err := r.planner.Plan(ctx, snap, selection)
	if err != nil {
		return nil, err
	}
	c := r.carrier(agenda)
	pass := newPass(snap)
	results := c.each(agenda.Targets, func(w *target.Desired, result *TargetResult) error { return c.diff(ctx, w, result) })
	pass.Targets = append(pass.Targets, results...)
	return pass, errors.Join(agenda.Incomplete...)
}

func (r *Runner) snapshot(ctx context.Context, revision string) (source.Snapshot, error) {
	if revision == "" {
		return r.source.Fetch(ctx)
	}
	return r.source.At(ctx, revision)
}

func (c *carrier) diff(ctx context.Context, w *target.Desired, result *TargetResult) error {
	_, overlayGone := errors.AsType[*target.MissingOverlayError](w.Err)
	var plan *apply.Plan
	var err error
	if w.Err == nil && w.Overlay == "" || overlayGone && c.permits().Prunes[w.Target] {
		plan, err = apply.Make(ctx, w.Cluster, apply.Request{Target: w.Target, Record: w.Record, Neighbours: c.near[w.Cluster.Server()], ReadOnly: true, Rules: w.Rules})
	} else if err = c.suspended(w); err == nil {
		_, plan, err = c.prepare(ctx, w, result, true)
	}
	if wait, ok := errors.AsType[*target.WaitError](err); ok {
		result.Result, result.Message = Held, wait.Error()
		return nil
	}
	if err != nil {
		return err
	}
	// What changed in the cluster is drift and not what this revision changes.
	left := plan.Leave(func(manifest.Change, *manifest.FieldChange) bool { return true })
	result.Drift = drift.Compare(w.Target.Pipeline, w.Target.Environment, left, manifest.FieldManager)
	held := plan.Held()
	result.Changes = changeResults(slices.Concat(plan.Pending(), held), true)
	switch {
	case len(held) > 0:
		result.Result, result.Message = Held, target.WouldWait(held)
	case len(result.Changes) > 0:
		result.Result = Applied
	}
	return nil
}
