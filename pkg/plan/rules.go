package plan

import (
	"cmp"
	"context"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Verdict is the decision of a rule about a step. The zero value decides nothing.
type Verdict struct {
	State  State           // not Judged: the object stays as it is, and why
	Action manifest.Action // not empty: the action changes
	Held   *manifest.Held  // not nil: the change waits
	Runs   Runs            // parts that are not empty are noted
}

func (v Verdict) decides() bool { return v.State != Judged || v.Held != nil }

// rule decides about the object of one step. It reads the cluster and writes nothing.
type rule func(ctx context.Context, c *Comparer, s *Step) (Verdict, error)

// wait decides whether the change of one step waits, by the other steps of its plan and by the cluster.
type wait func(ctx context.Context, w *waiting, s *Step) (Verdict, error)

// The rules, in their order. The first decision about a step counts.
var (
	// withoutComparison lists the rules for an object of git that needs no comparison. They use the object's inventory entry and, if the
	// object is a member, its live state.
	withoutComparison = []rule{disabled, ran, removesItself, skipped, unchanged}
	// runs lists the rules for a change of an object that runs to completion.
	runs = []rule{rerun, running}
	// waits lists the rules for a plan whose steps are judged. Each rule sees the holds of the rules before it.
	waits = []wait{
		dependsOutside, dependsInside, startsRuns,
		inUseByRun, inUseByUnchanged, inUseByPods, definesKind, containsObjects,
	}
)

// decide applies rules to a step until one of them decides.
func decide(ctx context.Context, c *Comparer, s *Step, rules []rule) (decided bool, err error) {
	for _, rule := range rules {
		verdict, err := rule(ctx, c, s)
		if err != nil {
			return false, err
		}
		if s.take(verdict); verdict.decides() {
			return true, nil
		}
	}
	return false, nil
}

// take notes a verdict in a step.
func (s *Step) take(v Verdict) {
	s.Runs.Ended = cmp.Or(v.Runs.Ended, s.Runs.Ended)
	s.Runs.As = cmp.Or(v.Runs.As, s.Runs.As)
	s.Runs.Remade = cmp.Or(v.Runs.Remade, s.Runs.Remade)
	if v.Action != "" {
		s.Change.Action = v.Action
	}
	switch {
	case v.Held != nil:
		s.Change.Hold(v.Held.Reason, v.Held.Message, v.Held.For...)
		s.Change.Held.Rollout = v.Held.Rollout
	case v.State != Judged:
		s.State, s.Change.Action = v.State, manifest.None
	}
}

// held returns the verdict that a change waits.
func held(reason manifest.HoldReason, message string, on ...manifest.ID) Verdict {
	return Verdict{Held: &manifest.Held{Reason: reason, Message: message, For: on}}
}

// waiting is a plan whose changes are held back where they have to wait.
type waiting struct {
	plan  *Plan
	users map[string]*podUsers // by namespace
}

// holdBack holds the changes of a plan that have to wait.
func holdBack(ctx context.Context, p *Plan) error {
	w, steps := &waiting{plan: p, users: map[string]*podUsers{}}, InOrder(p.steps)
	for _, rule := range waits {
		for _, s := range steps {
			if !s.isPending() {
				continue
			}
			verdict, err := rule(ctx, w, s)
			if err != nil {
				return err
			}
			s.take(verdict)
		}
	}
	return nil
}
