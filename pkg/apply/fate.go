package apply

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Events by which controllers say how a run ended: the Job controller with the reason of the condition, the Spark operator
// and Argo Workflows with reasons of their own.
var (
	endedWell = []string{"Completed", "SparkApplicationCompleted", "WorkflowSucceeded"}
	endedBad  = []string{
		"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedIndexes", "MaxFailedIndexesExceeded",
		"SparkApplicationFailed", "WorkflowFailed", "WorkflowTimedOut",
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
		ended := c.fateOf(ctx, *entry)
		entry.Completed, entry.Failed = ended.Completed, ended.Failed
	}
}

// fate is how an object ended that is gone, as far as its events tell.
type fate struct {
	Completed bool
	Failed    bool      // with Completed
	Traces    bool      // there are events of it
	Last      time.Time // the newest of them, by the API server's clock
}

// fateOf asks the events of an object for its end. Without a UID, events may be those of an earlier object of the name.
func (c *Cluster) fateOf(ctx context.Context, entry v1alpha1.InventoryEntry) fate {
	if entry.UID == "" {
		return fate{}
	}
	events, err := c.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, entry.Namespace,
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(entry.UID)})
	if err != nil {
		return fate{} // it stays unknown
	}
	ended := fate{Traces: len(events) > 0}
	for _, event := range events {
		reason, _, _ := unstructured.NestedString(event.Object, "reason")
		ended.Failed = ended.Failed || slices.Contains(endedBad, reason)
		ended.Completed = ended.Completed || ended.Failed || slices.Contains(endedWell, reason)
		if at := event.GetCreationTimestamp().Time; at.After(ended.Last) {
			ended.Last = at
		}
	}
	return ended
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
