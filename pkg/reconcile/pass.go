package reconcile

import (
	"context"
	"sync"
	"time"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/target"
)

// Options are what a user may ask of a reconcile.
type Options struct {
	// Correct writes the values of git also where only the cluster changed, in environments that report drift too.
	Correct bool
	// Wait bounds how long to wait for health, and Deadline is its end; 0 does not wait.
	Wait     time.Duration
	Deadline time.Time
	// Full compares every object by a dry run.
	Full bool
}

// Pass is what the targets of one commit share while they are reconciled. It is safe for concurrent use.
type Pass struct {
	Commit  *target.Commit
	Options Options
	// Lookups are the image look-ups of the pass.
	Lookups *pin.Lookups
	// Newest ends when there is a newer commit: work on this one is then given up until the first write. nil: it does not end.
	Newest context.Context
	// Confirm is called before the first object of a target is written; an error ends the reconcile. nil: a Lease says who
	// writes.
	Confirm func(context.Context) error
	// Unwatched lists the kinds of a target whose changes are not noticed now; nil: nothing is watched.
	Unwatched func(*target.Desired) []string
	// Shown has the live objects of the targets as watches show them; nil: the API server is asked.
	Shown inventory.Shown

	provides   map[*cluster.Cluster]neighbour.Provides
	neighbours map[*cluster.Cluster]neighbour.All
	single     bool // the other targets of the commit are as they were planned, and not part of this pass
	reached    reachedTargets
}

// reachedTargets are the states of the targets of a pass that were reconciled. It is safe for concurrent use.
type reachedTargets struct {
	mu       sync.Mutex
	byTarget map[v1alpha1.Target]reached
}

// reached is the state of a target in a pass; the zero value: the target was not reconciled in it.
type reached struct {
	result    Result
	health    target.Health
	inventory []v1alpha1.InventoryEntry // that health is about
	hasHealth bool
}

func (r *reachedTargets) of(target v1alpha1.Target) reached {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byTarget[target]
}

func (r *reachedTargets) note(target v1alpha1.Target, change func(*reached)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.byTarget[target]
	change(&of)
	r.byTarget[target] = of
}

// NewPass returns a pass over all targets of a commit.
func NewPass(commit *target.Commit, lookups *pin.Lookups) *Pass {
	return &Pass{
		Commit: commit, Lookups: lookups, provides: commit.Provides(), neighbours: commit.Neighbours,
		reached: reachedTargets{byTarget: map[v1alpha1.Target]reached{}},
	}
}

// Single returns a pass over one target of the commit of an earlier pass.
func (p *Pass) Single(d *target.Desired, allowed target.Allowed, lookups *pin.Lookups) *Pass {
	out := NewPass(p.Commit.Only(d, allowed), lookups)
	out.Newest, out.Confirm, out.Unwatched, out.Shown = p.Newest, p.Confirm, p.Unwatched, p.Shown
	out.neighbours, out.single = p.neighbours, true
	return out
}

// Note keeps the result of a target for the ones that depend on it, without the live objects.
func (p *Pass) Note(result Result) {
	result.Detail.Live = nil
	p.reached.note(result.Target(), func(r *reached) { r.result = result })
}

func (p *Pass) noteHealth(of v1alpha1.Target, h target.Health, inventory []v1alpha1.InventoryEntry) {
	p.reached.note(of, func(r *reached) { r.health, r.inventory, r.hasHealth = h, inventory, true })
}

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

// pinning says how the references of a target are resolved in a pass.
func (p *Pass) pinning(d *target.Desired) pin.Request {
	request := pin.Request{Lookups: p.Lookups, AllowPromotion: p.Commit.Allowed.Promotions[d.Target] != ""}
	if from := d.Environment.Images.PromoteFrom; from != "" {
		request.From = p.Commit.Find(v1alpha1.Target{Pipeline: d.Target.Pipeline, Environment: from})
	}
	return request
}
