package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Outcomes of a deployment in a record's history.
const (
	Applied    = "Applied"
	Failed     = "Failed"
	HeldInPart = "Held" // the earlier objects go on running
)

// Bounds of a record's history.
const (
	keptDeployments = 20
	mostDeployments = 100 // the limit for every environment: a record has to fit into the API server's store
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

// DeploymentOf returns the deployment of a commit. A commit that changed nothing has none: then it is the one that runs.
func DeploymentOf(history []v1alpha1.Deployment, commit string) v1alpha1.Deployment {
	for _, d := range history {
		if d.Commit == commit {
			return d
		}
	}
	return Running(history)
}

// history adds a deployment, or replaces the entry of a commit that is tried again. A correction of a change of the
// cluster deploys nothing new.
func (p *pass) history() []v1alpha1.Deployment {
	entry, before := p.deployment(), p.before.History
	if len(before) > 0 {
		last := before[0]
		entry.Number = last.Number + 1
		switch {
		case p.isSame(last, entry):
			return before
		case last.Commit == entry.Commit && last.Outcome != Applied:
			entry.Number, before = last.Number, before[1:]
			if last.Outcome == entry.Outcome {
				entry.Time = last.Time // a second try with the same outcome is no change
			}
			if len(before) > 0 && p.isSame(before[0], entry) {
				return before // a correction that took more than one try
			}
		case last.Outcome == HeldInPart && releases(p.before.Held, p.Apply.Changes, p.Apply.Inventory):
			// Other commits came in the meantime, and the applied changes are those of the held deployment.
			entry.Number, entry.Commit, entry.Author, entry.Subject = last.Number, last.Commit, last.Author, last.Subject
			before = before[1:]
		}
	}
	entry.RollbackOf = returnsTo(entry, before)
	history := append([]v1alpha1.Deployment{entry}, before...)
	return history[:min(len(history), max(keptDeployments, min(p.Rules.KeepDeployments, mostDeployments)))]
}

// deployment is the entry of this pass, with the number of a first one.
func (p *pass) deployment() v1alpha1.Deployment {
	entry := v1alpha1.Deployment{
		Number: 1, Commit: p.Commit.Hash, Author: p.Commit.Author, Subject: p.Commit.Subject,
		Time: stamp(p.now), Outcome: Applied, Images: p.Apply.Images, AllowedBy: p.Apply.AllowedBy,
	}
	switch {
	case p.Failure != nil:
		entry.Outcome = Failed
	case !onlyDeletions(p.held):
		entry.Outcome = HeldInPart
	default:
		entry.Set = setHash(withoutHeld(p.Apply.Inventory, p.held))
	}
	return entry
}

// isSame reports whether an entry deploys the same as the last one. After a removal everything is new.
func (p *pass) isSame(last, entry v1alpha1.Deployment) bool {
	return last.Outcome == Applied && entry.Outcome == Applied && last.Set == entry.Set && p.before.RemovedAt == nil
}

// returnsTo finds the earlier deployment to which a new one goes back: the newest with the same objects, or else, where
// the images changed, the newest with the same images. It returns 0 where there is none.
func returnsTo(entry v1alpha1.Deployment, before []v1alpha1.Deployment) int64 {
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

// setHash is a hash of all deployed objects. The inventory is sorted by object.
func setHash(inventory []v1alpha1.InventoryEntry) string {
	hash := sha256.New()
	for _, entry := range inventory {
		fmt.Fprintln(hash, entry.APIVersion, entry.Kind, entry.Namespace, entry.Name, entry.Hash)
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
