package record

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
)

// NewlyCutOff reports whether a run is gone that was there at the last reconcile: the event of its end may come late, so that
// the target is looked at once more.
func NewlyCutOff(before, after []v1alpha1.InventoryEntry) bool {
	known := map[types.UID]bool{}
	for _, entry := range before {
		known[entry.UID] = entry.Deleted
	}
	return slices.ContainsFunc(after, func(entry v1alpha1.InventoryEntry) bool { return entry.Deleted && !known[entry.UID] })
}
