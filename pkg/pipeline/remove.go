package pipeline

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/source"
)

// allowPrune is the commit trailer that lets one pass delete more than the limits allow.
var allowPrune = regexp.MustCompile(`(?mi)^Syncer-Allow-Prune:[ \t]*(\S+)[ \t]*$`)

// allowance reads the trailers of the commits that this pass carries out for the first time, as far as the fetched
// history reaches. Commits that cannot be read allow nothing.
func (r *Runner) allowance(ctx context.Context, a *agenda) map[apply.Target]bool {
	since := map[string][]source.Commit{} // by the commit last applied
	allowed := map[apply.Target]bool{}
	for _, w := range a.works {
		if w.record == nil || w.record.Status.LastAppliedCommit == w.snapshot.Commit {
			continue
		}
		from := w.record.Status.LastAppliedCommit
		commits, ok := since[from]
		if !ok {
			var err error
			if commits, err = r.source.Since(ctx, from, w.snapshot.Commit); err != nil {
				r.log.Warn("reading the commit messages since the last applied commit", "from", from, "error", err)
			}
			since[from] = commits
		}
		for _, commit := range commits {
			for _, match := range allowPrune.FindAllStringSubmatch(commit.Message, -1) {
				if match[1] == w.target.Pipeline || match[1] == w.target.String() {
					allowed[w.target] = true
				}
			}
		}
	}
	return allowed
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
			w.err = fmt.Errorf("this commit would remove %d of the %d pipelines of %s (%s), which is above the limit of %d %%; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
				len(works), total, environment, strings.Join(names, ", "), *limit.MaxPercent, w.target.Pipeline)
		}
	}
}

// remove deletes what a target that left git still has in the cluster, and its record with it.
func (c *carrier) remove(ctx context.Context, w *work, result *TargetResult) error {
	if w.err != nil {
		if _, gone := errors.AsType[*missingOverlayError](w.err); !gone || !c.allowed[w.target] {
			return c.fail(ctx, w, w.err)
		}
	}
	plan, err := w.cluster.Plan(ctx, apply.Request{Target: w.target, Record: w.record})
	if err != nil {
		return c.fail(ctx, w, err)
	}
	if !*w.environment.Prune.Enabled {
		result.Result, result.Message = Unchanged, "it is no longer in git; its objects stay, because prune is disabled for "+w.environment.Name
		return nil
	}
	result.Changes = changeResults(plan.Pending(), false)
	if err := w.cluster.Remove(ctx, plan); err != nil {
		return c.fail(ctx, w, err)
	}
	result.Result = Applied
	result.Message = fmt.Sprintf("it is no longer in git: %s pruned", plural(len(result.Changes), "object"))
	return nil
}
