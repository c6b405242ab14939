package inventory

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

const (
	// lateEvents is how long the event of a run's end may come after the object is gone.
	lateEvents    = 2 * time.Second
	lateEventPoll = 200 * time.Millisecond
	// freshEvents is how old the last event may be where a further one is still expected.
	freshEvents = time.Minute
)

// AwaitFate is the fate of an object that has removed itself. Where its events tell of a run that was under way a moment
// ago, or nothing yet, the event of its end is waited for.
func AwaitFate(ctx context.Context, c *cluster.Cluster, entry v1alpha1.InventoryEntry) Fate {
	var ended Fate
	_ = wait.PollUntilContextTimeout(ctx, lateEventPoll, lateEvents, true, func(context.Context) (bool, error) {
		ended = fateOf(ctx, c, entry) // not by the poll's context, which would end the last question midway
		return ended.Completed || ended.Err != nil || entry.UID == "" || ended.Traces && time.Since(ended.Last) > freshEvents, nil
	}) // at its end, the last answer stands
	return ended
}
