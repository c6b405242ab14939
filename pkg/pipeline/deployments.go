package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/target"
)

// Outcomes of a deployment in a record's history.
const (
	outcomeApplied = "Applied"
	outcomeFailed  = "Failed"
	outcomeHeld    = "Held" // in part
)

// keptDeployments bounds a record's history.
const (
	keptDeployments = 20
	mostDeployments = 100 // whatever keepPins says: a record has to fit into the API server's store
)

// history adds a deployment, or mends the entry of a commit that is tried again. Undoing a change that was made in the
// cluster deploys nothing new.
func (c *carrier) history(w *target.Desired, before []v1alpha1.Deployment, o outcome) []v1alpha1.Deployment {
	entry := v1alpha1.Deployment{
		Number: 1, Commit: w.Snapshot.Commit, Author: w.Snapshot.Author, Subject: w.Snapshot.Subject,
		Time: c.dates().Stamp(w.Cluster), Outcome: outcomeApplied, Images: o.images,
		AllowedBy: o.allowedBy,
	}
	switch {
	case o.err != nil:
		entry.Outcome = outcomeFailed
	case !onlyDeletions(o.held):
		entry.Outcome = outcomeHeld
	default:
		entry.Set = setHash(withoutHeld(o.inventory, o.held))
	}
	if len(before) > 0 {
		entry.Number = before[0].Number + 1
		last := before[0]
		if sameDeployment(last, entry, w.Record) {
			return before
		}
		if last.Commit == entry.Commit && last.Outcome != outcomeApplied {
			entry.Number, before = last.Number, before[1:]
			if last.Outcome == entry.Outcome {
				entry.Time = last.Time // the same again says nothing new
			}
			if len(before) > 0 && sameDeployment(before[0], entry, w.Record) {
				return before // a correction that took more than one try
			}
		} else if last.Outcome == outcomeHeld && o.released {
			// Other commits came in the meantime; what goes out now is what that one said.
			entry.Number, entry.Commit, entry.Author, entry.Subject = last.Number, last.Commit, last.Author, last.Subject
			before = before[1:]
		}
	}
	entry.RollbackOf = returnsTo(entry, before)
	history := append([]v1alpha1.Deployment{entry}, before...)
	return history[:min(len(history), max(keptDeployments, min(*w.Environment.Images.KeepPins.Deployments, mostDeployments)))]
}

// onlyDeletions reports whether nothing waits but the deletion of what git does not have any more: what it has is applied.
func onlyDeletions(held []v1alpha1.HeldChange) bool {
	return !slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.Action != string(manifest.Prune) })
}

// withoutHeld is an inventory without the objects of changes that wait.
func withoutHeld(inventory []v1alpha1.InventoryEntry, held []v1alpha1.HeldChange) []v1alpha1.InventoryEntry {
	return slices.DeleteFunc(slices.Clone(inventory), func(entry v1alpha1.InventoryEntry) bool {
		object := objectReference(entry.ID())
		return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.ObjectReference == object })
	})
}

// sameDeployment reports whether what is deployed is what was, so that undoing a change of the cluster deploys nothing
// new. After a removal everything is new.
func sameDeployment(last, entry v1alpha1.Deployment, record *v1alpha1.PipelineSync) bool {
	removed := record != nil && record.Status.RemovedAt != nil
	return last.Outcome == outcomeApplied && entry.Outcome == outcomeApplied && last.Set == entry.Set && !removed
}

// returnsTo finds the earlier deployment to which a new one goes back: the newest with the very same objects, or else,
// where the images changed, the newest with the same images.
func returnsTo(entry v1alpha1.Deployment, before []v1alpha1.Deployment) int64 {
	if entry.Outcome != outcomeApplied || len(before) == 0 {
		return 0
	}
	sameImages := func(d v1alpha1.Deployment) bool { return slices.Equal(d.Images, entry.Images) }
	for _, earlier := range before {
		if earlier.Outcome == outcomeApplied && earlier.Set != "" && earlier.Set == entry.Set {
			return earlier.Number
		}
	}
	if sameImages(before[0]) {
		return 0
	}
	for _, earlier := range before {
		if earlier.Outcome == outcomeApplied && sameImages(earlier) {
			return earlier.Number
		}
	}
	return 0
}

// setHash is a hash of everything that was deployed.
func setHash(inventory []v1alpha1.InventoryEntry) string {
	hash := sha256.New()
	for _, entry := range inventory { // sorted by object
		fmt.Fprintln(hash, entry.APIVersion, entry.Kind, entry.Namespace, entry.Name, entry.Hash)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
