package reconcile

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
)

// Options are what a user may ask of a reconcile.
type Options struct {
	// Correct writes the values of git also where only the cluster changed, in environments that report drift too.
	Correct bool
	// Wait bounds how long to wait for health; 0 does not wait.
	Wait time.Duration
	// Full compares every object by a dry run.
	Full bool
}

// Pass is what the targets of one commit share while they are reconciled. It is safe for concurrent use.
type Pass struct {
	Commit  *target.Commit
	Options Options
	// Deadline is the end of Options.Wait.
	Deadline time.Time
	// Lookups are the image look-ups of the pass.
	Lookups *pin.Lookups
	// Newest ends when there is a newer commit: work on this one is then given up until the first write. nil: it does not end.
	Newest context.Context
	// Confirm is called before the first object of a target is written; an error ends the reconcile. nil: a Lease says who
	// writes.
	Confirm func(context.Context) error
	// Unwatched lists the kinds of a target whose changes are not noticed now; nil: nothing is watched.
	Unwatched func(*target.Desired) []string

	provides   map[*cluster.Cluster]apply.Brings
	neighbours map[*cluster.Cluster]apply.Neighbours
	single     bool // the other targets of the commit are as they were planned, and not part of this pass

	mu      sync.Mutex
	reached map[v1alpha1.Target]reached
}

// reached is the state of a target in a pass.
type reached struct {
	result    Result
	health    target.Health
	inventory []v1alpha1.InventoryEntry // that health is about
	judged    bool                      // health is known
}

// NewPass returns a pass over all targets of a commit.
func NewPass(commit *target.Commit, lookups *pin.Lookups) *Pass {
	return &Pass{
		Commit: commit, Lookups: lookups, provides: commit.Provides(), neighbours: commit.Neighbours, reached: map[v1alpha1.Target]reached{},
	}
}

// Single returns a pass over one target of the commit of an earlier pass.
func (p *Pass) Single(d *target.Desired, allowed target.Allowed, lookups *pin.Lookups) *Pass {
	commit := p.Commit.Only(d, allowed)
	return &Pass{
		Commit: commit, Lookups: lookups, Newest: p.Newest, Confirm: p.Confirm, Unwatched: p.Unwatched,
		provides: commit.Provides(), neighbours: p.neighbours, single: true, reached: map[v1alpha1.Target]reached{},
	}
}

// Note keeps the result of a target for the ones that depend on it.
func (p *Pass) Note(result Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.reached[result.Target()]
	r.result = result
	p.reached[result.Target()] = r
}

func (p *Pass) noteHealth(of v1alpha1.Target, h target.Health, inventory []v1alpha1.InventoryEntry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.reached[of]
	r.health, r.inventory, r.judged = h, inventory, true
	p.reached[of] = r
}

// allowed says what commit trailers allow for a target.
func (p *Pass) allowed() target.Allowed { return p.Commit.Allowed }

// unwatched lists the kinds of a target whose changes are not noticed now.
func (p *Pass) unwatched(d *target.Desired) []string {
	if p.Unwatched == nil {
		return nil
	}
	return p.Unwatched(d)
}

// whileNewest returns a context for reads: it ends with the reconcile, and when the commit is not the newest any more.
func (p *Pass) whileNewest(ctx context.Context) (context.Context, context.CancelFunc) {
	reading, cancel := context.WithCancel(ctx)
	if p.Newest == nil {
		return reading, cancel
	}
	stop := context.AfterFunc(p.Newest, cancel)
	return reading, func() { stop(); cancel() }
}

// awaitDependencies returns a WaitError while a pipeline that the target depends on is not reconciled at this commit, or is
// not healthy.
func (t *task) awaitDependencies(ctx context.Context) error {
	for _, name := range t.d.Settings.DependsOn {
		other := t.pass.Commit.Find(v1alpha1.Target{Pipeline: name, Environment: t.d.Environment.Name})
		h, why, err := t.dependency(ctx, other)
		if err != nil {
			return fmt.Errorf("looking at %s, which it depends on: %w", other.Target, err)
		}
		if why != "" {
			return &target.WaitError{
				Reason: reasonDependency, Message: fmt.Sprintf("it depends on %s, %s", other.Target, why),
				Until: target.WaitFor(other, h.Waiting),
			}
		}
	}
	return nil
}

// dependency returns why another target is not ready yet; "" when it is.
func (t *task) dependency(ctx context.Context, other *target.Desired) (target.Health, string, error) {
	t.pass.mu.Lock()
	r, ok := t.pass.reached[other.Target]
	t.pass.mu.Unlock()
	h := r.health
	switch {
	case ok && (r.result.Result == Failed || r.result.Detail.Superseded):
		return h, "which failed", nil
	case ok && r.result.Result == Held && (!r.judged || r.result.waits()):
		return h, "which is held: " + r.result.Message, nil
	case !ok || !r.judged:
		var why string
		var err error
		if h, why, err = t.atCommit(ctx, other); why != "" || err != nil {
			return h, why, err
		}
	case h.Status != health.Healthy: // it may have become so since
		live, err := inventory.Live(ctx, other.Cluster, other.Target, r.inventory)
		if err != nil {
			return h, "", err
		}
		h = target.HealthOf(ctx, other.Cluster, r.inventory, live)
	}
	if h.Status != health.Healthy {
		return h, "which is not healthy yet: " + h.Message, nil
	}
	return h, "", nil
}

// atCommit judges a target that is not part of this pass by its record and its objects: this commit has to be applied there.
func (t *task) atCommit(ctx context.Context, other *target.Desired) (target.Health, string, error) {
	if t.pass.single {
		record, err := other.Cluster.Records().Get(ctx, other.Target)
		if err != nil {
			return target.Health{}, "", err
		}
		fresh := *other
		fresh.Record = record
		other = &fresh
	}
	if other.Record == nil || other.Record.Status.LastAppliedCommit == "" {
		return target.Health{}, "which was never deployed", nil
	}
	_, set, err := t.r.Planner.At(other, other.Snapshot)
	if err != nil {
		return target.Health{}, "", err
	}
	same, err := inventory.IsApplied(ctx, other.Cluster, other.Record, set)
	if err != nil {
		return target.Health{}, "", err
	}
	if !same {
		return target.Health{}, fmt.Sprintf("which is not at commit %.8s yet", other.Snapshot.Commit), nil
	}
	live, err := inventory.Find(ctx, other.Cluster, other.Target, other.Record)
	if err != nil {
		return target.Health{}, "", err
	}
	return target.HealthOf(ctx, other.Cluster, other.Record.Status.Inventory, live), "", nil
}
