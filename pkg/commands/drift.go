package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// DriftOptions say what a report holds.
type DriftOptions struct {
	Selection v1alpha1.Selection
	// Compare names two environments that are compared with each other.
	Compare []string
	// CompareAll compares each environment with the one before it in the configuration.
	CompareAll bool
}

// Drift compares every object of the selected targets with the commit applied last there, by server-side dry runs, and
// environments with each other. It writes nothing. The report is complete but for the targets that the error names.
func (s *Session) Drift(ctx context.Context, options DriftOptions) (drift.Report, error) {
	selection := options.Selection
	couples, err := s.couples(&selection, options)
	if err != nil {
		return drift.Report{}, err // before the network is asked
	}
	snap, err := s.Source.Fetch(ctx)
	if err != nil {
		return drift.Report{}, err
	}
	report := drift.Report{
		GeneratedAt: s.Reconciler.Dates.Date().UTC(),
		Source:      drift.Source{URL: s.Config.Source.PublicURL(), Branch: s.Config.Source.Branch, Commit: snap.Commit},
		Findings:    []drift.Finding{}, Skew: []drift.Skew{}, Targets: []drift.Target{}, Past: []drift.Past{}, Quiet: []drift.Quiet{},
	}
	targets, incomplete, err := s.Planner.Recorded(ctx, selection)
	if err != nil {
		return report, err
	}
	errs := []error{incomplete}
	var quiet []apply.Quiet
	sides := map[v1alpha1.Target]drift.Side{}
	for _, c := range s.compareAll(ctx, targets, snap) {
		d := c.d
		report.Findings = append(report.Findings, c.findings...)
		report.Past = append(report.Past, drift.PastOf(d.Target.Pipeline, d.Target.Environment, d.Record.Status.Drift)...)
		report.Targets = append(report.Targets, c.reported())
		quiet = append(quiet, c.quiet...)
		if c.side.Rendered != nil {
			sides[d.Target] = c.side
		}
		if c.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Target, c.err))
		}
	}
	report.Quiet = append(report.Quiet, counted(quiet)...)
	if incomplete == nil && len(couples) > 0 {
		inGit, err := s.Planner.Discover(snap)
		if err != nil {
			errs = append(errs, err)
		}
		report.Skew = append(report.Skew, s.skew(targets, couples, sides, inGit)...)
	}
	s.orderTargets(report.Targets)
	report.Finish()
	return report, errors.Join(errs...)
}

// comparison is one target, compared with the commit applied last.
type comparison struct {
	d        *target.Desired
	at       *target.Desired // at that commit; nil: it was not compared
	findings []drift.Finding
	quiet    []apply.Quiet
	side     drift.Side
	behind   int // newer commits that change the target; -1: not known
	err      error
}

// compareAll compares targets, several at once, in their order.
func (s *Session) compareAll(ctx context.Context, targets []*target.Desired, snap source.Snapshot) []comparison {
	lookups := s.Reconciler.Pins.NewLookups()
	out := make([]comparison, len(targets)) // each worker owns one slot
	index := make(map[v1alpha1.Target]int, len(targets))
	for i, d := range targets {
		out[i].d, index[d.Target] = d, i
	}
	results := s.each(targets, func(d *target.Desired) (reconcile.Result, error) {
		c, result := &out[index[d.Target]], reconcile.NewResult(d)
		d.Snapshot = snap
		err := s.compareOne(ctx, c, lookups)
		result.Drift = c.findings
		return result, err
	})
	for i := range results {
		out[i].err = results[i].Detail.Failure
	}
	return out
}

// compareOne compares a target with the commit applied last.
func (s *Session) compareOne(ctx context.Context, c *comparison, lookups *pin.Lookups) error {
	d := c.d
	if d.Record.Status.LastAppliedCommit == "" && len(d.Record.Status.Inventory) == 0 {
		return nil // nothing was ever applied, so nothing can differ
	}
	c.behind = -1
	at, set, err := s.Planner.LastApplied(ctx, d)
	if err != nil {
		return err
	}
	c.behind = s.behind(ctx, d, at)
	plan, err := apply.Make(ctx, d.Cluster, apply.Request{Target: d.Target, Record: d.Record, Set: set, Full: true, ReadOnly: true, Rules: at.Rules})
	if err != nil {
		return err
	}
	rating := s.Reconciler.Rating
	found := rating.Differences(d, reconcile.Released(d.Record.Status, plan.Changes), plan.Changes)
	found = append(found, rating.Rated(reconcile.StillHeld(d, found))...)
	found = append(found, rating.Planned(d, plan)...)
	found = append(found, rating.Rated(s.imageFindings(ctx, lookups, at))...)
	rating.Complete(at, found)
	drift.Recall(found, d.Record.Status.Drift)
	c.at, c.findings, c.quiet = at, found, plan.Quiet()
	c.side = drift.Side{Environment: d.Environment.Name, Rendered: set, Written: at.Rendered.Set, Findings: found}
	return reconcile.UncomparedError(plan)
}

// behind counts the commits since the one that was applied last, where the newest one changes the target.
func (s *Session) behind(ctx context.Context, d, applied *target.Desired) int {
	if applied.Snapshot.Commit == d.Snapshot.Commit {
		return 0
	}
	commits, err := s.Source.Since(ctx, d.Record.Status.LastAppliedCommit, d.Snapshot.Commit)
	if err != nil {
		return -1 // history may not have been fetched that far
	}
	return len(commits)
}

// reported is the target in the report.
func (c *comparison) reported() drift.Target {
	out := view.Reported(c.d.Record, c.behind)
	if c.err != nil {
		out.Error = c.err.Error()
	} else if c.at != nil {
		out.Unpinned = view.UnpinnedOf(c.at.Rendered.Suspects)
	}
	return out
}

// orderTargets sorts targets by pipeline, and by environment as the configuration has them.
func (s *Session) orderTargets(targets []drift.Target) {
	place := map[string]int{}
	for i, environment := range s.Config.Environments {
		place[environment.Name] = i
	}
	slices.SortFunc(targets, func(a, b drift.Target) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(place[a.Environment], place[b.Environment]))
	})
}

// counted sums up the quiet differences by rule.
func counted(quiet []apply.Quiet) []drift.Quiet {
	byRule := map[string]*drift.Quiet{}
	for _, q := range quiet {
		if byRule[q.Rule] == nil {
			byRule[q.Rule] = &drift.Quiet{Rule: q.Rule, Reason: q.Reason}
		}
		byRule[q.Rule].Count++
	}
	out := make([]drift.Quiet, 0, len(byRule))
	for _, q := range byRule {
		out = append(out, *q)
	}
	slices.SortFunc(out, func(a, b drift.Quiet) int { return cmp.Compare(a.Rule, b.Rule) })
	return out
}

// imageFindings asks the registries about the images of a target. A finding that the record has keeps its time.
func (s *Session) imageFindings(ctx context.Context, lookups *pin.Lookups, at *target.Desired) []drift.Finding {
	found := s.Reconciler.Pins.Check(ctx, lookups, at, at.Record.Spec.Images)
	for i := range found {
		found[i].Time = pin.RecordedSince(at.Record, found[i])
	}
	return found
}
