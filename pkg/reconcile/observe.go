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

// observe hands the state of the target to the observer.
func (t *task) observe(o record.Outcome, objects []health.Object, before, after v1alpha1.PipelineSyncStatus) {
	if t.r.Observe == nil {
		return
	}
	seen := Observation{Held: max(len(after.Held), after.HeldTotal), Objects: countObjects(objects), Before: before, After: after}
	if o.Drift != nil && o.Drift.Unknown == "" {
		found := slices.Clone(o.Drift.Found)
		seen.Missed = t.missed(found, before.Drift)
		drift.Recall(found, after.Drift)
		seen.Findings = append([]drift.Finding{}, found...) // not nil: there are none
	}
	t.r.Observe(t.d, seen)
}

// missed returns the findings that only a full comparison made.
func (t *task) missed(findings []drift.Finding, before *v1alpha1.DriftSummary) []drift.Finding {
	if !t.pass.Options.Full {
		return nil
	}
	drift.Recall(findings, before)
	return slices.DeleteFunc(slices.Clone(findings), func(f drift.Finding) bool {
		return f.FirstSeen != nil || slices.Contains([]drift.Kind{drift.TagMoved, drift.ImageMissing, drift.Held, drift.NotCompared}, f.Kind)
	})
}

// countObjects counts the objects of a target by their state; nil where they were not judged.
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
