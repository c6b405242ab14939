package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/drift"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/record"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// Status reads the records of the selected targets and judges their live objects; it needs neither git nor a registry.
// The error names the environments that cannot be read.
func (r *Runner) Status(ctx context.Context, selection v1alpha1.Selection) (view.Status, error) {
	works, lost, err := r.planner.Recorded(ctx, selection)
	if err != nil {
		return view.Status{Targets: []view.TargetStatus{}}, err
	}
	c := carrier{Runner: r, total: len(works)}
	statuses := make([]view.TargetStatus, len(works))
	byTarget := map[v1alpha1.Target]*view.TargetStatus{}
	for i, w := range works {
		byTarget[w.Target] = &statuses[i]
	}
	results := c.each(works, func(w *target.Desired, _ *TargetResult) error {
		*byTarget[w.Target] = c.look(ctx, w)
		return nil
	})
	for i, result := range results {
		if result.Error != "" { // looking at it panicked, and says nothing of it
			statuses[i] = view.TargetStatus{Pipeline: result.Pipeline, Environment: result.Environment, Message: result.Error, Images: []v1alpha1.DeployedImage{}}
			lost = errors.Join(lost, fmt.Errorf("%s: %s", result.Target(), result.Error))
		}
	}
	return view.Status{Targets: statuses}, lost
}

func (c *carrier) look(ctx context.Context, w *target.Desired) view.TargetStatus {
	recorded := w.Record.Status
	s := view.TargetStatus{
		Pipeline: w.Target.Pipeline, Environment: w.Target.Environment,
		Commit: recorded.LastAppliedCommit, Images: []v1alpha1.DeployedImage{},
	}
	if len(recorded.History) > 0 {
		at := recorded.History[0].Time.UTC()
		s.DeployedAt, s.Age = &at, duration.HumanDuration(max(0, c.dates().In(w.Cluster).Sub(at)))
		s.Images = append(s.Images, record.Running(recorded.History).Images...)
	}
	live, err := inventory.Find(ctx, w.Cluster, w.Target, w.Record)
	if err != nil {
		s.Message = err.Error()
		return s
	}
	recorded.Inventory = slices.Clone(recorded.Inventory)
	inventory.Fates(ctx, w.Cluster, recorded.Inventory, live)
	h := target.HealthOf(ctx, w.Cluster, recorded.Inventory, live)
	touched := inventory.Touched(ctx, w.Cluster, recorded.Inventory, live)
	s.Drifted = len(touched) > 0 || h.Missing
	var parts []string
	// A failure of syncer itself is in the record alone; how the objects are can be seen here and now.
	ready := meta.FindStatusCondition(recorded.Conditions, v1alpha1.ConditionReady)
	failed := ready != nil && ready.Status != "True" && ready.Reason != "Progressing" && ready.Reason != "Unhealthy" && ready.Reason != "HealthTimeout"
	if failed {
		parts = append(parts, ready.Message)
	}
	s.Held = meta.IsStatusConditionTrue(recorded.Conditions, v1alpha1.ConditionHeld)
	if held := meta.FindStatusCondition(recorded.Conditions, v1alpha1.ConditionHeld); s.Held && !failed {
		parts = append(parts, held.Message)
	}
	s.Ready = !failed && h.Status == health.Healthy && recorded.LastAppliedCommit != ""
	if h.Message != "" {
		parts = append(parts, h.Message)
	}
	if recorded.Drift != nil {
		for _, f := range recorded.Drift.Findings {
			if record.IsImageFinding(f) || f.Kind == string(drift.Added) {
				s.Drifted = true
				parts = append(parts, f.Message)
			}
		}
	}
	if len(touched) > 0 {
		parts = append(parts, "changed by hand: "+manifest.Shorten(touched))
	}
	s.Message = strings.Join(parts, "; ")
	return s
}
