package apply

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

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
// tell. An object that the events say nothing of is asked for a few times, and then its fate stays unknown: events are
// written a moment late, and are forgotten after an hour.
func (c *Cluster) Fates(ctx context.Context, inventory []v1alpha1.InventoryEntry, live Members) {
	for i := range inventory {
		entry := &inventory[i]
		id := entryID(*entry)
		if entry.Completed || !entry.Ephemeral || live[id.Key()] != nil || !c.asksFor(entry.UID) {
			continue
		}
		events, err := c.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, id.Namespace,
			metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(entry.UID)})
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

// fateTries is how many passes ask for the events of an object that is gone.
const fateTries = 5

// asksFor counts the questions for the events of an object, and reports whether there is to be one more. Without a UID,
// events may be those of an earlier object of the name.
func (c *Cluster) asksFor(uid types.UID) bool {
	if uid == "" {
		return false
	}
	server := c.Server()
	server.mu.Lock()
	defer server.mu.Unlock()
	server.asked[uid]++
	return server.asked[uid] <= fateTries
}
