package reconcile

import (
	"testing"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
)

func TestObservationCountsObjectsAndChanges(t *testing.T) {
	objects := []health.Object{{Health: "Healthy"}, {Health: "Healthy"}, {Health: health.ObjectMissing}}
	status := v1alpha1.PipelineSyncStatus{Held: make([]v1alpha1.HeldChange, 1), HeldTotal: 5}
	got := observation(false, nil, objects, v1alpha1.PipelineSyncStatus{}, status)
	if got.Held != 5 || got.Findings != nil || got.Missed != nil {
		t.Errorf("%+v", got)
	}
	if got.Objects["Healthy"] != 2 || got.Objects[health.ObjectMissing] != 1 || len(got.Objects) != 5 {
		t.Errorf("the states: %v", got.Objects)
	}
	if got := observation(true, &record.Drift{Unknown: "git is away"}, nil, status, status); got.Findings != nil || got.Objects != nil {
		t.Errorf("a comparison that failed: %+v", got)
	}
	if got := observation(true, &record.Drift{}, nil, status, status); got.Findings == nil || len(got.Findings) != 0 {
		t.Errorf("a comparison without findings: %#v", got.Findings)
	}
}

// A watch is to notice each change of an object. A finding that only a full comparison makes is counted, unless it is of a kind
// that no watch can notice, or the record has it.
func TestFindingsThatOnlyAFullComparisonMakes(t *testing.T) {
	id := manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "data", Name: "a"}
	known := drift.Finding{Kind: drift.Modified, Object: id, Path: "data.known", Live: "2", Desired: "1"}
	fresh := drift.Finding{Kind: drift.Modified, Object: id, Path: "data.fresh", Live: "2", Desired: "1"}
	moved := drift.Finding{Kind: drift.TagMoved, Object: id, Path: "data.image"}
	compared := &record.Drift{Found: []drift.Finding{known, fresh, moved}}
	before := record.WithDrift(v1alpha1.PipelineSync{}, []drift.Finding{known}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	got := observation(true, compared, nil, before, before)
	if len(got.Missed) != 1 || got.Missed[0].Path != fresh.Path {
		t.Errorf("missed: %v", got.Missed)
	}
	if len(got.Findings) != 3 || got.Findings[0].FirstSeen == nil {
		t.Errorf("found: %v", got.Findings)
	}
	if compared.Found[0].FirstSeen != nil {
		t.Error("the findings of the outcome were changed")
	}
	if got := observation(false, compared, nil, before, before); got.Missed != nil {
		t.Errorf("missed by a comparison that is not full: %v", got.Missed)
	}
}
