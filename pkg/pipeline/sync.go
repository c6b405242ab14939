package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/watch"
)

// SyncOptions are what a user may ask of one pass.
type SyncOptions struct {
	v1alpha1.Selection
	// Correct writes what git says also where only the cluster changed, in environments that report drift too.
	Correct bool
	// Wait for health for at most this long; 0 does not wait.
	Wait time.Duration

	full bool // compare every object by a dry run
}

// targetsAtOnce is how many targets are carried out side by side.
const targetsAtOnce = 8

// carry takes one commit into the selected targets, or the newer one that another syncer has carried out meanwhile.
func (r *Runner) carry(ctx context.Context, snap source.Snapshot, options SyncOptions, newest *tip) (*Pass, error) {
	began := time.Now()
	agenda, err := r.planner.Plan(ctx, snap, options.Selection)
	if err == nil && r.strangers(ctx, agenda, snap, newest.asked) {
		asked := time.Now()
		if newer, failure := r.source.Fetch(ctx); failure == nil && newer.Commit != snap.Commit {
			snap, newest = newer, &tip{source: r.source, commit: newer.Commit, asked: asked}
			agenda, err = r.planner.Plan(ctx, snap, options.Selection)
		}
	}
	if err != nil {
		return nil, err
	}
	c := r.carrier(agenda)
	c.options, c.deadline, c.confirm = options, time.Now().Add(options.Wait), newest.confirm
	c.marks = r.tracked(agenda.Targets, began)
	telling, stop := context.WithCancel(ctx)
	var telltale sync.WaitGroup
	telltale.Go(func() {
		_ = r.guarded(v1alpha1.Target{}, func() error { // what it says, the turns say later
			r.tellUnderway(telling, agenda.Targets, c.marks, began)
			return nil
		})
	})
	results := c.carryAll(ctx, agenda)
	stop()
	telltale.Wait()
	agenda.Incomplete = append(agenda.Incomplete, c.forget(ctx, agenda))
	pass := newPass(snap)
	for _, w := range agenda.Targets {
		pass.Targets = append(pass.Targets, results[w.Target])
	}
	return pass, errors.Join(agenda.Incomplete...)
}

// carryAll carries the targets of an agenda through, as many side by side as may be.
func (c *carrier) carryAll(ctx context.Context, a *target.Commit) map[v1alpha1.Target]TargetResult {
	results := map[v1alpha1.Target]TargetResult{}
	var mu sync.Mutex
	var g panics.Group
	g.SetLimit(targetsAtOnce)
	a.InOrder(ctx, a.Targets, c.Config, func(w *target.Desired, finished func()) {
		g.Go(func() error {
			defer finished()
			var result TargetResult
			err := c.guarded(w.Target, func() error {
				_, result = c.inTurn(ctx, w, false)
				return nil
			})
			if err != nil {
				result = failedResult(w, err)
			}
			c.note(w, result)
			mu.Lock()
			defer mu.Unlock()
			results[w.Target] = result
			return nil
		})
	})
	_ = g.Wait() // each target reports for itself
	for _, w := range a.Targets {
		if _, ok := results[w.Target]; !ok { // it was told to stop before that one's turn
			results[w.Target] = failedResult(w, context.Cause(ctx))
		}
	}
	return results
}

// inTurn reconciles one target. It works on a copy, and returns that: the commit's own stays as it was planned, for those
// who read it at the same time. stale says that the target was reconciled after its record was read.
func (c *carrier) inTurn(ctx context.Context, w *target.Desired, stale bool) (*target.Desired, TargetResult) {
	mine := *w
	if w.Record != nil {
		record := *w.Record
		mine.Record = &record
	}
	w = &mine
	mark := c.marks.of(w.Target)
	if marked := mark.touched(); marked || stale {
		record, err := w.Cluster.Records().Get(ctx, w.Target)
		if err != nil {
			w.Err = errors.Join(w.Err, err)
		}
		w.Record = record
	}
	mark.begin(w.Record)
	result := c.target(ctx, w)
	result.credentials = c.lookups.CredentialsOf(w.Target)
	mark.end(w.Snapshot.Commit, result.skipped)
	c.underway.ended(w, &result)
	return w, result
}

