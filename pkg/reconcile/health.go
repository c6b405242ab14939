package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// observed is the state of the objects of a target after an apply.
type observed struct {
	health  target.Health
	swapped []string // the objects that run another image than the deployed one
	objects []health.Object
}

// observeHealth reads the state of the objects of a target after its apply, and notes it for the targets that depend on it.
// It waits for them to be healthy where the user asked for that; the error says that they are not. The state of an object that
// cannot be read is not known.
func observeHealth(ctx context.Context, t task, planned *plan.Plan, done applied, deployed []v1alpha1.DeployedImage) (observed, error) {
	d, entries := t.desired, planned.Readable(done.Inventory)
	h := target.HealthOf(ctx, d.Cluster, entries, done.Live)
	var unhealthy error
	if t.pass.Options.Wait != 0 && done.err == nil {
		h, unhealthy = untilHealthy(ctx, t, entries, h)
	}
	out := observed{health: h.WithUnread(planned)}
	out.swapped = target.Swapped(ctx, d.Cluster, entries, done.Live, d.Rendered.Fields, deployed)
	out.objects = target.ObjectsOf(ctx, d.Cluster, entries, done.Live)
	t.pass.noteHealth(d.Target, out.health, done.Inventory)
	return out, unhealthy
}

const healthPoll = time.Second

// untilHealthy reads the objects of an inventory until they are healthy, failed, or the wait has ended.
func untilHealthy(ctx context.Context, t task, entries []v1alpha1.InventoryEntry, h target.Health) (target.Health, error) {
	d, options := t.desired, t.pass.Options
	ctx, cancel := context.WithDeadline(ctx, options.Deadline)
	defer cancel()
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	for h.Status == health.InProgress {
		select {
		case <-ctx.Done():
			return h, fmt.Errorf("not healthy after %s: %s", options.Wait, h.Message)
		case <-tick.C:
		}
		live, err := inventory.Live(ctx, d.Cluster, d.Target, entries)
		if err != nil {
			return h, err
		}
		h = target.HealthOf(ctx, d.Cluster, entries, live)
	}
	if h.Status == health.Failed {
		return h, fmt.Errorf("not healthy: %s", h.Message)
	}
	return h, nil
}

// healthFor returns the health of a target as its record has it.
func healthFor(h target.Health, swapped, notes []string) record.Health {
	return record.Health{Status: h.Status, Message: h.Message, Unseen: h.Unseen, Swapped: swapped, Notes: notes}
}
