package commands

import (
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/view"
)

// History reads the deployments of a target from its record, the newest first.
func (s *Session) History(ctx context.Context, of v1alpha1.Target) (view.History, error) {
	out := view.History{Pipeline: of.Pipeline, Environment: of.Environment, Deployments: []drift.Deployment{}}
	environments, err := s.Config.Select([]string{of.Environment})
	if err != nil {
		return out, err
	}
	cluster, err := s.Clusters.Of(environments[0])
	if err != nil {
		return out, fmt.Errorf("environment %s: %w", of.Environment, err)
	}
	r, err := cluster.Records().Get(ctx, of)
	if err != nil {
		return out, err
	}
	if r == nil || r.Spec.Owner != s.Config.Name {
		return out, fmt.Errorf("%s was never deployed by the configuration %q", of, s.Config.Name)
	}
	out.Deployments = drift.DeploymentsOf(r.Status.History)
	return out, nil
}
