package pipeline

import (
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/target"
)

// The record of a target that left git may go while the target waits for its turn: then another has removed it.
func TestRemoveWithoutARecord(t *testing.T) {
	var result TargetResult
	removed := &target.Desired{Target: v1alpha1.Target{Pipeline: "extra", Environment: "dev"}}
	if err := (&carrier{}).remove(t.Context(), removed, &result); err != nil || result.Result != Unchanged || !result.settled {
		t.Errorf("%+v, %v", result, err)
	}
}
