package apply

import (
	"context"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Install applies a set without a record or an ApplySet. Records need this set to exist. Install deletes nothing.
func Install(ctx context.Context, c *cluster.Cluster, set manifest.Set) ([]manifest.Change, error) {
	plan := &Plan{request: Request{Set: set}, hashes: map[manifest.Key]string{}}
	p := planner{cluster: c, plan: plan, brings: BroughtBy(set), salt: func() []byte { return nil }}
	plan.planner = &p
	if err := p.objects(ctx, nil); err != nil {
		return nil, err
	}
	plan.sort()
	if err := p.order(); err != nil {
		return nil, err
	}
	a := newApplication(c, plan)
	err := a.run(ctx)
	return plan.Changes, err
}
