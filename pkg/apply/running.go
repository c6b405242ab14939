package apply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// respect decides a change whose object runs to completion.
func (p *planner) respect(ctx context.Context, s *step, entry v1alpha1.InventoryEntry) error {
	change := s.change
	if change.Live == nil {
		return nil
	}
	run := p.cluster.Judge().Run(change.Live)
	pod := change.Action == manifest.Replace && run.State == health.NotARun
	if pod {
		run = health.PodRun(change.Live)
	}
	if run.State == health.NotARun {
		return nil
	}
	disturbs := change.Action == manifest.Replace || change.Action == manifest.Update && disturbs(*change)
	if run.State == health.Ended && p.plan.request.Rules.Rerun == v1alpha1.OnChange && (disturbs || inventory.NotRerun(run, entry)) {
		change.Action = manifest.Replace
	}
	if change.Action == manifest.None {
		return nil
	}
	if !disturbs {
		return nil
	}
	if change.Action == manifest.Update {
		s.endedRun = run.ID // until the next run exists, the object's state does not reflect the change
	}
	if !pod {
		run = inventory.RunOf(ctx, p.cluster, change.Live) // includes the time between a start and the first pod
	}
	if run.State != health.Running {
		return nil
	}
	policy, err := p.plan.request.Rules.onRunning(s.rendered)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", change.ID, err)
	case policy == v1alpha1.Wait:
		change.Hold(manifest.HeldRunning, run.Message, change.ID)
	case policy == v1alpha1.Skip:
		change.Action, s.left, s.skipped = manifest.None, true, true
	}
	return nil
}

// disturbs reports whether a change touches a field that interrupts the current run.
func disturbs(change manifest.Change) bool {
	kind := health.KindOf(change.ID.GroupKind())
	return slices.ContainsFunc(change.Fields, func(f manifest.FieldChange) bool { return kind.Restarts(f.Path) })
}

// respectPrune decides whether an object that left git may be deleted while it runs.
func (p *planner) respectPrune(ctx context.Context, change *manifest.Change) error {
	run := inventory.RunOf(ctx, p.cluster, change.Live)
	if run.State != health.Running {
		return nil
	}
	policy, err := p.plan.request.Rules.onRunning(change.Live)
	if err != nil {
		return fmt.Errorf("%s: %w", change.ID, err)
	}
	if policy != v1alpha1.Replace {
		change.Hold(manifest.HeldRunning, run.Message, change.ID)
	}
	return nil
}

// operatorsTime is the time that an operator has to act on a change before syncer reports that it did not.
const operatorsTime = 10 * time.Second

// NotRerun lists the objects whose spec was changed after they had run to their end, and that their operators have not run
// again.
func (p *Plan) NotRerun() []manifest.ID {
	recorded := inventory.ByKey(p.request.Record)
	var out []manifest.ID
	for _, s := range p.steps {
		live := s.change.Live
		if s.rendered == nil || live == nil || s.change.Action == manifest.Replace {
			continue
		}
		written, _ := manifest.LastWrite(live, manifest.FieldManager)
		if inventory.NotRerun(p.judge.Run(live), recorded[s.change.ID.Key()]) && cluster.Since(p.planner.cluster, written) > operatorsTime {
			out = append(out, s.change.ID)
		}
	}
	return out
}