func newPass(snap source.Snapshot) *Pass {
	return &Pass{Commit: snap.Commit, Targets: []TargetResult{}, Rewound: snap.Rewound, Subject: snap.Subject, Author: snap.Author}
}

// carrier is what the targets of one pass share.
type carrier struct {
	*Runner
	options  SyncOptions
	deadline time.Time // of options.Wait
	agenda   *target.Commit
	brings   map[*cluster.Cluster]apply.Brings
	near     map[*cluster.Cluster]apply.Neighbours
	total    int
	lookups  *pin.Lookups
	marks    marks
	alone    bool // the agenda's other targets are as an earlier pass read them
	// unwatched lists the kinds of a target whose changes are not noticed now; nil: nothing is watched.
	unwatched func(*target.Desired) []string
	// newest ends when there is a newer commit: until the first write, work on this one is then given up. nil: there is none.
	newest context.Context
	// confirm is asked before the first object of a target is written; nil: a Lease says who writes.
	confirm func(context.Context) error

	mu      sync.Mutex
	arrived map[v1alpha1.Target]reached
}

// permits says what the trailers of the commit allow; nothing in a command that carries no commit out.
func (c *carrier) permits() target.Allowed {
	if c.agenda == nil {
		return target.Allowed{}
	}
	return c.agenda.Allowed
}

func (r *Runner) carrier(a *target.Commit) *carrier {
	return r.carrierAmong(a, a.Neighbours())
}

// carrierAmong is carrier where the neighbours are known: all objects of a commit are gone through for them.
func (r *Runner) carrierAmong(a *target.Commit, near map[*cluster.Cluster]apply.Neighbours) *carrier {
	c := &carrier{
		Runner: r, agenda: a, brings: a.Provides(), near: near, total: len(a.Targets), lookups: r.pins.NewLookups(), arrived: map[v1alpha1.Target]reached{},
	}
	return c
}

// target carries one target through, and says so.
func (c *carrier) target(ctx context.Context, w *target.Desired) TargetResult {
	started, result := c.now(), newResult(w)
	c.progress(Progress{Target: w.Target, Total: c.total})
	err := c.reconcileOrFail(ctx, w, &result)
	for err == nil && c.goesOn(ctx, w, &result) {
		result = newResult(w)
		err = c.reconcileOrFail(ctx, w, &result)
	}
	switch {
	case errors.Is(err, errSuperseded):
		result.Message = err.Error()
	case err != nil:
		result.Result, result.Error, result.failure = Failed, err.Error(), err
	}
	c.progress(Progress{Target: w.Target, Total: c.total, Commit: w.Snapshot.Commit, Result: &result, Took: c.now().Sub(started)})
	return result
}

// goesOn waits, where the user asked to wait for health, until what a held change depends on is healthy. The end of a run
// is not waited for: it may take hours.
func (c *carrier) goesOn(ctx context.Context, w *target.Desired, result *TargetResult) bool {
	if c.options.Wait == 0 || result.until == nil || !result.until.OnlyHealth() {
		return false
	}
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	if watch.AwaitChange(ctx, result.until.Cluster, result.until.Held) != nil {
		return false
	}
	record, err := w.Cluster.Records().Get(ctx, w.Target)
	if err != nil || record == nil {
		return false
	}
	w.Record = record
	return true
}

// errSuperseded ends the work on a commit in whose place a newer one has come.
var errSuperseded = errors.New("a newer commit came; this one is not carried out any more")

// whileNewest is a context for what only reads: it ends with the work, and when the commit is not the newest any more.
func (c *carrier) whileNewest(ctx context.Context) (context.Context, context.CancelFunc) {
	reading, cancel := context.WithCancel(ctx)
	if c.newest == nil {
		return reading, cancel
	}
	stop := context.AfterFunc(c.newest, cancel)
	return reading, func() { stop(); cancel() }
}

