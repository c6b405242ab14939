package apply

import (
	"context"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// Install applies a set without a record or an ApplySet. Records need this set to exist. Install deletes nothing.
func Install(ctx context.Context, c *cluster.Cluster, set manifest.Set) ([]manifest.Change, error) {
	p, err := plan.MakeInstall(ctx, c, set)
	if err != nil {
		return nil, err
	}
	a := newApplication(c, p)
	err = a.run(ctx)
	changes := make([]manifest.Change, len(a.steps))
	for i, s := range a.steps {
		changes[i] = s.Change
	}
	manifest.SortChanges(changes)
	return changes, err
}
