package pipeline

import (
	"cmp"
	"slices"

	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// reported is what a report says of a target beside its findings.
func reported(w *target.Desired, result TargetResult) drift.Target {
	target := view.Reported(w.Record, result.behind)
	target.Error = result.Error
	if result.Error == "" && result.suspects != nil {
		target.Unpinned = view.UnpinnedOf(result.suspects)
	}
	return target
}

// orderTargets sorts targets by pipeline, and by environment as the configuration has them.
func (r *Runner) orderTargets(targets []drift.Target) {
	place := map[string]int{}
	for i, environment := range r.Config.Environments {
		place[environment.Name] = i
	}
	slices.SortFunc(targets, func(a, b drift.Target) int {
		return cmp.Or(cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(place[a.Environment], place[b.Environment]))
	})
}

// counted sums up by rule what was kept quiet.
func counted(quiet []apply.Quiet) []drift.Quiet {
	byRule := map[string]*drift.Quiet{}
	var out []*drift.Quiet
	for _, q := range quiet {
		if byRule[q.Rule] == nil {
			byRule[q.Rule] = &drift.Quiet{Rule: q.Rule, Reason: q.Reason}
			out = append(out, byRule[q.Rule])
		}
		byRule[q.Rule].Count++
	}
	slices.SortFunc(out, func(a, b *drift.Quiet) int { return cmp.Compare(a.Rule, b.Rule) })
	rules := make([]drift.Quiet, len(out))
	for i, q := range out {
		rules[i] = *q
	}
	return rules
}