func (c *carrier) reconcile(ctx context.Context, w *target.Desired, result *TargetResult) error {
	_, overlayGone := errors.AsType[*target.MissingOverlayError](w.Err)
	var decided pin.Decision
	var plan *apply.Plan
	err := c.suspended(w)
	if err == nil && (w.Overlay == "" || overlayGone && c.permits().Prunes[w.Target]) {
		return c.remove(ctx, w, result)
	}
	written := false
	defer func() { c.pins.Checks.Moved(w.Target, decided.Moved, written) }()
	reading, stop := c.whileNewest(ctx)
	defer stop()
	if err == nil {
		decided, plan, err = c.prepare(reading, w, result, false)
	}
	if err == nil {
		c.leaveDrift(w, result, plan)
		if len(plan.Pending()) > 0 {
			err = c.awaitDependencies(reading, w)
		}
	}
	if reading.Err() != nil && ctx.Err() == nil {
		result.skipped = true
		return errSuperseded
	}
	c.marks.of(w.Target).close(ctx)
	if wait, ok := errors.AsType[*target.WaitError](err); ok {
		return c.holdTarget(ctx, w, result, wait)
	}
	if err != nil {
		return c.fail(ctx, w, err)
	}
	written, err = c.carryOut(ctx, w, result, decided, plan)
	return err
}

// leaveDrift takes out of a plan what only the cluster changed: all of it where drift is reported, and else the fields
// that the configuration leaves alone and those that a rival keeps taking. What is left to do is drift that this pass
// puts right.
func (c *carrier) leaveDrift(w *target.Desired, result *TargetResult, plan *apply.Plan) {
	corrects := c.corrects(w)
	var contests []v1alpha1.Contest
	if w.Record != nil {
		contests = w.Record.Status.Contested
	}
	spared := func(change manifest.Change, field manifest.FieldChange) bool {
		return c.exempt(w, change.ID, field.Path) || record.IsContested(contests, change.ID, field.Path, c.dates().In(w.Cluster))
	}
	left := plan.Leave(func(change manifest.Change, field *manifest.FieldChange) bool {
		switch {
		case !corrects, isUnproven(change) && !c.options.Correct:
			return true
		case field != nil:
			return spared(change, *field)
		}
		// A replacement is all or nothing.
		return change.Action == manifest.Replace && slices.ContainsFunc(change.Fields, func(f manifest.FieldChange) bool { return spared(change, f) })
	})
	result.Drift = append(c.findings(w, left, plan.Changes), c.rated(drift.HeldEdits(w.Target.Pipeline, w.Target.Environment, plan.Held(), manifest.FieldManager))...)
	result.corrects = drifted(plan.Pending())
}

// isUnproven reports whether a change may run once too often what ran before: somebody has to ask for it.
func isUnproven(change manifest.Change) bool { return change.Lost != nil && change.Lost.Unproven }

// corrects reports whether what only the cluster changed is put right.
func (c *carrier) corrects(w *target.Desired) bool {
	return c.options.Correct || w.Environment.Drift == v1alpha1.Correct
}

func drifted(changes []manifest.Change) []manifest.Change {
	return slices.DeleteFunc(changes, func(change manifest.Change) bool { return !change.Drifted })
}

// prepare decides what a target is to become and how it gets there. It writes nothing of the target.
func (c *carrier) prepare(ctx context.Context, w *target.Desired, result *TargetResult, readOnly bool) (pin.Decision, *apply.Plan, error) {
	if w.Err != nil {
		return pin.Decision{}, nil, w.Err
	}
	decided, err := c.pins.Decide(ctx, w, c.pinRequest(w))
	if err != nil {
		return decided, nil, err
	}
	result.Images = imageResults(w, decided)
	set, err := w.Applicable(decided.Resolved, w.Cluster.Namespace())
	if err != nil {
		return decided, nil, err
	}
	if decided.Pins, err = fitPins(w, decided, set); err != nil {
		return decided, nil, err
	}
	plan, err := apply.Make(ctx, w.Cluster, apply.Request{
		Target: w.Target, Record: w.Record, Set: set, Brings: c.brings[w.Cluster.Server()], Neighbours: c.near[w.Cluster.Server()], ReadOnly: readOnly, Full: c.options.full, Rules: w.Rules,
		Confirm: c.confirm, Recorded: c.marks.of(w.Target).reopen,
	})
	if err == nil {
		err = plan.LimitPrunes(c.pruneLimit(w))
	}
	return decided, plan, err
}

