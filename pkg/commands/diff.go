package commands

import (
	"context"
	"errors"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// Diff returns what syncing a revision would change, by server-side dry runs; "" is the newest commit. It writes nothing. The
// result of a target is the one that a sync would have.
func (s *Session) Diff(ctx context.Context, revision string, selection v1alpha1.Selection) (*Pass, error) {
	if _, err := s.Config.Select(selection.Environments); err != nil {
		return nil, err // before the network is asked
	}
	snap, err := snapshotAt(ctx, s.Source, revision)
	if err != nil {
		return nil, err
	}
	commit, err := s.Planner.Preview(ctx, snap, selection)
	if err != nil {
		return nil, err
	}
	pass := reconcile.NewPass(commit, s.Reconciler.Pins.NewLookups())
	pass.Shown = inventory.ListOnce(ctx, wanted(commit.Targets))
	out := newPass(snap)
	out.Refused = commit.Refused
	out.Targets = append(out.Targets, s.each(commit.Targets, func(d *target.Desired) (reconcile.Result, error) {
		return s.Reconciler.Diff(ctx, d, pass)
	})...)
	return out, errors.Join(commit.Incomplete...)
}

// snapshotAt reads a revision; "" is the newest commit.
func snapshotAt(ctx context.Context, repository *source.Repository, revision string) (source.Snapshot, error) {
	if revision == "" {
		return repository.Fetch(ctx)
	}
	return repository.At(ctx, revision)
}

// find returns a pipeline by its name; nil where there is none.
func find(pipelines []*target.Pipeline, name string) *target.Pipeline {
	i := slices.IndexFunc(pipelines, func(p *target.Pipeline) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return pipelines[i]
}
