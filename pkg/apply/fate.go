package apply

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Events by which controllers say how a run ended: the Job controller with the reason of the condition, the Spark operator
// with reasons of its own.
var (
	endedWell = []string{"Completed", "SparkApplicationCompleted"}
	endedBad  = []string{
		"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedIndexes", "MaxFailedIndexesExceeded",
		"SparkApplicationFailed",
	}
)

// Fates notes how the objects of an inventory ended that removed themselves before anybody saw it, as far as their events
// tell.
func (c *Cluster) Fates(ctx context.Context, inventory []v1alpha1.InventoryEntry, live Members) {
	for i := range inventory {
		entry := &inventory[i]
		id := entryID(*entry)
		if entry.Completed || !entry.Ephemeral || live[id.Key()] != nil {
			continue
		}
		events, err := c.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, id.Namespace,
			metav1.ListOptions{FieldSelector: "involvedObject.kind=" + id.Kind + ",involvedObject.name=" + id.Name})
		if err != nil {
			continue // it stays unknown
		}
		says := func(reasons []string) bool {
			return slices.ContainsFunc(events, func(event unstructured.Unstructured) bool {
				reason, _, _ := unstructured.NestedString(event.Object, "reason")
				return slices.Contains(reasons, reason)
			})
		}
		entry.Failed = says(endedBad)
		entry.Completed = entry.Failed || says(endedWell)
	}
}
