package pipeline

import (
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// stampConditions gives the conditions that changed their value the date, where apimachinery gave them that of the own clock.
func stampConditions(status *v1alpha1.PipelineSyncStatus, before []metav1.Condition, now metav1.Time) {
	for i := range status.Conditions {
		c := &status.Conditions[i]
		old := meta.FindStatusCondition(before, c.Type)
		if old == nil || old.Status != c.Status {
			c.LastTransitionTime = now
		}
	}
}
