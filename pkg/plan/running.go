package plan

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

// rerun runs an object again that has run to its end and that git changes, if the target asks for it.
func rerun(_ context.Context, c *Comparer, s *Step) (Verdict, error) {
	live := s.Change.Live
	if live == nil || c.request.Policies.Rerun != v1alpha1.OnChange {
		return Verdict{}, nil
	}
	run, _ := runOfChange(c, s)
	if run.State == health.Ended && (disturbs(s.Change) || inventory.NotRerun(run, c.recorded[s.Key()])) {
		return Verdict{Action: manifest.Replace}, nil
	}
	return Verdict{}, nil
}

// running holds a change that interrupts a run, or leaves it for the next run.
func running(ctx context.Context, c *Comparer, s *Step) (Verdict, error) {
	if s.Change.Live == nil || !disturbs(s.Change) {
		return Verdict{}, nil
	}
	run, isPod := runOfChange(c, s)
	if run.State == health.NotARun {
		return Verdict{}, nil
	}
	var out Verdict
	if s.Change.Action == manifest.Update {
		out.Runs.Ended = run.ID // until the next run exists, the object's state does not reflect the change
	}
	if !isPod {
		run = inventory.RunOf(ctx, c.cluster, s.Change.Live) // includes the time between a start and the first pod
	}
	if run.State != health.Running {
		return out, nil
	}
	policy, err := c.request.Policies.ForRunning(s.Rendered)
	switch {
	case err != nil:
		return Verdict{}, fmt.Errorf("%s: %w", s.Change.ID, err)
	case policy == v1alpha1.Wait:
		out.Held = held(manifest.HeldRunning, run.Message, s.Change.ID).Held
	case policy == v1alpha1.Skip:
		out.State = NextRun
	}
	return out, nil
}

// runOfChange returns the run that a change concerns. A pod counts as a run if the change replaces it.
func runOfChange(c *Comparer, s *Step) (run health.Run, isPod bool) {
	run = c.runOf(s.Change.Live)
	if s.Change.Action == manifest.Replace && run.State == health.NotARun {
		return health.PodRun(s.Change.Live), true
	}
	return run, false
}

// disturbs reports whether a change interrupts the current run: it replaces the object, or touches a field of the run.
func disturbs(change manifest.Change) bool {
	kind := health.KindOf(change.ID.GroupKind())
	switch change.Action {
	case manifest.Replace:
		return true
	case manifest.Update:
		return slices.ContainsFunc(change.Fields, func(f manifest.FieldChange) bool { return kind.Restarts(f.Path) })
	}
	return false
}

// MayPrune holds the prune of an object that runs.
func (c *Comparer) MayPrune(ctx context.Context, change *manifest.Change) error {
	run := inventory.RunOf(ctx, c.cluster, change.Live)
	if run.State != health.Running {
		return nil
	}
	policy, err := c.request.Policies.ForRunning(change.Live)
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
	c, recorded := p.comparer, inventory.ByKey(p.comparer.request.Record)
	var out []manifest.ID
	for _, s := range p.steps {
		live := s.Change.Live
		if s.Rendered == nil || live == nil || s.Change.Action == manifest.Replace {
			continue
		}
		written, _ := manifest.LastWrite(live, manifest.FieldManager)
		if inventory.NotRerun(c.runOf(live), recorded[s.Key()]) && cluster.Since(c.cluster, written) > operatorsTime {
			out = append(out, s.Change.ID)
		}
	}
	return out
}
