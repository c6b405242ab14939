package record

import (
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"k8s.io/apimachinery/pkg/api/meta"
)

// Event is an event of a record.
type Event struct {
	Warning      bool
	Reason       string
	Action, Note string
}

// Events returns the events that a step of a record is worth: deployments, new waits and failures, drift and corrections.
func Events(before, after v1alpha1.PipelineSyncStatus) []Event {
	return slices.Concat(deploymentEvents(before, after), conditionEvents(before, after), driftEvents(before.Drift, after.Drift))
}

// deploymentEvents are about deployments.
func deploymentEvents(before, after v1alpha1.PipelineSyncStatus) []Event {
	if len(after.History) == 0 || after.History[0].Outcome != Applied {
		return nil
	}
	last := after.History[0]
	if len(before.History) > 0 && before.History[0].Number == last.Number && before.History[0].Outcome == Applied {
		return nil
	}
	note := fmt.Sprintf("deployment %d: commit %.8s %q by %s", last.Number, last.Commit, last.Subject, last.Author)
	if last.RollbackOf != 0 {
		return []Event{{Reason: "RolledBack", Action: "Apply", Note: fmt.Sprintf("%s, which returns to deployment %d", note, last.RollbackOf)}}
	}
	return []Event{{Reason: "Deployed", Action: "Apply", Note: note}}
}

// conditionEvents are about waits and failures that are new, or have a new reason.
func conditionEvents(before, after v1alpha1.PipelineSyncStatus) []Event {
	var events []Event
	held, was := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionHeld), meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionHeld)
	if held != nil && held.Status == "True" && (was == nil || was.Status != "True" || was.Reason != held.Reason) {
		events = append(events, Event{Reason: "Held", Action: "Apply", Note: held.Message})
	}
	stalled, was := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionStalled), meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionStalled)
	if stalled != nil && stalled.Status == "True" && (was == nil || was.Status != "True" || was.Reason != stalled.Reason) {
		events = append(events, Event{Warning: true, Reason: stalled.Reason, Action: "Apply", Note: stalled.Message})
	}
	return events
}

// driftEvents are about new drift, and about corrected drift.
func driftEvents(before, after *v1alpha1.DriftSummary) []Event {
	var events []Event
	found, corrected := drift.News(before, after)
	if len(found) > 0 {
		events = append(events, Event{Warning: true, Reason: "Drifted", Action: "Compare", Note: manifest.Shorten(found)})
	}
	if len(corrected) > 0 {
		events = append(events, Event{Reason: "DriftCorrected", Action: "Correct", Note: "put right: " + manifest.Shorten(corrected)})
	}
	return events
}
