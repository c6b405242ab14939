package record

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A target that could not be compared is not known to be in sync. One that had drifted still has, as far as is known.
func TestComparisonSetsDrifted(t *testing.T) {
	found := []drift.Finding{{Pipeline: "p", Environment: "dev", Kind: drift.Modified, Path: "data.v"}}
	for name, c := range map[string]struct {
		before metav1.ConditionStatus
		drift  *Drift
		want   metav1.ConditionStatus
		reason string
	}{
		"nothing was compared":            {metav1.ConditionFalse, nil, metav1.ConditionFalse, "Before"},
		"it differs":                      {metav1.ConditionFalse, &Drift{Found: found}, metav1.ConditionTrue, "Drifted"},
		"it does not":                     {metav1.ConditionTrue, &Drift{}, metav1.ConditionFalse, "InSync"},
		"it does not, and is not watched": {metav1.ConditionTrue, &Drift{Unwatched: []string{"Job.batch"}}, metav1.ConditionFalse, "Unwatched"},
		"it differs, and is not watched":  {metav1.ConditionTrue, &Drift{Found: found, Unwatched: []string{"Job.batch"}}, metav1.ConditionTrue, "Drifted"},
		"it cannot be compared":           {metav1.ConditionFalse, &Drift{Unknown: "the commit is gone"}, metav1.ConditionUnknown, "NotCompared"},
		"and had drifted":                 {metav1.ConditionTrue, &Drift{Unknown: "the commit is gone"}, metav1.ConditionTrue, "Before"},
		"it is compared again after all":  {metav1.ConditionUnknown, &Drift{}, metav1.ConditionFalse, "InSync"},
	} {
		record := appliedOnce()
		record.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDrifted, Status: c.before, Reason: "Before"}}
		got := Next(record, Outcome{Failure: &Failure{Reason: "Failed"}, Drift: c.drift}, noon.Time)
		if is := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionDrifted); is.Status != c.want || is.Reason != c.reason {
			t.Errorf("%s: %s %s", name, is.Status, is.Reason)
		}
	}
}

// A pass that asks no registry keeps the findings about images. A pass that asks, or changes objects, ends them.
func TestFindingsAboutImagesStay(t *testing.T) {
	moved := v1alpha1.Finding{Kind: string(drift.TagMoved), Path: "web:1", Message: "web:1 moved", FirstSeen: &noon}
	modified := drift.Finding{Kind: drift.Modified, Path: "data.v"}
	for name, c := range map[string]struct {
		change func(*Outcome)
		kinds  []string
		past   int
	}{
		"a pass that asks no registry": {func(*Outcome) {}, []string{"TagMoved"}, 0},
		"and finds drift":              {func(o *Outcome) { o.Drift.Found = []drift.Finding{modified} }, []string{"Modified", "TagMoved"}, 0},
		"a pass that asks":             {func(o *Outcome) { o.Drift.Images = true }, nil, 1},
		"a pass that changes objects":  {func(o *Outcome) { o.Apply.Changes = []manifest.Change{{ID: job}} }, nil, 1},
		"a pass that fails":            {func(o *Outcome) { o.Failure, o.Drift = &Failure{Reason: "Failed"}, nil }, []string{"TagMoved"}, 0},
	} {
		record, o := appliedOnce(), atRest()
		record.Status.Drift = &v1alpha1.DriftSummary{Total: 1, Findings: []v1alpha1.Finding{moved}}
		c.change(&o)
		got := Next(record, o, noon.Time).Drift
		var kinds []string
		for _, f := range got.Findings {
			kinds = append(kinds, f.Kind)
		}
		if diff := cmp.Diff(c.kinds, kinds); diff != "" || got.Total != len(kinds) || len(got.Past) != c.past {
			t.Errorf("%s: %s; total %d, past %d", name, diff, got.Total, len(got.Past))
		}
	}
}

// Findings are written down before they are corrected, beside those about images.
func TestWithDrift(t *testing.T) {
	record := appliedOnce()
	record.Status.Drift = &v1alpha1.DriftSummary{Total: 1, Findings: []v1alpha1.Finding{{Kind: string(drift.ImageMissing), Message: "gone"}}}
	got := WithDrift(record, []drift.Finding{{Kind: drift.Modified, Path: "data.v"}}, noon.Time)
	if got.Drift.Total != 2 || !meta.IsStatusConditionTrue(got.Conditions, v1alpha1.ConditionDrifted) || len(record.Status.Conditions) > 0 {
		t.Errorf("%+v", got)
	}
}
