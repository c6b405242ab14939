package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// health is how a target's objects are, taken together.
type health struct {
	status  apply.HealthStatus
	message string // names the objects that are not healthy; "" when all are
	missing bool   // an object is not in the cluster
}

// healthOf judges the live objects of an inventory. An object that ran to its end and is gone is no loss.
func healthOf(inventory []v1alpha1.InventoryEntry, live apply.Members) health {
	worst := apply.Healthy
	var waiting, failed, missing []string
	for _, entry := range inventory {
		id := manifest.ID{APIVersion: entry.APIVersion, Kind: entry.Kind, Namespace: entry.Namespace, Name: entry.Name}
		obj, ok := live[id.Key()]
		if !ok {
			if !entry.MayBeGone() {
				missing = append(missing, id.String()+" is not in the cluster")
			}
			continue
		}
		switch h := apply.HealthOf(obj); h.Status {
		case apply.InProgress:
			waiting = append(waiting, fmt.Sprintf("%s: %s", id, h.Message))
		case apply.Failed:
			failed = append(failed, fmt.Sprintf("%s: %s", id, h.Message))
		}
	}
	switch {
	case len(failed)+len(missing) > 0:
		worst = apply.Failed
	case len(waiting) > 0:
		worst = apply.InProgress
	}
	return health{status: worst, message: shorten(slices.Concat(failed, missing, waiting)), missing: len(missing) > 0}
}

// shorten keeps a condition's message readable however many objects it names.
func shorten(parts []string) string {
	const shown = 5
	if len(parts) > shown {
		parts = append(parts[:shown:shown], fmt.Sprintf("and %d more", len(parts)-shown))
	}
	return strings.Join(parts, "; ")
}

const healthPoll = time.Second

// health judges a target after its apply, and waits for it to be healthy where the user asked for that.
func (c *carrier) health(ctx context.Context, w *work, applied apply.Applied, applyErr error) (health, error) {
	h := healthOf(applied.Inventory, applied.Live)
	if c.options.Wait == 0 || applyErr != nil {
		return h, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Wait)
	defer cancel()
	tick := time.NewTicker(healthPoll)
	defer tick.Stop()
	for h.status == apply.InProgress {
		select {
		case <-ctx.Done():
			return h, fmt.Errorf("not healthy after %s: %s", c.options.Wait, h.message)
		case <-tick.C:
		}
		live, err := w.cluster.Live(ctx, w.target, applied.Inventory)
		if err != nil {
			return h, err
		}
		h = healthOf(applied.Inventory, live)
	}
	if h.status == apply.Failed {
		return h, fmt.Errorf("not healthy: %s", h.message)
	}
	return h, nil
}
