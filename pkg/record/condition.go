package record

import (
	"cmp"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// setCondition sets a condition to true or false.
func setCondition(status *v1alpha1.PipelineSyncStatus, kind string, is bool, reason, message string) {
	value := metav1.ConditionFalse
	if is {
		value = metav1.ConditionTrue
	}
	message = manifest.Cut(message, MostMessage)
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: kind, Status: value, Reason: reason, Message: message})
}

// stampConditions dates the conditions that have another value than before. apimachinery dates them by the own clock.
func stampConditions(status *v1alpha1.PipelineSyncStatus, before []metav1.Condition, now metav1.Time) {
	for i := range status.Conditions {
		c := &status.Conditions[i]
		old := meta.FindStatusCondition(before, c.Type)
		if old == nil || old.Status != c.Status {
			c.LastTransitionTime = now
		}
	}
}

// setHeld writes the reason why a target waits. The running objects go on, so that the other conditions stay.
func (p *pass) setHeld(status *v1alpha1.PipelineSyncStatus) {
	held := p.held
	switch {
	case p.Failure != nil:
		held = status.Held // a failed pass ends no wait
	case p.Wait == nil:
		status.Held, status.HeldTotal = keptHeld(held), 0
		if len(held) > mostHeld {
			status.HeldTotal = len(held)
		}
	}
	reason, message := "NothingHeld", ""
	switch {
	case p.Wait != nil:
		reason, message = p.Wait.Reason, p.Wait.Message
		if status.LastAppliedCommit == "" {
			setCondition(status, v1alpha1.ConditionReady, false, reason, message)
		}
	case len(held) > 0:
		// A condition has one reason: that of the first change.
		reason, message = cmp.Or(held[0].Reason, string(manifest.HeldRunning)), HeldMessage(held)
	}
	setCondition(status, v1alpha1.ConditionHeld, message != "", reason, message)
	if !p.Rules.Promotes {
		return
	}
	promotion := p.Wait != nil && reason == v1alpha1.ConditionPromotionPending
	if !promotion {
		reason, message = "NothingHeld", ""
	}
	setCondition(status, v1alpha1.ConditionPromotionPending, promotion, reason, message)
}

// setDrifted writes the condition Drifted by the findings of a status.
func setDrifted(status *v1alpha1.PipelineSyncStatus) {
	if status.Drift == nil || status.Drift.Total == 0 {
		setCondition(status, v1alpha1.ConditionDrifted, false, "InSync", "")
		return
	}
	messages := make([]string, len(status.Drift.Findings))
	for i, f := range status.Drift.Findings {
		messages[i] = f.Message
	}
	setCondition(status, v1alpha1.ConditionDrifted, true, "Drifted", manifest.Shorten(messages))
}

// setUnwatched says in a target that is in sync that this holds since the last poll only.
func setUnwatched(status *v1alpha1.PipelineSyncStatus, kinds []string) {
	if len(kinds) > 0 && (status.Drift == nil || status.Drift.Total == 0) {
		setCondition(status, v1alpha1.ConditionDrifted, false, "Unwatched", unwatchedMessage(kinds))
	}
}

func unwatchedMessage(kinds []string) string {
	return "not watched, and compared at each poll: " + strings.Join(kinds, ", ")
}
