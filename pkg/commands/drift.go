package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/plan"
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
	// Full compares every object by a dry run, also an object whose hashes prove that nobody changed it.
	Full bool
}

// Drift compares every object of the selected targets with the commit applied last there, and environments with each other.
// An object costs a dry run only if the hashes of the record do not prove that nobody changed it. It writes nothing. The
// report is complete but for the targets that the error names.
func (s *Session) Drift(ctx context.Context, options DriftOptions) (drift.Report, error) {
	pairs, selection, err := pairsOf(s.Config, options)
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
	compared := s.compareAll(ctx, targets, snap, options, len(pairs) > 0)
	errs := append([]error{incomplete}, addTargets(&report, compared)...)
	if incomplete == nil && len(pairs) > 0 {
		inGit, err := s.Planner.Discover(snap)
		errs = append(errs, err)
		report.Skew = append(report.Skew, skewOf(compared, pairs, inGit, s.expected)...)
	}
	orderTargets(report.Targets, s.Config)
	report.Finish()
	return report, errors.Join(errs...)
}

// addTargets adds compared targets to a report, and returns their errors.
func addTargets(report *drift.Report, compared []comparison) (errs []error) {
	var quiet []ignore.Quiet
	for _, c := range compared {
		of := c.target.Target
		report.Findings = append(report.Findings, c.findings...)
		report.Past = append(report.Past, drift.PastOf(of.Pipeline, of.Environment, c.target.Record.Status.Drift)...)
		report.Targets = append(report.Targets, c.reported())
		quiet = append(quiet, c.quiet...)
		if c.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", of, c.err))
		}
	}
	report.Quiet = append(report.Quiet, counted(quiet)...)
	return errs
}

// orderTargets sorts targets by pipeline, and by environment as the configuration has them.
func orderTargets(targets []drift.Target, config *v1alpha1.Config) {
	place := map[string]int{}
	for i, environment := range config.Environments {
		place[environment.Name] = i
	}
	slices.SortFunc(targets, func(a, b drift.Target) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(place[a.Environment], place[b.Environment]))
	})
}

// counted sums up the quiet differences by rule.
func counted(quiet []ignore.Quiet) []drift.Quiet {
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

// comparison is one target, compared with the commit applied last.
type comparison struct {
	target   *target.Desired
	unpinned []drift.Unpinned // at that commit; nil: it was not compared
	findings []drift.Finding
	quiet    []ignore.Quiet
	side     drift.Side // without a rendered set: it was not compared, or no environments are
	behind   int        // newer commits that change the target; -1: not known
	err      error
}

// reported is the target in the report.
func (c comparison) reported() drift.Target {
	out := view.Reported(c.target.Record, c.behind)
	if c.err != nil {
		out.Error = c.err.Error()
	} else if c.unpinned != nil {
		out.Unpinned = c.unpinned
	}
	return out
}

// compareAll compares targets, several at once, in their order. With sides it keeps their sets.
func (s *Session) compareAll(ctx context.Context, targets []*target.Desired, snap source.Snapshot, options DriftOptions, sides bool) []comparison {
	c := comparer{
		planner: s.Planner, pins: s.Reconciler.Pins, rating: s.Reconciler.Rating, lookups: s.Reconciler.Pins.NewLookups(),
		listed: inventory.ListOnce(ctx, wanted(targets)), full: options.Full, sides: sides,
	}
	out := make([]comparison, len(targets)) // each worker owns one slot
	index := make(map[v1alpha1.Target]int, len(targets))
	for i, d := range targets {
		at := *d
		at.Snapshot = snap
		out[i], index[d.Target] = comparison{target: &at, behind: -1}, i
	}
	results := s.each(targets, func(d *target.Desired) (reconcile.Result, error) {
		i, result := index[d.Target], reconcile.NewResult(d)
		var err error
		out[i], err = c.compare(ctx, out[i].target)
		result.Drift = out[i].findings
		return result, err
	})
	for i := range results {
		out[i].err = results[i].Detail.Failure
	}
	return out
}

// comparer compares targets with the commit applied last.
type comparer struct {
	planner *target.Planner
	pins    *pin.Resolver
	rating  reconcile.Rating
	lookups *pin.Lookups
	listed  *inventory.Listing
	full    bool // every object by a dry run
	sides   bool // the sets are kept, to compare environments
}

// compare compares one target. With an error, the comparison says how far it came.
func (c comparer) compare(ctx context.Context, d *target.Desired) (comparison, error) {
	out := comparison{target: d}
	if d.Record.Status.LastAppliedCommit == "" && len(d.Record.Status.Inventory) == 0 {
		return out, nil // nothing was ever applied, so nothing can differ
	}
	out.behind = -1
	at, set, err := c.planner.LastApplied(ctx, d)
	if err != nil {
		return out, err
	}
	out.behind = c.behind(ctx, d, at)
	planned, err := plan.Make(ctx, d.Cluster, plan.Request{
		Target: d.Target, Record: d.Record, Set: set, Full: c.full, Unowned: true, ReadOnly: true, Policies: at.Policies, Shown: c.listed,
	})
	if err != nil {
		return out, err
	}
	out.unpinned, out.findings, out.quiet = view.UnpinnedOf(at.Rendered.Suspects), c.findings(ctx, d, at, planned), planned.Quiet()
	if c.sides {
		out.side = drift.Side{Environment: d.Environment.Name, Rendered: set, Written: at.Rendered.Set.Set(), Findings: out.findings}
	}
	return out, reconcile.UncomparedError(planned)
}

// findings returns what a plan of the commit applied last says, what waits, and what the registries say of the images.
func (c comparer) findings(ctx context.Context, d, at *target.Desired, planned *plan.Plan) []drift.Finding {
	found := c.rating.Differences(d, reconcile.Released(d.Record.Status, planned.Changes()), planned.Changes())
	found = append(found, c.rating.Rated(reconcile.StillHeld(d, found))...)
	found = append(found, c.rating.Planned(d, planned)...)
	found = append(found, c.rating.Rated(c.imageFindings(ctx, at))...)
	c.rating.Complete(at, found)
	drift.Recall(found, d.Record.Status.Drift)
	return found
}

// behind counts the commits since the one that was applied last, where the newest one changes the target.
func (c comparer) behind(ctx context.Context, d, applied *target.Desired) int {
	if applied.Snapshot.Commit == d.Snapshot.Commit {
		return 0
	}
	commits, err := c.planner.Source.Since(ctx, d.Record.Status.LastAppliedCommit, d.Snapshot.Commit)
	if err != nil {
		return -1 // history may not have been fetched that far
	}
	return len(commits)
}

// imageFindings asks the registries about the images of a target. A finding that the record has keeps its time.
func (c comparer) imageFindings(ctx context.Context, at *target.Desired) []drift.Finding {
	found := c.pins.Check(ctx, c.lookups, at, at.Record.Spec.Images)
	for i := range found {
		found[i].Time = pin.RecordedSince(at.Record, found[i])
	}
	return found
}
