package reconcile

import (
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/record"
)

// Observation is the state of a target after a reconcile.
type Observation struct {
	// Findings are nil where the target was not compared.
	Findings []drift.Finding
	// Missed are the findings that only a full comparison made, and no watch had noticed.
	Missed        []drift.Finding
	Held          int            // changes that wait
	Objects       map[string]int // by their state
	Before, After v1alpha1.PipelineSyncStatus
}

// observation returns the state of a target after a reconcile. compared is nil where the target was not compared.
func observation(full bool, compared *record.Drift, objects []health.Object, before, after v1alpha1.PipelineSyncStatus) Observation {
	out := Observation{Held: max(len(after.Held), after.HeldTotal), Objects: countObjects(objects), Before: before, After: after}
	if compared == nil || compared.Unknown != "" {
		return out
	}
	found := slices.Clone(compared.Found)
	if full {
		out.Missed = missed(found, before.Drift)
	}
	drift.Recall(found, after.Drift)
	out.Findings = append([]drift.Finding{}, found...) // not nil: there are none
	return out
}

// missed returns the findings of a full comparison that the record did not have, and that a watch could have noticed.
func missed(findings []drift.Finding, before *v1alpha1.DriftSummary) []drift.Finding {
	drift.Recall(findings, before)
	return slices.DeleteFunc(slices.Clone(findings), func(f drift.Finding) bool {
		return f.FirstSeen != nil || slices.Contains([]drift.Kind{drift.TagMoved, drift.ImageMissing, drift.Held, drift.NotCompared}, f.Kind)
	})
}

// countObjects counts the objects of a target by their state; nil where their state was not read.
func countObjects(objects []health.Object) map[string]int {
	if objects == nil {
		return nil
	}
	counts := map[string]int{}
	for _, state := range []string{string(health.Healthy), string(health.InProgress), string(health.Failed), health.ObjectMissing, health.ObjectCompleted} {
		counts[state] = 0
	}
	for _, o := range objects {
		counts[o.Health]++
	}
	return counts
}
