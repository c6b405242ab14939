package record

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// heldReason is the reason of the condition Held: that of the first change, since a condition has one.
func HeldReason(held []v1alpha1.HeldChange) string {
	return cmp.Or(held[0].Reason, string(manifest.HeldRunning))
}

// heldChanges is what a record says of the changes that wait. A change that was held before keeps the time since when.
func HeldChanges(before []v1alpha1.HeldChange, held []manifest.Change, now metav1.Time) []v1alpha1.HeldChange {
	var out []v1alpha1.HeldChange
	for _, change := range held {
		h := v1alpha1.HeldChange{
			ObjectReference: v1alpha1.ReferenceTo(change.ID), Action: string(change.Held.Action), Reason: string(change.Held.Reason),
			Message: change.Held.Message, Since: now, Hash: change.Held.Hash,
		}
		if at := slices.IndexFunc(before, func(b v1alpha1.HeldChange) bool { return sameHold(b, h) }); at >= 0 {
			h.Since = before[at].Since
		}
		out = append(out, h)
	}
	return out
}

// sameHold reports whether two records are of one change; what it waits for may have changed.
func sameHold(a, b v1alpha1.HeldChange) bool {
	return a.ObjectReference == b.ObjectReference && a.Action == b.Action && a.Hash == b.Hash
}

// newlyHeld reports whether a pass held a change that the last one did not.
func NewlyHeld(before, held []v1alpha1.HeldChange) bool {
	return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool {
		return !slices.ContainsFunc(before, func(b v1alpha1.HeldChange) bool { return sameHold(b, h) })
	})
}

// releases reports whether a pass carried out nothing but changes that were held, as they were held: what a later commit
// made of them is that commit's deployment.
func Releases(before []v1alpha1.HeldChange, changes []manifest.Change, inventory []v1alpha1.InventoryEntry) bool {
	applied := map[v1alpha1.ObjectReference]string{} // a pruned object has no hash, like its held change
	for _, entry := range inventory {
		applied[v1alpha1.ReferenceTo(entry.ID())] = entry.Hash
	}
	return len(changes) > 0 && !slices.ContainsFunc(changes, func(change manifest.Change) bool {
		object := v1alpha1.ReferenceTo(change.ID)
		return !slices.ContainsFunc(before, func(b v1alpha1.HeldChange) bool { return b.ObjectReference == object && b.Hash == applied[object] })
	})
}

// heldMessage says in one line what waits for what.
func HeldMessage(held []v1alpha1.HeldChange) string {
	var parts []string
	for _, h := range held {
		id := h.ID()
		parts = append(parts, fmt.Sprintf("the %s of %s waits since %s: %s", verb(h.Action), id, h.Since.UTC().Format(time.RFC3339), h.Message))
	}
	return manifest.Shorten(parts)
}

func verb(action string) string {
	switch manifest.Action(action) {
	case manifest.Create:
		return "creation"
	case manifest.Replace:
		return "replacement"
	case manifest.Prune:
		return "deletion"
	}
	return "change"
}

// heldSummary counts what waits, for the line of a target.
func HeldSummary(held []v1alpha1.HeldChange) []string {
	if len(held) == 0 {
		return nil
	}
	return []string{manifest.Plural(len(held), "change") + " held"}
}

// uncreated are the held changes of objects that are not in the cluster: what is there may be healthy, and is not what git
// says.
func Uncreated(held []v1alpha1.HeldChange) []v1alpha1.HeldChange {
	return slices.DeleteFunc(slices.Clone(held), func(h v1alpha1.HeldChange) bool { return h.Action != string(manifest.Create) })
}
