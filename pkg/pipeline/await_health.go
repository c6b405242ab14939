package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/target"
)

const healthPoll = time.Second

// judgeHealth judges a target after its apply, and waits for it to be healthy where the user asked for that.
func (c *carrier) judgeHealth(ctx context.Context, w *target.Desired, applied apply.Applied, applyErr error) (target.Health, error) {
	h := target.HealthOf(ctx, w.Cluster, applied.Inventory, applied.Live)
	if c.options.Wait == 0 || applyErr != nil {
		return h, nil
	}
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	for h.Status == health.InProgress {
		select {
		case <-ctx.Done():
			return h, fmt.Errorf("not healthy after %s: %s", c.options.Wait, h.Message)
		case <-tick.C:
		}
		live, err := inventory.Live(ctx, w.Cluster, w.Target, applied.Inventory)
		if err != nil {
			return h, err
		}
		h = target.HealthOf(ctx, w.Cluster, applied.Inventory, live)
	}
	if h.Status == health.Failed {
		return h, fmt.Errorf("not healthy: %s", h.Message)
	}
	return h, nil
}
