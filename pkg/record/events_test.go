package record

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
)

func TestEventsOfARecord(t *testing.T) {
	status := func(edit func(*v1alpha1.PipelineSyncStatus)) v1alpha1.PipelineSyncStatus {
		var s v1alpha1.PipelineSyncStatus
		edit(&s)
		return s
	}
	condition := func(kind, reason, message string) v1alpha1.PipelineSyncStatus {
		return status(func(s *v1alpha1.PipelineSyncStatus) {
			s.Conditions = []metav1.Condition{{Type: kind, Status: "True", Reason: reason, Message: message}}
		})
	}
	deployed := func(number, rollback int64, outcome string) v1alpha1.PipelineSyncStatus {
		return status(func(s *v1alpha1.PipelineSyncStatus) {
			s.History = []v1alpha1.Deployment{{Number: number, Commit: "0123456789", Subject: "Run daily", Author: "Ada", Outcome: outcome, RollbackOf: rollback}}
		})
	}
	drifted := func(found, past string) v1alpha1.PipelineSyncStatus {
		summary := &v1alpha1.DriftSummary{}
		if found != "" {
			summary.Findings = []v1alpha1.Finding{{Kind: string(drift.Modified), Path: found, Message: found + " differs"}}
		}
		if past != "" {
			summary.Past = []v1alpha1.PastFinding{{Finding: v1alpha1.Finding{Kind: string(drift.Modified), Path: past, Message: past + " differs"}, EndedAt: noon, Ending: string(drift.Corrected)}}
		}
		return v1alpha1.PipelineSyncStatus{Drift: summary}
	}
	nothing := v1alpha1.PipelineSyncStatus{}
	for name, c := range map[string]struct {
		before, after v1alpha1.PipelineSyncStatus
		want          string
	}{
		"a first deployment":                       {nothing, deployed(1, 0, Applied), `Deployed deployment 1: commit 01234567 "Run daily" by Ada`},
		"a return to an earlier one":               {deployed(3, 0, Applied), deployed(4, 2, Applied), `RolledBack deployment 4: commit 01234567 "Run daily" by Ada, which returns to deployment 2`},
		"the same deployment, seen again":          {deployed(3, 0, Applied), deployed(3, 0, Applied), ""},
		"one that succeeds at the second try":      {deployed(3, 0, Failed), deployed(3, 0, Applied), `Deployed deployment 3: commit 01234567 "Run daily" by Ada`},
		"one that failed is told by its condition": {nothing, deployed(3, 0, Failed), ""},
		"a change begins to wait":                  {nothing, condition("Held", "Running", "it runs"), "Held it runs"},
		"it goes on waiting":                       {condition("Held", "Running", "it runs"), condition("Held", "Running", "it still runs"), ""},
		"it waits for something else":              {condition("Held", "Running", "it runs"), condition("Held", "InUse", "it is used"), "Held it is used"},
		"a failure":                                {nothing, condition("Stalled", "ImageNotFound", "no such tag"), "ImageNotFound no such tag"},
		"the same failure again":                   {condition("Stalled", "Failed", "a"), condition("Stalled", "Failed", "b"), ""},
		"drift":                                    {nothing, drifted("data.v", ""), "Drifted data.v differs"},
		"drift, as before":                         {drifted("data.v", ""), drifted("data.v", ""), ""},
		"a correction":                             {drifted("data.v", ""), drifted("", "data.v"), "DriftCorrected put right: data.v differs"},
	} {
		var got []string
		for _, e := range Events(c.before, c.after) {
			got = append(got, e.Reason+" "+e.Note)
		}
		if strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
