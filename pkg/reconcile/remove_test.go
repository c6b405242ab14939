package reconcile

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// The record of a target that left git may be deleted while the target waits for its reconcile: another syncer removed it.
func TestRemoveWithoutARecord(t *testing.T) {
	removed := &target.Desired{Target: v1alpha1.Target{Pipeline: "extra", Environment: "dev"}}
	result, err := (&Reconciler{}).Remove(t.Context(), removed)
	if err != nil || result.Result != Unchanged || !result.Detail.Converged {
		t.Errorf("%+v, %v", result, err)
	}
}
