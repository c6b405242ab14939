package inventory

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

const (
	// lateEvents is how long after the object the event of its run's end may come.
	lateEvents    = 2 * time.Second
	lateEventPoll = 200 * time.Millisecond
	// freshEvents is the age of the last event up to which syncer expects a further one.
	freshEvents = time.Minute
)

// AwaitFate is the fate of an object that has removed itself. It waits for the event of the end if the events show a run
// that was under way a moment ago, or if there are none yet.
func AwaitFate(ctx context.Context, c *cluster.Cluster, entry v1alpha1.InventoryEntry) Fate {
	var ended Fate
	_ = wait.PollUntilContextTimeout(ctx, lateEventPoll, lateEvents, true, func(context.Context) (bool, error) {
		ended = fateOf(ctx, c, entry) // not by the poll's context, which would end the last question midway
		return ended.Completed || ended.Err != nil || entry.UID == "" || ended.Traces && time.Since(ended.Last) > freshEvents, nil
	}) // at its end, the last answer stands
	return ended
}
