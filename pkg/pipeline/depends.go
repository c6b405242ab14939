package pipeline

import (
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/target"
)

// reached is how far a target has come in this pass.
type reached struct {
	result    TargetResult
	health    target.Health
	inventory []v1alpha1.InventoryEntry // that health speaks of
	judged    bool                      // health says something
}

func (c *carrier) note(w *target.Desired, result TargetResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.arrived[w.Target]
	r.result = result
	c.arrived[w.Target] = r
}

func (c *carrier) noteHealth(w *target.Desired, h target.Health, inventory []v1alpha1.InventoryEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.arrived[w.Target]
	r.health, r.inventory, r.judged = h, inventory, true
	c.arrived[w.Target] = r
}

// awaitDependencies returns a waitError while a pipeline that the target depends on has not been carried out at this
// commit, or is not healthy.
func (c *carrier) awaitDependencies(ctx context.Context, w *target.Desired) error {
	for _, name := range w.Settings.DependsOn {
		other := c.agenda.Find(v1alpha1.Target{Pipeline: name, Environment: w.Environment.Name})
		h, why, err := c.dependency(ctx, other)
		if err != nil {
			return fmt.Errorf("looking at %s, which it depends on: %w", other.Target, err)
		}
		if why != "" {
			return &target.WaitError{
				Reason: reasonDependency, Message: fmt.Sprintf("it depends on %s, %s", other.Target, why),
				Until: target.WaitFor(other, h.Waiting),
			}
		}
	}
	return nil
}

// dependency says why another target is not there yet; "" when it is.
func (c *carrier) dependency(ctx context.Context, other *target.Desired) (target.Health, string, error) {
	c.mu.Lock()
	r, ok := c.arrived[other.Target]
	c.mu.Unlock()
	h := r.health
	switch {
	case ok && (r.result.Result == Failed || r.result.skipped):
		return h, "which failed", nil
	case ok && r.result.Result == Held && (!r.judged || r.result.waits()):
		return h, "which is held: " + r.result.Message, nil
	case !ok || !r.judged:
		var why string
		var err error
		if h, why, err = c.atCommit(ctx, other); why != "" || err != nil {
			return h, why, err
		}
	case h.Status != health.Healthy: // it may have become so since
		live, err := inventory.Live(ctx, other.Cluster, other.Target, r.inventory)
		if err != nil {
			return h, "", err
		}
		h = target.HealthOf(ctx, other.Cluster, r.inventory, live)
	}
	if h.Status != health.Healthy {
		return h, "which is not healthy yet: " + h.Message, nil
	}
	return h, "", nil
}

// atCommit judges a target that is not part of this pass by its record and its objects: what was applied there has to be
// what this commit says.
func (c *carrier) atCommit(ctx context.Context, other *target.Desired) (target.Health, string, error) {
	if c.alone {
		record, err := other.Cluster.Records().Get(ctx, other.Target)
		if err != nil {
			return target.Health{}, "", err
		}
		fresh := *other
		fresh.Record = record
		other = &fresh
	}
	if other.Record == nil || other.Record.Status.LastAppliedCommit == "" {
		return target.Health{}, "which was never deployed", nil
	}
	_, set, err := c.planner.At(other, other.Snapshot)
	if err != nil {
		return target.Health{}, "", err
	}
	same, err := inventory.IsApplied(ctx, other.Cluster, other.Record, set)
	if err != nil {
		return target.Health{}, "", err
	}
	if !same {
		return target.Health{}, fmt.Sprintf("which is not at commit %.8s yet", other.Snapshot.Commit), nil
	}
	live, err := inventory.Find(ctx, other.Cluster, other.Target, other.Record)
	if err != nil {
		return target.Health{}, "", err
	}
	return target.HealthOf(ctx, other.Cluster, other.Record.Status.Inventory, live), "", nil
}
