package inventory

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Fates notes the end of the inventory's objects that removed themselves, or that a person deleted, before syncer saw
// their end, as far as their events show it. For an object without events syncer asks a few times; then its fate stays
// unknown: events come a moment late, and the cluster removes them after an hour.
func Fates(ctx context.Context, c *cluster.Cluster, inventory []v1alpha1.InventoryEntry, live Members) {
	var g panics.Group
	g.SetLimit(cluster.FanOut)
	for i := range inventory {
		entry := &inventory[i] // each worker owns one
		if entry.Completed || !entry.Ephemeral || live[entry.ID().Key()] != nil || !cluster.AskAgain(c, entry.UID) {
			continue
		}
		g.Go(func() error {
			ended := endOf(ctx, c, *entry)
			// A fate stays known after the cluster has removed the events.
			entry.Completed, entry.Failed, entry.Deleted = ended.Completed, ended.Failed, ended.CutOff() || entry.Deleted && !ended.Completed
			return nil
		})
	}
	_ = g.Wait() // an unknown fate stays unknown
}

// FatesOf is Fates for the inventory of a plan, which has the objects of git.
func FatesOf(ctx context.Context, c *cluster.Cluster, recorded map[manifest.Key]v1alpha1.InventoryEntry, found Found, set manifest.Set) {
	var keys []manifest.Key
	var gone []v1alpha1.InventoryEntry
	for key, entry := range recorded {
		if entry.Ephemeral && !entry.Completed && found.Members[key] == nil && found.Unread.Of(key) == nil {
			keys, gone = append(keys, key), append(gone, entry)
		}
	}
	Fates(ctx, c, gone, found.Members)
	for i, key := range keys {
		if entry := &gone[i]; !entry.Completed && tooSoon(c, set.Find(entry.ID()), *entry) {
			entry.Deleted = true
		}
		recorded[key] = gone[i]
	}
}

// tooSoon reports whether an object is gone sooner than it could have removed itself. This proves a deletion by a
// person, with or without events: the object had not ended when it was written.
func tooSoon(c *cluster.Cluster, rendered *unstructured.Unstructured, entry v1alpha1.InventoryEntry) bool {
	now, known := c.Date() // no other clock proves it
	if rendered == nil || entry.Spec != manifest.SpecHash(rendered) || entry.Written == nil || entry.Unconfirmed || !known {
		return false
	}
	return now.Before(entry.Written.Add(health.Lifetime(rendered)))
}

// endOf is the fate of an object that is gone. It waits for the event of the end, unless this event was missed before.
func endOf(ctx context.Context, c *cluster.Cluster, entry v1alpha1.InventoryEntry) (ended Fate) {
	_ = wait.PollUntilContextTimeout(ctx, lateEventPoll, lateEvents, true, func(context.Context) (bool, error) {
		ended = fateOf(ctx, c, entry) // not by the poll's context, which would end the last question midway
		return ended.Completed || !ended.Traces || entry.Deleted, nil
	}) // at its end, the last answer stands
	return ended
}

// mostEvents is the number of events up to which the events of one object count as complete: client-go drops further
// ones of a burst of 25 (tools/record, defaultSpamBurst), among them the last event of a run with many pods.
const mostEvents = 20

// CutOff reports whether a person deleted an object before its run had ended: the object left events, the events are
// complete, and none of them is that of an end.
func (f Fate) CutOff() bool { return f.Traces && !f.Completed && f.Count <= mostEvents }

// Fate is the end of an object that is gone, as far as its events show it.
type Fate struct {
	Completed bool
	Failed    bool      // with Completed
	Traces    bool      // there are events of it
	Last      time.Time // the newest of them, by the API server's clock
	Count     int64     // how often they were reported
	Err       error     // why they could not be read
}

// fateOf reads the end of an object from its events. Without a UID, events may be those of an earlier object of the same
// name.
func fateOf(ctx context.Context, c *cluster.Cluster, entry v1alpha1.InventoryEntry) Fate {
	if entry.UID == "" {
		return Fate{}
	}
	events, err := c.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, entry.Namespace,
		metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(entry.UID)})
	if err != nil {
		return Fate{Err: err} // it stays unknown
	}
	ended, kind := Fate{Traces: len(events) > 0}, health.KindOf(entry.ID().GroupKind())
	for _, event := range events {
		reason, _, _ := unstructured.NestedString(event.Object, "reason")
		completed, failed := kind.EndedBy(reason)
		ended.Completed, ended.Failed = ended.Completed || completed, ended.Failed || failed
		count, _, _ := unstructured.NestedInt64(event.Object, "count")
		ended.Count += max(1, count)
		if at := event.GetCreationTimestamp().Time; at.After(ended.Last) {
			ended.Last = at
		}
	}
	return ended
}

// CutOff says that a run was cut off, from the events that its object left. If the object is gone sooner than it could
// have removed itself, only a deletion explains it. Else an event of its end may be lost, as when its controller stops.
func CutOff(ctx context.Context, c *cluster.Cluster, rendered *unstructured.Unstructured, entry v1alpha1.InventoryEntry) *manifest.Loss {
	ended, lifetime := fateOf(ctx, c, entry), health.Lifetime(rendered)
	now := c.Now()
	proven := ended.CutOff() && now.Before(ended.Last.Add(lifetime)) && now.Add(time.Minute).After(ended.Last) ||
		!ended.Completed && tooSoon(c, rendered, entry)
	return &manifest.Loss{Kind: manifest.CutOff, Unproven: !proven}
}
