package pipeline

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/source"
)

// allowPrune is the commit trailer that lets one pass delete more than the limits allow.
var allowPrune = regexp.MustCompile(`(?mi)^Syncer-Allow-Prune:[ \t]*(\S+)[ \t]*$`)

// trailers reads what the commits allow that this pass carries out for the first time, as far as the fetched history
// reaches: prunes above the limits, and references that were never promoted, with the author who allows those. Commits
// that cannot be read allow nothing.
func (r *Runner) trailers(ctx context.Context, a *agenda) (prunes map[v1alpha1.Target]bool, promotions map[v1alpha1.Target]string) {
	since := map[string][]source.Commit{} // by the commit last carried out
	prunes, promotions = map[v1alpha1.Target]bool{}, map[v1alpha1.Target]string{}
	for _, w := range a.works {
		from := ""
		if w.record != nil {
			from = w.record.Status.LastAppliedCommit
		}
		if from == w.snapshot.Commit {
			continue
		}
		if attempted := lastAttempted(w.record); from == "" && attempted != w.snapshot.Commit {
			from = attempted // never applied: what came since it was last tried
		}
		commits, ok := since[from]
		if !ok {
			var err error
			if commits, err = r.source.Since(ctx, from, w.snapshot.Commit); err != nil {
				r.log.Warn("reading the commit messages since the last applied commit", "from", from, "error", err)
			}
			since[from] = commits
		}
		for _, commit := range commits {
			if speaksOf(commit, allowPrune, w.target) {
				prunes[w.target] = true
			}
			if speaksOf(commit, allowPromotion, w.target) {
				promotions[w.target] = commit.Author
			}
		}
	}
	return prunes, promotions
}

func lastAttempted(record *v1alpha1.PipelineSync) string {
	if record == nil {
		return ""
	}
	return record.Status.LastAttemptedCommit
}

// speaksOf reports whether a commit has a trailer that names a target.
func speaksOf(commit source.Commit, trailer *regexp.Regexp, target v1alpha1.Target) bool {
	for _, match := range trailer.FindAllStringSubmatch(commit.Message, -1) {
		if match[1] == target.Pipeline || match[1] == target.String() {
			return true
		}
	}
	return false
}

// limitRemovals refuses to remove more pipelines from an environment than its limit allows: a moved folder or a
// mistaken layout looks just like a wish to delete everything.
func (c *carrier) limitRemovals(a *agenda) {
	gone := map[string][]*work{}
	for _, w := range a.works {
		if w.overlay == "" && w.err == nil && !c.allowed[w.target] {
			gone[w.environment.Name] = append(gone[w.environment.Name], w)
		}
	}
	for environment, works := range gone {
		limit, total := works[0].environment.Prune, a.deployed[environment]
		if len(works) < total && len(works)*100 <= *limit.MaxPercent*total {
			continue
		}
		names := make([]string, len(works))
		for i, w := range works {
			names[i] = w.target.Pipeline
		}
		for _, w := range works {
			w.err = refusal("this commit would remove %d of the %d pipelines of %s (%s), which is above the limit of %d %%; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
				len(works), total, environment, strings.Join(names, ", "), *limit.MaxPercent, w.target.Pipeline)
		}
	}
}

// refusedError says that a commit would delete more of an environment than it may.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

func refusal(format string, args ...any) error { return &refusedError{fmt.Sprintf(format, args...)} }

// limitPass refuses the prunes of a commit that would delete more from an environment than one pass may: many small losses
// are one big one.
func (c *carrier) limitPass(a *agenda) {
	doomed, losers := map[string]int{}, map[string][]*work{}
	for i, w := range a.everyone() {
		limit, selected := w.environment.Prune.MaxPerPass, i < len(a.works)
		if limit == 0 || !selected && w.overlay != "" || w.record == nil || w.err != nil || c.allowed[w.target] || w.overlay != "" && w.plain == nil {
			continue
		}
		if n := apply.Doomed(w.record, w.plain); n > 0 {
			doomed[w.environment.Name] += n
			losers[w.environment.Name] = append(losers[w.environment.Name], w)
		}
	}
	for environment, works := range losers {
		limit := works[0].environment.Prune.MaxPerPass
		if doomed[environment] <= limit {
			continue
		}
		for _, w := range works {
			w.err = refusal("this commit would delete %d objects from %d pipelines of %s, which is above the limit of %d in one pass; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
				doomed[environment], len(works), environment, limit, w.target.Pipeline)
		}
	}
}

