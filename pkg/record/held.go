package record

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// mostHeld bounds the held changes that a record lists.
const mostHeld = 50

// HeldChanges returns the entries of held changes. A change that was held before keeps its time.
func HeldChanges(before []v1alpha1.HeldChange, held []manifest.Change, now metav1.Time) []v1alpha1.HeldChange {
	var out []v1alpha1.HeldChange
	for _, change := range held {
		h := v1alpha1.HeldChange{
			ObjectReference: v1alpha1.ReferenceTo(change.ID), Action: string(change.Held.Action), Reason: string(change.Held.Reason),
			Message: change.Held.Message, Since: now, Hash: change.Held.Hash,
		}
		if at := slices.IndexFunc(before, func(b v1alpha1.HeldChange) bool { return isSameChange(b, h) }); at >= 0 {
			h.Since = before[at].Since
		}
		out = append(out, h)
	}
	return out
}

// keptHeld returns the held changes that a record lists: the first ones, with their messages cut.
func keptHeld(all []v1alpha1.HeldChange) []v1alpha1.HeldChange {
	kept := slices.Clone(all[:min(len(all), mostHeld)])
	for i := range kept {
		kept[i].Message = manifest.Cut(kept[i].Message, mostReason)
	}
	return kept
}

// isSameChange reports whether two entries are of one change. The reason of its wait may be another one.
func isSameChange(a, b v1alpha1.HeldChange) bool {
	return a.ObjectReference == b.ObjectReference && a.Action == b.Action && a.Hash == b.Hash
}

// newlyHeld reports whether a change is held that was not held before.
func newlyHeld(before, held []v1alpha1.HeldChange) bool {
	return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool {
		return !slices.ContainsFunc(before, func(b v1alpha1.HeldChange) bool { return isSameChange(b, h) })
	})
}

// releases reports whether all applied changes were held before, in the same form. A change that a later commit alters
// belongs to the deployment of that commit.
func releases(before []v1alpha1.HeldChange, changes []manifest.Change, inventory []v1alpha1.InventoryEntry) bool {
	applied := map[v1alpha1.ObjectReference]string{} // a pruned object has no hash, like its held change
	for _, entry := range inventory {
		applied[v1alpha1.ReferenceTo(entry.ID())] = entry.Hash
	}
	return len(changes) > 0 && !slices.ContainsFunc(changes, func(change manifest.Change) bool {
		object := v1alpha1.ReferenceTo(change.ID)
		return !slices.ContainsFunc(before, func(b v1alpha1.HeldChange) bool { return b.ObjectReference == object && b.Hash == applied[object] })
	})
}

// HeldMessage names in one line the changes that wait, and their reasons.
func HeldMessage(held []v1alpha1.HeldChange) string {
	var parts []string
	for _, h := range held {
		parts = append(parts, fmt.Sprintf("the %s of %s waits since %s: %s", actionNoun(h.Action), h.ID(), h.Since.UTC().Format(time.RFC3339), h.Message))
	}
	return manifest.Shorten(parts)
}

func actionNoun(action string) string {
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

// uncreated returns the held changes of objects that are not in the cluster: the others may be healthy, and the target is
// not complete.
func uncreated(held []v1alpha1.HeldChange) []v1alpha1.HeldChange {
	return slices.DeleteFunc(slices.Clone(held), func(h v1alpha1.HeldChange) bool { return h.Action != string(manifest.Create) })
}

// onlyDeletions reports whether only deletions wait: all objects of git are applied.
func onlyDeletions(held []v1alpha1.HeldChange) bool {
	return !slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.Action != string(manifest.Prune) })
}

// withoutHeld returns an inventory without the objects whose changes wait.
func withoutHeld(inventory []v1alpha1.InventoryEntry, held []v1alpha1.HeldChange) []v1alpha1.InventoryEntry {
	return slices.DeleteFunc(slices.Clone(inventory), func(entry v1alpha1.InventoryEntry) bool {
		object := v1alpha1.ReferenceTo(entry.ID())
		return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.ObjectReference == object })
	})
}
