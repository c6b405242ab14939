package plan

import (
	"context"
	"slices"
	"sync"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
)

// Plan describes an apply. It has one step for each object of the set, and one for each object to prune.
type Plan struct {
	// Members are the live objects of the target's ApplySet, and the objects of its inventory that lost their label.
	Members inventory.Members

	comparer *Comparer
	strays   inventory.Members
	steps    []*Step // sorted by ID
}

// Make compares a set with the cluster by server-side dry runs. It changes nothing, with one exception: unless ReadOnly is
// set, it creates the key for the hashes of Secrets. An object costs no request if its recorded apply matches git and no
// other manager has taken its fields. Make judges all objects; its error names each object that the API server refuses.
func Make(ctx context.Context, c *cluster.Cluster, req Request) (*Plan, error) {
	key, err := inventory.KeyFor(ctx, c, req.Set, !req.ReadOnly)
	if err != nil {
		return nil, err
	}
	// Make lists the kinds of the set as well: when the record is lost, this finds the objects again.
	found, err := inventory.Look(ctx, c, req.Shown, req.Target, req.Record, req.Set)
	if err != nil {
		return nil, err
	}
	recorded := inventory.ByKey(req.Record)
	inventory.FatesOf(ctx, c, recorded, found, req.Set)
	comparer := &Comparer{cluster: c, request: req, recorded: recorded, found: found, provides: req.Provides.And(neighbour.ProvidedBy(req.Set)), key: key,
		salt: sync.OnceValue(func() []byte {
			key, err := c.Key(ctx, false)
			if err != nil {
				return nil // masks have no hash then; the comparison needs no key
			}
			return key
		})}
	p := &Plan{Members: found.Members, comparer: comparer, strays: found.Strays}
	if p.steps, err = comparer.objects(ctx); err != nil {
		return nil, err
	}
	for _, s := range p.steps {
		delete(p.strays, s.Key()) // git has the object, and takes it over
	}
	prunes, err := comparer.prunes(ctx, p.steps)
	if err != nil {
		return nil, err
	}
	p.steps = append(p.steps, prunes...)
	sortSteps(p.steps)
	if err := order(p.steps); err != nil {
		return nil, err
	}
	return p, holdBack(ctx, p)
}

// MakeInstall plans the objects of an installation. They have no record, no ApplySet and no prunes.
func MakeInstall(ctx context.Context, c *cluster.Cluster, set manifest.Set) (*Plan, error) {
	p := &Plan{comparer: &Comparer{cluster: c, request: Request{Set: set}, provides: neighbour.ProvidedBy(set), salt: func() []byte { return nil }}}
	var err error
	if p.steps, err = p.comparer.objects(ctx); err != nil {
		return nil, err
	}
	return p, order(p.steps)
}

// Comparer returns what judges the objects of the plan, for a caller that has to judge an object again.
func (p *Plan) Comparer() *Comparer { return p.comparer }

// Request returns the request of the plan.
func (p *Plan) Request() Request { return p.comparer.request }

// Steps returns copies of the steps, sorted by ID.
func (p *Plan) Steps() []*Step {
	out := make([]*Step, len(p.steps))
	for i, s := range p.steps {
		step := *s
		out[i] = &step
	}
	return out
}

// InOrder returns steps in the order of their execution.
func InOrder(steps []*Step) []*Step {
	out := slices.Clone(steps)
	slices.SortStableFunc(out, func(a, b *Step) int {
		switch {
		case a.Order.At.Before(b.Order.At):
			return -1
		case b.Order.At.Before(a.Order.At):
			return 1
		}
		return 0
	})
	return out
}

// Changes returns the changes of the plan, sorted by ID. An object that stays as it is has the action None.
func (p *Plan) Changes() []manifest.Change {
	return changes(p.steps, func(manifest.Action) bool { return true })
}

// Pending lists the changes that an apply would make.
func (p *Plan) Pending() []manifest.Change { return changes(p.steps, isPending) }

// IsPending reports whether steps have changes, and not all of them wait.
func IsPending(steps []*Step) bool {
	return slices.ContainsFunc(steps, func(s *Step) bool { return s.isPending() })
}

func isPending(a manifest.Action) bool { return a != manifest.None && a != manifest.Hold }

// Held lists the changes that wait.
func (p *Plan) Held() []manifest.Change { return Held(p.steps) }

// Held lists the changes of steps that wait.
func Held(steps []*Step) []manifest.Change {
	hashes := map[manifest.Key]string{}
	for _, s := range steps {
		hashes[s.Key()] = s.Hash
	}
	held := changes(steps, func(a manifest.Action) bool { return a == manifest.Hold })
	for i := range held {
		held[i].Held.Hash = hashes[held[i].ID.Key()]
	}
	return held
}

func changes(steps []*Step, which func(manifest.Action) bool) []manifest.Change {
	var out []manifest.Change
	for _, s := range steps {
		if which(s.Change.Action) {
			out = append(out, s.Change)
		}
	}
	return out
}

// Quiet lists the differences that do not count, with the rules that exclude them.
func (p *Plan) Quiet() []ignore.Quiet {
	var out []ignore.Quiet
	for _, s := range p.steps {
		if s.State == AtRest { // it was not compared
			_, left := p.Request().Policies.Ignore.Yield(s.Change.ID, s.Rendered, s.Change.Live, nil)
			out = append(out, left...)
		}
		out = append(out, s.Owners.Quiet...)
	}
	return out
}

// LeftAlone returns the objects that stay as they are although git differs: by annotation, or for their run.
func (p *Plan) LeftAlone() map[manifest.Key]bool {
	alone := map[manifest.Key]bool{}
	for _, s := range p.steps {
		if s.Stays() {
			id := s.Change.ID
			alone[id.Key()] = true
			id.Namespace = s.Rendered.GetNamespace() // the namespace as written in git
			alone[id.Key()] = true
		}
	}
	return alone
}

// Unfinished reports whether an earlier apply was never confirmed. Then this apply must run although the objects match git.
func (p *Plan) Unfinished() bool {
	return slices.ContainsFunc(p.steps, p.comparer.NeedsFence)
}
