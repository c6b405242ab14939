package record

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Event is a Kubernetes event about a record.
type Event struct {
	Warning bool
	Reason  string // one word
	Action  string // the action of syncer
	Note    string
}

// Events returns the events of a step from one status to the next: a deployment, a change that begins to wait, a failure, new
// drift and corrected drift. Equal statuses have none.
func Events(before, after v1alpha1.PipelineSyncStatus) []Event {
	return slices.Concat(deploymentEvents(before, after), conditionEvents(before, after), driftEvents(before.Drift, after.Drift))
}

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

// conditionEvents returns an event for a wait and for a failure that did not exist before for the same reason.
func conditionEvents(before, after v1alpha1.PipelineSyncStatus) []Event {
	var events []Event
	if held := begun(before, after, v1alpha1.ConditionHeld); held != nil {
		events = append(events, Event{Reason: "Held", Action: "Apply", Note: held.Message})
	}
	if refused := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionTrusted); refused != nil && refused.Status == metav1.ConditionFalse {
		if was := meta.FindStatusCondition(before.Conditions, v1alpha1.ConditionTrusted); was == nil || was.Status != refused.Status || was.Message != refused.Message {
			events = append(events, Event{Warning: true, Reason: "CommitNotTrusted", Action: "Verify", Note: refused.Message})
		}
	}
	if stalled := begun(before, after, v1alpha1.ConditionStalled); stalled != nil {
		events = append(events, Event{Warning: true, Reason: stalled.Reason, Action: "Apply", Note: stalled.Message})
	}
	return events
}

// begun returns a condition that is true, and was not true before for the same reason.
func begun(before, after v1alpha1.PipelineSyncStatus, kind string) *metav1.Condition {
	is, was := meta.FindStatusCondition(after.Conditions, kind), meta.FindStatusCondition(before.Conditions, kind)
	if is == nil || is.Status != metav1.ConditionTrue || was != nil && was.Status == metav1.ConditionTrue && was.Reason == is.Reason {
		return nil
	}
	return is
}

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
