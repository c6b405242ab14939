package plan

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// absent returns the reason why a step must wait that depends on an object which is not in the cluster. It returns "" if the
// step need not wait: the object belongs to another target, and that target's record says that the object ran and removed
// itself. If the record does not have the outcome yet, absent reads the events of the object.
func absent(ctx context.Context, c *Comparer, id manifest.ID) (string, error) {
	target, entry, err := recordedElsewhere(ctx, c, id)
	if err != nil {
		return "", err
	}
	if !entry.MayBeGone() {
		return "is not in the cluster", nil
	}
	ended := inventory.Fate{Completed: entry.Completed, Failed: entry.Failed}
	if !entry.Completed {
		ended = inventory.AwaitFate(ctx, c.cluster, entry)
	}
	switch {
	case ended.Err != nil && !apierrors.IsForbidden(ended.Err):
		return "", fmt.Errorf("reading the events of %s: %w", id, ended.Err)
	case ended.Failed:
		return fmt.Sprintf("failed before it removed itself, by the record of %s", target), nil
	case ended.CutOff():
		return fmt.Sprintf("was deleted before it ended; it is an object of %s", target), nil
	}
	return "", nil
}

// recordedElsewhere finds an object in the inventory of another target. It looks at the target that names the object in the
// commit first, and then at every record in the same namespace as this target's record.
func recordedElsewhere(ctx context.Context, c *Comparer, id manifest.ID) (v1alpha1.Target, v1alpha1.InventoryEntry, error) {
	if full, err := c.cluster.Scope(id); err == nil {
		id = full
	}
	own := c.request.Target
	if target, named := c.request.Neighbours.NamedBy(id); named && target != own {
		record, err := c.cluster.Records().Latest(ctx, target)
		return target, inventory.ByKey(record)[id.Key()], err
	}
	records, err := c.cluster.Records().LatestList(ctx)
	for _, record := range records {
		target := v1alpha1.Target{Pipeline: record.Spec.Pipeline, Environment: record.Spec.Environment}
		if entry, found := inventory.ByKey(record)[id.Key()]; found && target != own {
			return target, entry, nil
		}
	}
	return v1alpha1.Target{}, v1alpha1.InventoryEntry{}, err
}