// carryOut applies a plan where there is something to apply, judges the target's health, and records both. written reports
// whether it wrote the record's spec, and with it the digests that were decided.
func (c *carrier) carryOut(ctx context.Context, w *target.Desired, result *TargetResult, decided pin.Decision, plan *apply.Plan) (written bool, err error) {
	pending := plan.Pending()
	correcting := c.findings(w, result.corrects, nil)
	locate(w, correcting)
	c.nameUsers(w, correcting)
	if len(correcting) > 0 && w.Record != nil {
		// Who did it is known now; afterwards the field is syncer's again.
		if err := c.noteDrift(ctx, w, slices.Concat(result.Drift, correcting)); err != nil {
			return false, err
		}
	}
	applied := apply.Applied{Inventory: plan.Inventory(), Live: plan.Members, Held: plan.Held()}
	// A new pin is kept also where it changes nothing: the reference may be new and its bytes the same.
	if len(pending) > 0 || plan.Unfinished() || w.Record == nil || !pin.Same(decided.Pins, w.Record.Spec.Images) || w.Record.Spec.ServiceAccount != w.Settings.ServiceAccount {
		applied, err = apply.Carry(ctx, w.Cluster, plan, c.spec(w, decided))
		written = applied.Record.Generation != 0
		applied.Record.Version = c.marks.of(w.Target).leave(ctx, applied.Record.Version)
	}
	result.Changes = changeResults(slices.Concat(applied.Changes, applied.Held), false)
	if isOvertaken(err) {
		return written, err // what the target is now is for the other one to say
	}
	switch {
	case len(applied.Held) > 0:
		result.Result = Held
	case len(pending) > 0:
		result.Result = Applied
	}
	fields := len(result.Drift)
	result.Drift = append(result.Drift, c.uncompared(w, plan)...)
	result.Drift = append(result.Drift, c.rated(notRerun(w, plan))...)
	result.Drift = append(result.Drift, c.rated(strays(w, plan))...)
	if c.loops { // a command that deploys once has other things to do
		result.Drift = append(result.Drift, c.rated(c.pins.Findings(ctx, c.lookups, w, decided.Pins))...)
	}
	locate(w, result.Drift)
	c.nameUsers(w, result.Drift)
	drift.Sort(result.Drift)
	var before v1alpha1.PipelineSyncStatus
	if w.Record != nil {
		before = w.Record.Status
	}
	permits := c.permits()
	o := outcomeOf(w, applied.Record)
	o.Failure, o.Spec.Pins = failureOf(err), decided.Pins
	o.Apply = &record.Apply{
		Pending: len(pending) > 0, Changes: applied.Changes, Held: applied.Held, Inventory: applied.Inventory, Images: decided.Deployed(w, plan.LeftAlone()),
		Allowed: permits.Prunes[w.Target] || permits.Promotions[w.Target] != "", AllowedBy: permits.Promotions[w.Target],
	}
	// Of what cannot be read it is not known how it is.
	seen := applied
	seen.Inventory = plan.Readable(applied.Inventory)
	judged, unhealthy := c.judgeHealth(ctx, w, seen, err)
	judged = judged.WithUnread(plan)
	swapped := target.Swapped(ctx, w.Cluster, seen.Inventory, applied.Live, w.Rendered.Fields, o.Apply.Images)
	flapping := record.Flapping(decided.Pins, c.dates().In(w.Cluster), w.Environment.Images.Interval.Duration)
	o.Health = healthFor(judged, swapped, slices.Concat(flapping, plan.Terminating()))
	objects := countObjects(target.ObjectsOf(ctx, w.Cluster, seen.Inventory, applied.Live))
	result.uncompared = uncomparedError(plan)
	unwatched := c.notWatched(w)
	var uncorrected error
	if c.corrects(w) {
		uncorrected = result.uncompared
	}
	if err == nil {
		o.Drift = &record.Drift{Found: result.Drift, Corrected: among(correcting, applied.Changes), Images: c.loops, Unwatched: unwatched}
		if uncorrected != nil {
			o.Drift.Uncorrected = uncorrected.Error()
		}
	}
	result.live, result.pins, result.unwatched = plan.Seen(applied.Live), decided.Pins, len(unwatched) > 0
	result.settled = err == nil && result.uncompared == nil && len(applied.Held) == 0 && judged.Status != health.InProgress && !record.NewlyCutOff(before.Inventory, applied.Inventory)
	c.noteHealth(w, judged, applied.Inventory)
	if written {
		c.tellFlapping(ctx, w, decided.Pins)
	}
	result.until = target.WaitFor(w, slices.Concat(applied.Held, judged.Waiting))
	result.Message = summary(result, fields, decided.Kept, len(applied.Held), o.Health)
	if w.Record == nil && applied.Record.Generation == 0 {
		return written, err // there is no record to say it in
	}
	return written, errors.Join(err, c.save(ctx, w, o, applied.Record.Version, objects), unhealthy, uncorrected)
}

