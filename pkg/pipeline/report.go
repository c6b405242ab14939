package pipeline

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
)

// reported is what a report says of a target beside its findings.
func reported(w *target.Desired, result TargetResult) drift.Target {
	target := targetOf(w.Record, result.behind)
	target.Error = result.Error
	if result.Error == "" && result.suspects != nil {
		target.Unpinned = unpinnedOf(result.suspects)
	}
	return target
}

// targetOf is how a record has its target.
func targetOf(of *v1alpha1.PipelineSync, behind int) drift.Target {
	status := of.Status
	target := drift.Target{
		Pipeline: of.Spec.Pipeline, Environment: of.Spec.Environment,
		Commit: status.LastAppliedCommit, Behind: behind, Images: []drift.Image{}, Deployments: []drift.Deployment{},
	}
	target.Unpinned = unpinnedOf(suspectsOf(status.Unpinned))
	target.State, target.Message = stateOf(status)
	for _, d := range status.History {
		target.Deployments = append(target.Deployments, drift.Deployment{
			Number: d.Number, Commit: d.Commit, Author: d.Author, Subject: d.Subject, Time: d.Time.UTC(), Outcome: d.Outcome, RollbackOf: d.RollbackOf,
		})
	}
	if len(status.History) > 0 {
		runs := record.Running(status.History)
		at := runs.Time.UTC()
		carried := record.DeploymentOf(status.History, target.Commit)
		target.DeployedAt, target.Author, target.Subject = &at, carried.Author, carried.Subject
		for _, image := range runs.Images {
			target.Images = append(target.Images, drift.Image{Reference: image.Reference, Digest: image.Digest})
		}
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

// stateOf says in one word how a record has its target.
func stateOf(status v1alpha1.PipelineSyncStatus) (drift.State, string) {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady)
	held := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionHeld)
	switch {
	case ready == nil:
		return drift.Unknown, "syncer has not said yet how it is"
	case held != nil && held.Status == "True":
		return drift.Waiting, held.Message
	case ready.Status == "True":
		return drift.Ready, ready.Message
	case meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionReconciling):
		return drift.Progressing, ready.Message
	}
	return drift.Failed, ready.Message
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
