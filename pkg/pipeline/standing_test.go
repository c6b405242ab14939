package pipeline

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

// Nobody knows that a target is in sync which could not be compared; one that had drifted has, as far as anybody knows.
func TestStandingIsNotedInARecord(t *testing.T) {
	found := []drift.Finding{{Pipeline: "p", Environment: "dev", Kind: drift.Modified, Path: "data.v"}}
	unreadable := errors.New("reading the commit last applied: it is gone")
	for name, c := range map[string]struct {
		before metav1.ConditionStatus
		standing
		want metav1.ConditionStatus
	}{
		"nobody looked":                  {before: metav1.ConditionFalse, want: metav1.ConditionFalse},
		"it differs":                     {before: metav1.ConditionFalse, standing: standing{compared: true, drift: found}, want: metav1.ConditionTrue},
		"it does not":                    {before: metav1.ConditionTrue, standing: standing{compared: true}, want: metav1.ConditionFalse},
		"it cannot be compared":          {before: metav1.ConditionFalse, standing: standing{err: unreadable}, want: metav1.ConditionUnknown},
		"and had drifted":                {before: metav1.ConditionTrue, standing: standing{err: unreadable}, want: metav1.ConditionTrue},
		"it is compared again after all": {before: metav1.ConditionUnknown, standing: standing{compared: true}, want: metav1.ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			status := v1alpha1.PipelineSyncStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionDrifted, Status: c.before}}}
			c.note(&status, nil, time.Unix(0, 0))
			if got := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionDrifted).Status; got != c.want {
				t.Errorf("Drifted is %s; want %s", got, c.want)
			}
		})
	}
}