// among are the findings about objects that were changed.
func among(findings []drift.Finding, changes []manifest.Change) []drift.Finding {
	return slices.DeleteFunc(findings, func(f drift.Finding) bool {
		return !slices.ContainsFunc(changes, func(change manifest.Change) bool { return change.ID.Key() == f.Object.Key() })
	})
}

// notRerun is what a plan says of objects that were changed after their run, and not run again.
func notRerun(w *target.Desired, plan *apply.Plan) []drift.Finding {
	var out []drift.Finding
	for _, id := range plan.NotRerun() {
		out = append(out, drift.NotRerunOf(w.Target.Pipeline, w.Target.Environment, id))
	}
	return out
}

// strays are what a plan finds of objects that seem to be the target's, and that git does not have.
func strays(w *target.Desired, plan *apply.Plan) []drift.Finding {
	var out []drift.Finding
	for _, stray := range plan.Strays() {
		out = append(out, drift.StrayOf(w.Target.Pipeline, w.Target.Environment, stray.ID, stray.Unlabelled, stray.By))
	}
	return out
}

func (c *carrier) spec(w *target.Desired, decided pin.Decision) v1alpha1.PipelineSyncSpec {
	return v1alpha1.PipelineSyncSpec{
		Owner: c.Config.Name, Pipeline: w.Target.Pipeline, Environment: w.Target.Environment,
		Source:         v1alpha1.RecordSource{URL: c.Config.Source.PublicURL(), Commit: w.Snapshot.Commit},
		ServiceAccount: w.Settings.ServiceAccount, Images: decided.Pins,
	}
}

func (c *carrier) pruneLimit(w *target.Desired) apply.PruneLimit {
	prune := w.Environment.Prune
	return apply.PruneLimit{
		Disabled: !*prune.Enabled, MaxPercent: *prune.MaxPercent, MaxObjects: prune.MaxObjects, Allowed: c.permits().Prunes[w.Target],
	}
}

func changeResults(changes []manifest.Change, fields bool) []ChangeResult {
	out := make([]ChangeResult, 0, len(changes))
	for _, change := range changes {
		result := ChangeResult{Object: change.ID, Action: change.Action, Taken: append([]manifest.Taken{}, change.Taken...)}
		if change.Held != nil {
			result.Held = &HeldResult{Action: change.Held.Action, Reason: change.Held.Reason, Message: change.Held.Message}
		}
		if fields {
			result.Fields = append([]manifest.FieldChange{}, change.Fields...)
		}
		out = append(out, result)
	}
	return out
}

// summary is one line for a person.
func summary(result *TargetResult, left int, kept []string, held int, health record.Health) string {
	var parts []string
	counts := map[manifest.Action]int{}
	for _, change := range result.Changes {
		counts[change.Action]++
	}
	for _, each := range []struct {
		action manifest.Action
		word   string
	}{{manifest.Create, "created"}, {manifest.Update, "updated"}, {manifest.Replace, "replaced"}, {manifest.Prune, "pruned"}} {
		if n := counts[each.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, each.word))
		}
	}
	if held > 0 {
		parts = append(parts, manifest.Plural(held, "change")+" held")
	}
	if result.uncompared != nil {
		parts = append(parts, manifest.Shorten(strings.Split(result.uncompared.Error(), "\n")))
	}
	if left > 0 {
		parts = append(parts, manifest.Plural(left, "drifted field")+" left alone")
	}
	if len(kept) > 0 {
		parts = append(parts, "kept the digest of "+strings.Join(kept, ", ")+", which cannot be looked up now")
	}
	parts = append(parts, health.Notes...)
	if result.Result != Unchanged && health.Message != "" {
		parts = append(parts, health.Message)
	}
	return strings.Join(parts, "; ")
}
