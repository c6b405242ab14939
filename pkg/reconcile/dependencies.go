package reconcile

import (
	"context"
	"fmt"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/target"
)

// dependency is the state of a target that another one depends on.
type dependency struct {
	health  target.Health
	blocked string // why the other one waits; "": it does not
}

// awaitDependencies returns a WaitError while a pipeline that the target depends on is not reconciled at this commit, or is
// not healthy.
func awaitDependencies(ctx context.Context, planner *target.Planner, t task) error {
	for _, name := range t.desired.Settings.DependsOn {
		other := t.pass.Commit.Find(v1alpha1.Target{Pipeline: name, Environment: t.desired.Environment.Name})
		state, err := t.pass.dependency(ctx, planner, other)
		if err != nil {
			return fmt.Errorf("looking at %s, which it depends on: %w", other.Target, err)
		}
		if state.blocked != "" {
			return &target.WaitError{
				Reason: reasonDependency, Message: fmt.Sprintf("it depends on %s, %s", other.Target, state.blocked),
				Until: target.WaitFor(other, state.health.Waiting),
			}
		}
	}
	return nil
}

// dependency returns the state of a target by its reconcile in this pass, or by its record and its objects.
func (p *Pass) dependency(ctx context.Context, planner *target.Planner, other *target.Desired) (dependency, error) {
	r := p.reached.of(other.Target)
	if blocked := r.blocks(); blocked != "" {
		return dependency{r.health, blocked}, nil
	}
	h := r.health
	switch {
	case !r.hasHealth:
		state, err := p.atCommit(ctx, planner, other)
		if err != nil || state.blocked != "" {
			return state, err
		}
		h = state.health
	case h.Status != health.Healthy: // it may have become so since
		live, err := inventory.Live(ctx, other.Cluster, other.Target, r.inventory)
		if err != nil {
			return dependency{}, err
		}
		h = target.HealthOf(ctx, other.Cluster, r.inventory, live)
	}
	if h.Status != health.Healthy {
		return dependency{h, "which is not healthy yet: " + h.Message}, nil
	}
	return dependency{health: h}, nil
}

// blocks returns why the result of a target lets the ones that depend on it wait; "": it does not.
func (r reached) blocks() string {
	switch {
	case r.result.Result == Failed || r.result.Detail.Superseded:
		return "which failed"
	case r.result.Result == Held && (!r.hasHealth || r.result.waits()):
		return "which is held: " + r.result.Message
	}
	return ""
}

// atCommit returns the state of a target that was not reconciled in this pass: this commit has to be applied there.
func (p *Pass) atCommit(ctx context.Context, planner *target.Planner, other *target.Desired) (dependency, error) {
	if p.single {
		record, err := other.Cluster.Records().Latest(ctx, other.Target)
		if err != nil {
			return dependency{}, err
		}
		fresh := *other
		fresh.Record = record
		other = &fresh
	}
	if other.Record == nil || other.Record.Status.LastAppliedCommit == "" {
		return dependency{blocked: "which was never deployed"}, nil
	}
	if is[*target.PendingError](other.Err) {
		return dependency{blocked: "whose overlay is still being rendered"}, nil
	}
	_, set, err := planner.At(ctx, other, other.Snapshot)
	if err != nil {
		return dependency{}, err
	}
	same, err := inventory.IsApplied(ctx, other.Cluster, other.Record, set)
	if err != nil {
		return dependency{}, err
	}
	if !same {
		return dependency{blocked: fmt.Sprintf("which is not at commit %.8s yet", other.Snapshot.Commit)}, nil
	}
	live, err := inventory.Find(ctx, other.Cluster, other.Target, other.Record)
	if err != nil {
		return dependency{}, err
	}
	return dependency{health: target.HealthOf(ctx, other.Cluster, other.Record.Status.Inventory, live)}, nil
}
