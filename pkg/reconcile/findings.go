package reconcile

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/origin"
	"github.com/syncerdev/syncer/pkg/plan"
	"github.com/syncerdev/syncer/pkg/target"
)

// Rating completes findings: their severity, the user behind them, and the file and line in git.
type Rating struct {
	Severities []drift.SeverityRule
	// Exempt are the fields of each environment whose drift is not corrected.
	Exempt map[string][]ignore.Rule
	// AuditLog returns the audit log of an environment; nil where there is none.
	AuditLog func(*v1alpha1.Environment) *audit.Log
	Log      *slog.Logger
}

// Rated gives findings the severities that the configuration wants.
func (r Rating) Rated(findings []drift.Finding) []drift.Finding {
	drift.Rate(findings, r.Severities)
	return findings
}

// Differences returns the findings of changes that are left as they are, and of fields that others added to objects.
func (r Rating) Differences(d *target.Desired, changes, objects []manifest.Change) []drift.Finding {
	pipeline, environment := d.Target.Pipeline, d.Target.Environment
	found := drift.Compare(pipeline, environment, changes, manifest.FieldManager)
	found = append(found, drift.Additions(pipeline, environment, objects)...)
	drift.Sort(found)
	return r.Rated(found)
}

// Planned returns the findings that a plan has beside differences: objects that could not be compared, that were not run
// again after a change, and that git does not have.
func (r Rating) Planned(d *target.Desired, planned *plan.Plan) []drift.Finding {
	return slices.Concat(r.uncompared(d, planned), r.Rated(notRerun(d, planned)), r.Rated(strays(d, planned)))
}

// Complete names the place in git and the user of findings.
func (r Rating) Complete(d *target.Desired, findings []drift.Finding) {
	locate(d, findings)
	r.nameUsers(d, findings)
}

// exempts reports whether the environment leaves drift of a field alone although it corrects other drift.
func (r Rating) exempts(d *target.Desired, id manifest.ID, text string) bool {
	path, err := manifest.ParsePath(text)
	return err == nil && slices.ContainsFunc(r.Exempt[d.Environment.Name], func(rule ignore.Rule) bool { return rule.Covers(id, path) })
}

// Released returns changes of which the ones wait that the record lists as held, also where their wait is over: until the
// next reconcile carries them out they are no drift. Where the record does not list all held changes, every change that git
// made counts as one of them.
func Released(status v1alpha1.PipelineSyncStatus, changes []manifest.Change) []manifest.Change {
	out := slices.Clone(changes)
	for i := range out {
		change := &out[i]
		switch {
		case change.Drifted, status.HeldTotal == 0 && !isHeld(status.Held, change.ID):
		case change.Action == manifest.Create, change.Action == manifest.Update, change.Action == manifest.Replace:
			change.Hold(manifest.HeldRunning, "nothing holds it any more, and the next pass carries it out", change.ID)
		}
	}
	return out
}

func isHeld(held []v1alpha1.HeldChange, id manifest.ID) bool {
	return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.ID() == id })
}

// StillHeld returns the changes that wait by the record of a target and that no finding names: a comparison with the commit
// before them does not see them.
func StillHeld(d *target.Desired, findings []drift.Finding) []drift.Finding {
	var out []drift.Finding
	for _, h := range d.Record.Status.Held {
		known := slices.ContainsFunc(findings, func(f drift.Finding) bool {
			return (f.Kind == drift.Held || f.Kind == drift.Orphaned) && f.Object == h.ID()
		})
		if !known {
			out = append(out, drift.HeldOf(d.Target.Pipeline, d.Target.Environment, h.ID(), h.Message))
		}
	}
	return out
}

// locate sets the file and line where git sets the field of a finding, or declares its object.
func locate(d *target.Desired, findings []drift.Finding) {
	if len(findings) == 0 || d.Overlay == "" || d.Snapshot.Files == nil {
		return
	}
	origins := origin.New(d.Snapshot.Files, d.Overlay)
	for i := range findings {
		f := &findings[i]
		path, _ := manifest.ParsePath(f.Path) // an empty one is the whole object
		value := f.Desired
		if f.Kind == drift.TagMoved || f.Kind == drift.ImageMissing {
			value = nil // a digest, which git does not have
		}
		if place, ok := origins.Of(f.Object, path, value); ok {
			f.File, f.Line = place.File, place.Line
		}
	}
}

// uncompared returns the objects that a plan could not compare. The last findings of an object that cannot be read stay:
// they may still be true.
func (r Rating) uncompared(d *target.Desired, planned *plan.Plan) []drift.Finding {
	var out []drift.Finding
	pipeline, environment := d.Target.Pipeline, d.Target.Environment
	for _, u := range planned.Uncompared() {
		out = append(out, drift.Uncompared(pipeline, environment, u.Change, u.Err, u.Unread, manifest.FieldManager)...)
		if !u.Unread || d.Record == nil {
			continue
		}
		for _, f := range drift.Recorded(pipeline, environment, d.Record.Status.Drift) {
			if f.Object.Key() == u.Change.ID.Key() && slices.Contains([]drift.Kind{drift.Modified, drift.Added, drift.Missing}, f.Kind) {
				out = append(out, f)
			}
		}
	}
	return r.Rated(out)
}

// UncomparedError names the objects that a plan could not compare; nil: it compared all.
func UncomparedError(planned *plan.Plan) error {
	var errs []error
	for _, u := range planned.Uncompared() {
		errs = append(errs, u.Err)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%s could not be compared: %w", manifest.Plural(len(errs), "object"), errors.Join(errs...))
}

// notRerun returns the objects of a plan that were changed after their run, and not run again.
func notRerun(d *target.Desired, planned *plan.Plan) []drift.Finding {
	var out []drift.Finding
	for _, id := range planned.NotRerun() {
		out = append(out, drift.NotRerunOf(d.Target.Pipeline, d.Target.Environment, id))
	}
	return out
}

// strays returns the objects of a plan that carry the label of the target, and that git does not have.
func strays(d *target.Desired, planned *plan.Plan) []drift.Finding {
	var out []drift.Finding
	for _, stray := range planned.Strays() {
		out = append(out, drift.StrayOf(d.Target.Pipeline, d.Target.Environment, stray.ID, stray.Unlabelled, stray.By))
	}
	return out
}
