package plan

import (
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// dependsOutside holds a step that depends on an object outside the set which is missing or unhealthy.
func dependsOutside(ctx context.Context, w *waiting, s *Step) (Verdict, error) {
	if s.IsPrune() {
		return Verdict{}, nil
	}
	c := w.plan.comparer
	for _, id := range s.Order.Outside {
		live, err := cluster.Read(ctx, c.cluster, id)
		if answer.IsOfObject(err) {
			return held(manifest.HeldDependency, fmt.Sprintf("%s cannot be read: %v", id, err), id), nil
		}
		if err != nil {
			return Verdict{}, fmt.Errorf("%s: annotation %s: %w", s.Change.ID, annotationDependsOn, err)
		}
		message := inventory.Unready(c.cluster, live)
		if live == nil {
			if message, err = absent(ctx, c, id); err != nil {
				return Verdict{}, fmt.Errorf("%s: annotation %s: %w", s.Change.ID, annotationDependsOn, err)
			}
		}
		if message != "" {
			return held(manifest.HeldDependency, fmt.Sprintf("%s %s", id, message), id), nil
		}
	}
	return Verdict{}, nil
}

// dependsInside holds a step whose predecessors in the set are unhealthy. A predecessor that the plan applies counts as
// ready: its health shows at the apply.
func dependsInside(_ context.Context, w *waiting, s *Step) (Verdict, error) {
	c := w.plan.comparer
	return Verdict{Held: HeldBack(s, w.plan.steps, func(other *Step) string {
		if other.Writes() {
			return ""
		}
		return c.Unready(other, w.plan.Members)
	})}, nil
}

// HeldBack returns the reason why a step waits for its predecessors among the steps of its plan; nil if it does not. unready
// says why a predecessor that does not wait itself is not ready, as a clause; "" if it is ready.
func HeldBack(s *Step, steps []*Step, unready func(*Step) string) *manifest.Held {
	if s.IsPrune() || !s.isPending() {
		return nil
	}
	for _, other := range steps {
		if !s.follows(other) {
			continue
		}
		id := other.Change.ID
		if other.Change.Action == manifest.Hold {
			return held(manifest.HeldDependency, fmt.Sprintf("%s waits itself: %s", id, other.Change.Held.Message), other.Change.Held.For...).Held
		}
		if message := unready(other); message != "" {
			return held(manifest.HeldDependency, fmt.Sprintf("%s %s", id, message), id).Held
		}
	}
	return nil
}

// Unready says why the dependents of a step have to wait, as a clause, by the live objects of the target; "" if they do not.
func (c *Comparer) Unready(s *Step, live inventory.Members) string {
	switch {
	case s.State == Unread:
		return "cannot be read: " + s.Err.Error()
	case s.State != Ran:
		return inventory.Unready(c.cluster, live[s.Key()])
	case c.recorded[s.Key()].Failed:
		return "failed before it removed itself"
	}
	return ""
}