// remove deletes what a target that left git still has in the cluster, and its record with it.
func (c *carrier) remove(ctx context.Context, w *work, result *TargetResult) error {
	if w.err != nil {
		if _, gone := errors.AsType[*missingOverlayError](w.err); !gone || !c.allowed[w.target] {
			w.mark.close(ctx)
			return c.fail(ctx, w, w.err)
		}
	}
	if w.record == nil {
		// Another turn, another syncer or a person has deleted it since the commit was looked at. Without it nothing tells
		// which objects are the target's to delete.
		result.Result, result.settled, result.Message = Unchanged, true, "it is no longer in git, and has no record any more"
		return nil
	}
	plan, err := w.cluster.Plan(ctx, apply.Request{Target: w.target, Record: w.record, Neighbours: c.near[w.cluster.Server()], Rules: w.rules(), Confirm: c.confirm})
	w.mark.close(ctx)
	if err == nil {
		err = uncomparedError(plan) // what cannot be read cannot be deleted, and its record is not to go before it
	}
	if err != nil {
		return c.fail(ctx, w, err)
	}
	if !*w.environment.Prune.Enabled {
		result.settled = true
		result.Result, result.Message = Unchanged, "it is no longer in git; its objects stay, because prune is disabled for "+w.environment.Name
		return nil
	}
	if limit := w.environment.Prune.MaxObjects; limit > 0 && len(plan.Members) > limit && !c.allowed[w.target] {
		return c.fail(ctx, w, &apply.PruneRefusedError{Target: w.target, Objects: idsOf(plan.Pending()), Of: len(plan.Members), Limit: fmt.Sprintf("the limit of %d objects", limit)})
	}
	applied, err := w.cluster.Remove(ctx, plan)
	result.Changes = changeResults(slices.Concat(applied.Changes, applied.Held), false)
	if isOvertaken(err) {
		return err
	}
	if err != nil {
		// What is deleted is not in the inventory any more: a revert makes it again.
		o := outcome{err: err, written: applied.Record, inventory: applied.Inventory, held: w.record.Status.Held, contested: w.record.Status.Contested}
		return errors.Join(err, c.save(ctx, w, o))
	}
	if len(applied.Held) > 0 {
		return c.holdRemoval(ctx, w, result, applied)
	}
	w.takeIn(applied.Record)
	if err := c.retire(ctx, w); err != nil {
		return err
	}
	result.Result, result.settled = Applied, true
	result.Message = fmt.Sprintf("it is no longer in git: %s pruned", plural(len(result.Changes), "object"))
	return nil
}

// takeIn notes that a pass wrote a target's record.
func (w *work) takeIn(written apply.Written) {
	if written.Version == "" {
		return
	}
	w.record.ResourceVersion, w.record.Generation, w.record.Status.ConfirmedApply = written.Version, written.Generation, written.Apply
}

// holdRemoval keeps the record of a removed target while something of it still runs.
func (c *carrier) holdRemoval(ctx context.Context, w *work, result *TargetResult, applied apply.Applied) error {
	o := outcome{written: applied.Record, inventory: applied.Inventory, held: heldChanges(w.record.Status.Held, applied.Held, c.stamp(w))}
	o.health = healthOf(ctx, w.cluster, applied.Inventory, applied.Live)
	result.Result, result.until = Held, alarmFor(w, applied.Held)
	result.Message = "it is no longer in git: " + heldMessage(o.held)
	return c.save(ctx, w, o)
}

func idsOf(changes []manifest.Change) []manifest.ID {
	ids := make([]manifest.ID, len(changes))
	for i, change := range changes {
		ids[i] = change.ID
	}
	return ids
}

// retire ends the record of a removed target: at once where it holds no pin, else when those are past their time.
func (c *carrier) retire(ctx context.Context, w *work) error {
	if len(w.record.Spec.Images) == 0 {
		return w.cluster.DeleteRecord(ctx, w.target, w.record.UID, w.record.ResourceVersion)
	}
	now := c.stamp(w)
	status := v1alpha1.PipelineSyncStatus{
		ObservedGeneration: w.record.Generation, ConfirmedApply: w.record.Status.ConfirmedApply, LastAttemptedCommit: w.snapshot.Commit, RemovedAt: &now,
		History: w.record.Status.History,
	}
	setCondition(&status, v1alpha1.ConditionReady, false, "Removed", "the pipeline left git and its objects were deleted; the record keeps its pins")
	stampConditions(&status, w.record.Status.Conditions, now)
	_, err := w.cluster.SaveStatus(ctx, w.target, status, w.record.ResourceVersion)
	return err
}

// forget deletes the records of targets that left git so long ago that nobody reverts to their pins.
func (c *carrier) forget(ctx context.Context, a *agenda) error {
	var errs []error
	for _, w := range a.retired {
		if c.isPast(w, w.record.Status.RemovedAt.Time, w.environment.Images.KeepPins.For.Duration) {
			err := w.cluster.DeleteRecord(ctx, w.target, w.record.UID, w.record.ResourceVersion)
			if !isOvertaken(err) { // else somebody has revived it
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
