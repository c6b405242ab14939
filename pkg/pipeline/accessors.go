package pipeline

import (
	"context"
	"errors"

	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// Planner returns the planner of the configuration, with its connections to the clusters.
func (r *Runner) Planner() *target.Planner { return r.planner }

// Source returns the repository of the configuration.
func (r *Runner) Source() *source.Repository { return r.source }

// Registry returns the registries of the configuration.
func (r *Runner) Registry() *image.Registry { return r.registry }

// Delete deletes the objects and the record of one target, as if it had left git, and returns the objects that it deleted.
// The error says what still exists.
func (r *Runner) Delete(ctx context.Context, d *target.Desired) (deleted []manifest.ID, err error) {
	c := carrier{Runner: r, total: 1}
	result := newResult(d)
	err = c.remove(ctx, d, &result)
	for _, change := range result.Changes {
		if change.Action == manifest.Prune {
			deleted = append(deleted, change.Object)
		}
	}
	if err == nil && result.Result == Held {
		err = errors.New(result.Message)
	}
	return deleted, err
}
