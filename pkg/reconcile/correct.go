package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/record"
)

// correction says which changes of the cluster alone are corrected.
type correction struct {
	enabled bool // else all of them are only reported
	asked   bool // a user asks for it: also where it may start again a run that has ended
	// spared reports whether a field is left alone.
	spared func(object manifest.ID, path string) bool
}

// leaves reports whether a difference is left alone: one field of a change, or the change as a whole where field is nil.
func (c correction) leaves(change manifest.Change, field *manifest.FieldChange) bool {
	switch {
	case !c.enabled, isUnproven(change) && !c.asked:
		return true
	case field != nil:
		return c.spared(change.ID, field.Path)
	}
	// A replacement is all or nothing.
	return change.Action == manifest.Replace && slices.ContainsFunc(change.Fields, func(f manifest.FieldChange) bool { return c.spared(change.ID, f.Path) })
}

// isUnproven reports whether a change may start again a run that has ended: a user has to ask for it.
func isUnproven(change manifest.Change) bool { return change.Lost != nil && change.Lost.Unproven }

// leaveDrift takes changes of the cluster alone out of a plan: all of them where drift is reported, and else the fields that
// the configuration leaves alone and the ones that another manager keeps taking. It returns their findings. The drift that is
// left in the plan is corrected.
func leaveDrift(rating Rating, now time.Time, t task, planned *plan.Plan) []drift.Finding {
	d := t.desired
	conflicts := t.last().Status.Contested
	c := correction{enabled: t.corrects(), asked: t.pass.Options.Correct, spared: func(object manifest.ID, path string) bool {
		return rating.exempts(d, object, path) || record.IsContested(conflicts, object, path, now)
	}}
	left := planned.Leave(c.leaves)
	edits := drift.HeldEdits(d.Target.Pipeline, d.Target.Environment, planned.Held(), manifest.FieldManager)
	return append(rating.Differences(d, left, planned.Changes()), rating.Rated(edits)...)
}

// noteCorrections writes the drift that is about to be corrected into the record: the manager of a field is known now, and
// afterwards the field is syncer's again.
func noteCorrections(ctx context.Context, records recorder, rating Rating, t task, p prepared) ([]drift.Finding, error) {
	found := rating.Differences(t.desired, corrections(p.planned.Pending()), nil)
	rating.Complete(t.desired, found)
	if len(found) == 0 || t.desired.Record == nil {
		return found, nil
	}
	return found, records.noteDrift(ctx, t.desired, slices.Concat(p.drift, found))
}

// corrections returns the changes that correct drift.
func corrections(pending []manifest.Change) []manifest.Change {
	return slices.DeleteFunc(pending, func(change manifest.Change) bool { return !change.Drifted })
}

// among returns the findings about objects that were changed.
func among(findings []drift.Finding, changes []manifest.Change) []drift.Finding {
	return slices.DeleteFunc(findings, func(f drift.Finding) bool {
		return !slices.ContainsFunc(changes, func(change manifest.Change) bool { return change.ID.Key() == f.Object.Key() })
	})
}

// uncorrected returns an error that names the objects which were to be corrected, and could not be compared.
func uncorrected(t task, uncompared error) error {
	if !t.corrects() {
		return nil
	}
	return uncompared
}
