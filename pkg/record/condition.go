package record

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"k8s.io/apimachinery/pkg/api/meta"
)

func SetCondition(status *v1alpha1.PipelineSyncStatus, kind string, is bool, reason, message string) {
	value := metav1.ConditionFalse
	if is {
		value = metav1.ConditionTrue
	}
	message = manifest.Cut(message, MostMessage)
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{Type: kind, Status: value, Reason: reason, Message: message})
}

func SetDrifted(status *v1alpha1.PipelineSyncStatus) {
	if status.Drift == nil || status.Drift.Total == 0 {
		SetCondition(status, v1alpha1.ConditionDrifted, false, "InSync", "")
		return
	}
	messages := make([]string, len(status.Drift.Findings))
	for i, f := range status.Drift.Findings {
		messages[i] = f.Message
	}
	SetCondition(status, v1alpha1.ConditionDrifted, true, "Drifted", manifest.Shorten(messages))
}

// StampConditions gives the conditions that changed their value the date, where apimachinery gave them that of the own clock.
func StampConditions(status *v1alpha1.PipelineSyncStatus, before []metav1.Condition, now metav1.Time) {
	for i := range status.Conditions {
		c := &status.Conditions[i]
		old := meta.FindStatusCondition(before, c.Type)
		if old == nil || old.Status != c.Status {
			c.LastTransitionTime = now
		}
	}
}

// watchless says which kinds are not watched, for people.
func Watchless(kinds []string) string {
	return "not watched, and compared at each poll: " + strings.Join(kinds, ", ")
}

// setUnwatched says in a target that is in sync that this is as of the last look only.
func SetUnwatched(status *v1alpha1.PipelineSyncStatus, kinds []string) {
	if len(kinds) > 0 && (status.Drift == nil || status.Drift.Total == 0) {
		SetCondition(status, v1alpha1.ConditionDrifted, false, "Unwatched", Watchless(kinds))
	}
}
