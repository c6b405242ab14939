package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Outcomes of a deployment in a record's history.
const (
	Applied    = "Applied"
	Failed     = "Failed"
	HeldInPart = "Held" // in part
)

// Running returns the deployment whose images run. One that is held in part does not count.
func Running(history []v1alpha1.Deployment) v1alpha1.Deployment {
	for _, d := range history {
		if d.Outcome != HeldInPart {
			return d
		}
	}
	return history[0]
}

// RunningImages returns the images that run; none where nothing was deployed.
func RunningImages(history []v1alpha1.Deployment) []v1alpha1.DeployedImage {
	if len(history) == 0 {
		return nil
	}
	return Running(history).Images
}

// carrying is the deployment of the commit last applied: it may be one that is held in part, while what runs is of an
// earlier one. Where no deployment is of that commit it changed nothing, and the one that runs is meant.
func DeploymentOf(history []v1alpha1.Deployment, commit string) v1alpha1.Deployment {
	for _, d := range history {
		if d.Commit == commit {
			return d
		}
	}
	return Running(history)
}

// onlyDeletions reports whether nothing waits but the deletion of what git does not have any more: what it has is applied.
func OnlyDeletions(held []v1alpha1.HeldChange) bool {
	return !slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.Action != string(manifest.Prune) })
}

// withoutHeld is an inventory without the objects of changes that wait.
func WithoutHeld(inventory []v1alpha1.InventoryEntry, held []v1alpha1.HeldChange) []v1alpha1.InventoryEntry {
	return slices.DeleteFunc(slices.Clone(inventory), func(entry v1alpha1.InventoryEntry) bool {
		object := v1alpha1.ReferenceTo(entry.ID())
		return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.ObjectReference == object })
	})
}

// sameDeployment reports whether what is deployed is what was, so that undoing a change of the cluster deploys nothing
// new. After a removal everything is new.
func SameDeployment(last, entry v1alpha1.Deployment, removed bool) bool {
	return last.Outcome == Applied && entry.Outcome == Applied && last.Set == entry.Set && !removed
}

// returnsTo finds the earlier deployment to which a new one goes back: the newest with the very same objects, or else,
// where the images changed, the newest with the same images.
func ReturnsTo(entry v1alpha1.Deployment, before []v1alpha1.Deployment) int64 {
	if entry.Outcome != Applied || len(before) == 0 {
		return 0
	}
	sameImages := func(d v1alpha1.Deployment) bool { return slices.Equal(d.Images, entry.Images) }
	for _, earlier := range before {
		if earlier.Outcome == Applied && earlier.Set != "" && earlier.Set == entry.Set {
			return earlier.Number
		}
	}
	if sameImages(before[0]) {
		return 0
	}
	for _, earlier := range before {
		if earlier.Outcome == Applied && sameImages(earlier) {
			return earlier.Number
		}
	}
	return 0
}

// setHash is a hash of everything that was deployed.
func SetHash(inventory []v1alpha1.InventoryEntry) string {
	hash := sha256.New()
	for _, entry := range inventory { // sorted by object
		fmt.Fprintln(hash, entry.APIVersion, entry.Kind, entry.Namespace, entry.Name, entry.Hash)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
