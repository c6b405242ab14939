package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
	"k8s.io/apimachinery/pkg/api/meta"
)

// tell writes the events that a step of a record is worth: what was deployed, what waits or failed from now on, what
// drifted and what was put right. A record that stays as it is gives none.
func (c *carrier) tell(ctx context.Context, w *target.Desired, written cluster.Written, before, after v1alpha1.PipelineSyncStatus) {
	record := w.Record
	if record == nil {
		record = &v1alpha1.PipelineSync{}
		record.Name, record.Namespace = w.Target.RecordName(), w.Cluster.Namespace()
	}
	if record.UID == "" {
		of := *record
		of.UID = written.UID
		record = &of
	}
	for _, event := range slices.Concat(deploymentNews(before, after), conditionNews(before, after), driftNews(before.Drift, after.Drift)) {
		if err := w.Cluster.Records().Tell(ctx, record, event); err != nil {
			c.log.Warn("an event could not be written", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
		}
	}
}

// tellRewound says that a target follows a history that was rewritten, which is one way to roll back and may be a mistake.
func (r *Runner) tellRewound(ctx context.Context, w *target.Desired, before string) {
	if w.Record == nil {
		return // it was never deployed, so that nothing was taken back
	}
	note := fmt.Sprintf("the branch was rewritten by a force push; it stood at %.8s, and %.8s is followed now", before, w.Snapshot.Commit)
	err := w.Cluster.Records().Tell(ctx, w.Record, cluster.Event{Warning: true, Reason: "HistoryRewritten", Action: "Fetch", Note: note})
	if err != nil {
		r.log.Warn("an event could not be written", "pipeline", w.Target.Pipeline, "environment", w.Target.Environment, "error", err)
	}
}

// deploymentNews says what was deployed.
func deploymentNews(before, after v1alpha1.PipelineSyncStatus) []cluster.Event {
	if len(after.History) == 0 || after.History[0].Outcome != record.Applied {
		return nil
	}
	last := after.History[0]
	if len(before.History) > 0 && before.History[0].Number == last.Number && before.History[0].Outcome == record.Applied {
		return nil
	}
	note := fmt.Sprintf("deployment %d: commit %.8s %q by %s", last.Number, last.Commit, last.Subject, last.Author)
	if last.RollbackOf != 0 {
		return []cluster.Event{{Reason: "RolledBack", Action: "Apply", Note: fmt.Sprintf("%s, which returns to deployment %d", note, last.RollbackOf)}}
	}
	return []cluster.Event{{Reason: "Deployed", Action: "Apply", Note: note}}
}

// conditionNews says what waits or failed, and did not do so before for the same reason.
func conditionNews(before, after v1alpha1.PipelineSyncStatus) []cluster.Event {
	var events []cluster.Event
	held, was := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionHeld), meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionHeld)
	if held != nil && held.Status == "True" && (was == nil || was.Status != "True" || was.Reason != held.Reason) {
		events = append(events, cluster.Event{Reason: "Held", Action: "Apply", Note: held.Message})
	}
	stalled, was := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionStalled), meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionStalled)
	if stalled != nil && stalled.Status == "True" && (was == nil || was.Status != "True" || was.Reason != stalled.Reason) {
		events = append(events, cluster.Event{Warning: true, Reason: stalled.Reason, Action: "Apply", Note: stalled.Message})
	}
	return events
}

// driftNews says what drifted since the last check, and what was put right.
func driftNews(before, after *v1alpha1.DriftSummary) []cluster.Event {
	var events []cluster.Event
	found, corrected := drift.News(before, after)
	if len(found) > 0 {
		events = append(events, cluster.Event{Warning: true, Reason: "Drifted", Action: "Compare", Note: manifest.Shorten(found)})
	}
	if len(corrected) > 0 {
		events = append(events, cluster.Event{Reason: "DriftCorrected", Action: "Correct", Note: "put right: " + manifest.Shorten(corrected)})
	}
	return events
}
