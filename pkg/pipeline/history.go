package pipeline

import (
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// History reads a target's deployments from its record.
func (r *Runner) History(ctx context.Context, target v1alpha1.Target) (view.History, error) {
	out := view.History{Pipeline: target.Pipeline, Environment: target.Environment, Deployments: []drift.Deployment{}}
	environments, err := r.Config.Select([]string{target.Environment})
	if err != nil {
		return out, err
	}
	cluster, err := r.clusters.Of(environments[0])
	if err != nil {
		return out, fmt.Errorf("environment %s: %w", target.Environment, err)
	}
	record, err := cluster.Records().Get(ctx, target)
	if err != nil {
		return out, err
	}
	if record == nil || record.Spec.Owner != r.Config.Name {
		return out, fmt.Errorf("%s was never deployed by the configuration %q", target, r.Config.Name)
	}
	out.Deployments = drift.DeploymentsOf(record.Status.History)
	return out, nil
}
