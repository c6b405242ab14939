package inventory

import (
	"maps"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// ByKey indexes a record's inventory.
func ByKey(record *v1alpha1.PipelineSync) map[manifest.Key]v1alpha1.InventoryEntry {
	entries := map[manifest.Key]v1alpha1.InventoryEntry{}
	if record == nil {
		return entries
	}
	for _, entry := range record.Status.Inventory {
		entries[entry.ID().Key()] = entry
	}
	return entries
}

// Sorted returns the entries of an inventory in the order of their IDs.
func Sorted(entries map[manifest.Key]v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	return slices.SortedFunc(maps.Values(entries), func(a, b v1alpha1.InventoryEntry) int {
		return a.ID().Compare(b.ID())
	})
}
