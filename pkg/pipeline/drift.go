package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/image"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/origin"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
)

// DriftOptions say what a report holds.
type DriftOptions struct {
	v1alpha1.Selection
	// Compare names two environments that are compared with each other.
	Compare []string
	// CompareAll compares each environment with the one before it in the configuration.
	CompareAll bool
}

// Drift compares every object of the selected targets with the commit last applied there, by server-side dry runs, and
// environments with each other. It writes nothing. The report is good as far as it goes; the error names the targets
// that could not be compared.
func (r *Runner) Drift(ctx context.Context, options DriftOptions) (drift.Report, error) {
	selection := options.Selection
	couples, err := r.couples(&selection, options)
	if err != nil {
		return drift.Report{}, err // before the network is asked
	}
	snap, err := r.source.Fetch(ctx)
	if err != nil {
		return drift.Report{}, err
	}
	report := drift.Report{
		GeneratedAt: r.dates().Date().UTC(),
		Source:      drift.Source{URL: r.Config.Source.PublicURL(), Branch: r.Config.Source.Branch, Commit: snap.Commit},
		Findings:    []drift.Finding{}, Skew: []drift.Skew{}, Targets: []drift.Target{}, Past: []drift.Past{}, Quiet: []drift.Quiet{},
	}
	works, lost, err := r.planner.Recorded(ctx, selection)
	if err != nil {
		return report, err
	}
	errs := []error{lost}
	c := carrier{Runner: r, total: len(works), lookups: r.pins.NewLookups()}
	compare := func(w *target.Desired, result *TargetResult) error {
		w.Snapshot = snap
		return c.drift(ctx, w, result)
	}
	var quiet []apply.Quiet
	sides := map[v1alpha1.Target]drift.Side{}
	for i, result := range c.each(works, compare) {
		w := works[i]
		report.Findings = append(report.Findings, result.Drift...)
		report.Past = append(report.Past, drift.PastOf(w.Target.Pipeline, w.Target.Environment, w.Record.Status.Drift)...)
		report.Targets = append(report.Targets, reported(w, result))
		quiet = append(quiet, result.quiet...)
		if result.set != nil {
			sides[w.Target] = drift.Side{Environment: w.Environment.Name, Rendered: result.set, Written: result.written, Findings: result.Drift}
		}
		if result.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", result.Target(), result.Error))
		}
	}
	report.Quiet = append(report.Quiet, counted(quiet)...)
	if lost == nil && len(couples) > 0 {
		inGit, err := r.planner.Discover(snap)
		if err != nil {
			errs = append(errs, err)
		}
		report.Skew = append(report.Skew, r.compare(works, couples, sides, inGit)...)
	}
	r.orderTargets(report.Targets)
	report.Finish()
	return report, errors.Join(errs...)
}

func (c *carrier) drift(ctx context.Context, w *target.Desired, result *TargetResult) error {
	if w.Record.Status.LastAppliedCommit == "" && len(w.Record.Status.Inventory) == 0 {
		return nil // nothing was ever applied, so nothing can differ
	}
	result.behind = -1
	at, set, err := c.planner.LastApplied(ctx, w)
	if err != nil {
		return err
	}
	result.behind = c.behind(ctx, w, at)
	plan, err := apply.Make(ctx, w.Cluster, apply.Request{Target: w.Target, Record: w.Record, Set: set, Full: true, ReadOnly: true, Rules: at.Rules})
	if err != nil {
		return err
	}
	result.Drift = c.findings(w, released(w.Record.Status, plan.Changes), plan.Changes)
	result.Drift = append(result.Drift, c.rated(stillHeld(w, result.Drift))...)
	result.Drift = append(result.Drift, c.uncompared(w, plan)...)
	result.Drift = append(result.Drift, c.rated(notRerun(w, plan))...)
	result.Drift = append(result.Drift, c.rated(strays(w, plan))...)
	images := c.pins.Check(ctx, c.lookups, at, w.Record.Spec.Images)
	for i := range images {
		images[i].Time = pin.RecordedSince(w.Record, images[i])
	}
	result.Drift = append(result.Drift, c.rated(images)...)
	locate(at, result.Drift)
	c.nameUsers(w, result.Drift)
	drift.Recall(result.Drift, w.Record.Status.Drift)
	result.quiet, result.set, result.written, result.suspects = plan.Quiet(), set, at.Rendered.Set, append([]image.Suspect{}, at.Rendered.Suspects...)
	return uncomparedError(plan)
}

// findings are those of changes that are left as they are, and of what others added to objects.
func (c *carrier) findings(w *target.Desired, changes, objects []manifest.Change) []drift.Finding {
	pipeline, environment := w.Target.Pipeline, w.Target.Environment
	found := drift.Compare(pipeline, environment, changes, manifest.FieldManager)
	found = append(found, drift.Additions(pipeline, environment, objects)...)
	drift.Sort(found)
	return c.rated(found)
}

// released are changes among which those wait that the record says are held, also where what they wait for is over: until
// the next pass carries them out they are no drift. Where the record does not list all that are held, every change that git
// made counts as one of them.
func released(status v1alpha1.PipelineSyncStatus, changes []manifest.Change) []manifest.Change {
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
	return slices.ContainsFunc(held, func(h v1alpha1.HeldChange) bool { return h.ObjectReference == v1alpha1.ReferenceTo(id) })
}

// stillHeld are the changes that wait by a target's record and that no finding speaks of: a comparison with the commit
// before them does not see them.
func stillHeld(w *target.Desired, findings []drift.Finding) []drift.Finding {
	var out []drift.Finding
	for _, h := range w.Record.Status.Held {
		known := slices.ContainsFunc(findings, func(f drift.Finding) bool {
			return (f.Kind == drift.Held || f.Kind == drift.Orphaned) && v1alpha1.ReferenceTo(f.Object) == h.ObjectReference
		})
		if !known {
			id := h.ID()
			out = append(out, drift.HeldOf(w.Target.Pipeline, w.Target.Environment, id, h.Message))
		}
	}
	return out
}

// locate says where git sets what findings are about, or declares the object.
func locate(w *target.Desired, findings []drift.Finding) {
	if len(findings) == 0 || w.Overlay == "" || w.Snapshot.Files == nil {
		return
	}
	origins := origin.New(w.Snapshot.Files, w.Overlay)
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

// rated gives findings the severities that the configuration wants.
func (c *carrier) rated(findings []drift.Finding) []drift.Finding {
	drift.Rate(findings, c.severities)
	return findings
}

// exempt reports whether the environment leaves drift of a field alone although it corrects the rest.
func (c *carrier) exempt(w *target.Desired, id manifest.ID, text string) bool {
	path, err := manifest.ParsePath(text)
	return err == nil && slices.ContainsFunc(c.exemptions[w.Environment.Name], func(rule apply.Ignore) bool { return rule.Covers(id, path) })
}

// behind counts the commits since the one that was applied last, where the newest one says something else for a target.
func (c *carrier) behind(ctx context.Context, w, applied *target.Desired) int {
	if applied.Snapshot.Commit == w.Snapshot.Commit {
		return 0
	}
	commits, err := c.source.Since(ctx, w.Record.Status.LastAppliedCommit, w.Snapshot.Commit)
	if err != nil {
		return -1 // history may not have been fetched that far
	}
	return len(commits)
}
