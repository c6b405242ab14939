package setup

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// Install applies the manifests of InstallManifests to the clusters of the selected environments, to each cluster once.
func Install(ctx context.Context, config *v1alpha1.Config, clusters *target.Clusters, environments []string) ([]manifest.Change, error) {
	selected, err := config.Select(environments)
	if err != nil {
		return nil, err
	}
	set, err := InstallManifests(config.Namespace)
	if err != nil {
		return nil, err
	}
	var changes []manifest.Change
	var errs []error
	done := map[*cluster.Cluster]bool{}
	for _, environment := range selected {
		cluster, err := clusters.Of(environment)
		if err == nil && !done[cluster] {
			done[cluster] = true
			var installed []manifest.Change
			installed, err = apply.Install(ctx, cluster, set)
			changes = append(changes, installed...)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("environment %s: %w", environment.Name, err))
		}
	}
	return changes, errors.Join(errs...)
}
