package apply

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
	"github.com/syncerdev/syncer/pkg/plan"
)

// Applied is the result of an apply.
type Applied struct {
	Pending   bool              // the plan had changes, and not all of them wait
	Changes   []manifest.Change // the executed changes, with the objects as the API server returned them
	Held      []manifest.Change // the changes that wait
	Inventory []v1alpha1.InventoryEntry
	Live      inventory.Members
	Record    cluster.Written // zero: not written
}

// Options say how a plan is carried out.
type Options struct {
	// Spec is the new spec of the record. Apply writes it before the first object.
	Spec v1alpha1.PipelineSyncSpec
	// Recorded receives the record as Apply has written it, before the first object. Optional.
	Recorded func(cluster.Written)
	// Confirm is called after the record is written and before the first object is written. An error ends the apply there.
	// Before the record was visible, another syncer may have applied a newer commit that leaves the target as it is.
	// Optional.
	Confirm func(context.Context) error
}

// Carry executes a plan: first the record's spec, then the objects stage by stage, then the prunes. Objects of one stage do
// not wait for each other. A failed object does not stop the rest of its stage. Later stages and prunes need every earlier
// stage to succeed. Applied lists the applied objects also when the error is not nil.
//
// Each write requires the state of the object that was judged. If that state has changed, Carry reads the record first. An
// OvertakenError means that another syncer has begun to apply the target; then Carry writes nothing more.
func Carry(ctx context.Context, c *cluster.Cluster, p *plan.Plan, options Options) (Applied, error) {
	a := newApplication(c, p)
	request := p.Request()
	written, err := c.Records().SaveSpec(ctx, request.Target, request.Record, options.Spec, p.Promises())
	a.attempt = written.Apply
	if err == nil && options.Recorded != nil {
		options.Recorded(written)
	}
	if err == nil && options.Confirm != nil {
		err = options.Confirm(ctx)
	}
	if err == nil && request.Record == nil {
		// The key is needed also where git holds no Secret: reports use a keyed hash for values that look like credentials.
		_, err = c.Key(ctx, true)
	}
	if err == nil {
		err = a.run(ctx)
	}
	applied := a.result()
	applied.Record = written
	return applied, err
}

// Nothing returns the result of a plan that is not carried out, because nothing in it is pending.
func Nothing(p *plan.Plan) Applied {
	return Applied{Pending: len(p.Pending()) > 0, Held: p.Held(), Inventory: p.Inventory(), Live: p.Members}
}

// application is one apply under way. It has its own copies of the plan's steps, and judges a step again if its object has
// changed.
type application struct {
	cluster   *cluster.Cluster
	comparer  *plan.Comparer
	target    v1alpha1.Target
	policies  plan.Policies
	attempt   string       // the ID of the apply in the record; empty: there is no record
	steps     []*plan.Step // sorted by ID
	inventory map[manifest.Key]v1alpha1.InventoryEntry
	live      inventory.Members
	done      []manifest.Change
	skipped   bool // a run began in the meantime; its change is part of the next run
}

func newApplication(c *cluster.Cluster, p *plan.Plan) *application {
	request := p.Request()
	a := &application{
		cluster: c, comparer: p.Comparer(), target: request.Target, policies: request.Policies,
		steps: p.Steps(), inventory: p.Entries(), live: inventory.Members{},
	}
	maps.Copy(a.live, p.Members)
	return a
}

func (a *application) run(ctx context.Context) error {
	if err := a.fences(ctx); err != nil {
		return err
	}
	for steps := range groups(a.steps) {
		steps = slices.DeleteFunc(steps, a.holdBack)
		if err := a.stage(ctx, steps); err != nil {
			return err
		}
		if len(steps) > 0 && steps[0].Order.At.Defines() {
			if err := a.awaitKinds(ctx, steps); err != nil {
				return err
			}
		}
	}
	return a.prune(ctx)
}

// holdBack holds a step whose predecessors are missing or unhealthy, and reports whether it does.
func (a *application) holdBack(s *plan.Step) bool {
	held := plan.HeldBack(s, a.steps, func(other *plan.Step) string { return a.comparer.Unready(other, a.live) })
	if held != nil {
		s.Change.Hold(held.Reason, held.Message, held.For...)
	}
	return held != nil
}

// groups yields, in order, groups of steps that may run in parallel.
func groups(steps []*plan.Step) iter.Seq[[]*plan.Step] {
	return func(yield func([]*plan.Step) bool) {
		var group []*plan.Step
		for _, s := range plan.InOrder(steps) {
			if !s.Writes() {
				continue
			}
			if len(group) > 0 && group[0].Order.At != s.Order.At {
				if !yield(group) {
					return
				}
				group = nil
			}
			group = append(group, s)
		}
		if len(group) > 0 {
			yield(group)
		}
	}
}

// stage applies objects in parallel.
func (a *application) stage(ctx context.Context, steps []*plan.Step) error {
	errs := make([]error, len(steps)) // each worker owns one slot
	written := make([]written, len(steps))
	var g panics.Group
	g.SetLimit(cluster.FanOut)
	for i, s := range steps {
		g.Go(func() error {
			if written[i].object, errs[i] = a.object(ctx, s); errs[i] == nil {
				written[i], errs[i] = a.regain(ctx, s, written[i].object)
			}
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	for i, s := range steps {
		held, isHeld := errors.AsType[*heldError](errs[i])
		switch {
		case isHeld:
			if held.held.Reason == manifest.HeldTerminating {
				a.doubt(s) // the object is deleted and must be created anew
			}
			s.Change.Action, s.Change.Held, errs[i] = manifest.Hold, &held.held, nil
		case errs[i] == nil && s.State == plan.NextRun:
			a.skip(s)
		case errs[i] == nil && !s.Stays():
			a.confirm(s, written[i])
			a.done = append(a.done, s.Change)
		case errs[i] != nil:
			a.doubt(s)
		}
	}
	return answer.Join(errs)
}
