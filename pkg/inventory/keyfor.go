package inventory

import (
	"context"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// KeyFor returns the key for the hashes of a set, or nil where the set has no Secret. create makes the key where there
// is none; without it a missing key is nil, and no Secret compares equal to its inventory.
func KeyFor(ctx context.Context, c *cluster.Cluster, set manifest.Set, create bool) ([]byte, error) {
	for _, obj := range set {
		if manifest.IsSecret(obj) {
			return c.Key(ctx, create)
		}
	}
	return nil, nil
}
