package pipeline

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
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
		Time: c.dates().Stamp(w.Cluster), Outcome: record.Applied, Images: o.images,
		AllowedBy: o.allowedBy,
	}
	switch {
	case o.err != nil:
		entry.Outcome = record.Failed
	case !record.OnlyDeletions(o.held):
		entry.Outcome = record.HeldInPart
	default:
		entry.Set = record.SetHash(record.WithoutHeld(o.inventory, o.held))
	}
	removed := w.Record != nil && w.Record.Status.RemovedAt != nil
	if len(before) > 0 {
		entry.Number = before[0].Number + 1
		last := before[0]
		if record.SameDeployment(last, entry, removed) {
			return before
		}
		if last.Commit == entry.Commit && last.Outcome != record.Applied {
			entry.Number, before = last.Number, before[1:]
			if last.Outcome == entry.Outcome {
				entry.Time = last.Time // the same again says nothing new
			}
			if len(before) > 0 && record.SameDeployment(before[0], entry, removed) {
				return before // a correction that took more than one try
			}
		} else if last.Outcome == record.HeldInPart && o.released {
			// Other commits came in the meantime; what goes out now is what that one said.
			entry.Number, entry.Commit, entry.Author, entry.Subject = last.Number, last.Commit, last.Author, last.Subject
			before = before[1:]
		}
	}
	entry.RollbackOf = record.ReturnsTo(entry, before)
	history := append([]v1alpha1.Deployment{entry}, before...)
	return history[:min(len(history), max(keptDeployments, min(*w.Environment.Images.KeepPins.Deployments, mostDeployments)))]
}
