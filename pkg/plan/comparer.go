package plan

import (
	"cmp"
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Comparer judges single objects of a target: for the plan, and again before a write if the object has changed since.
type Comparer struct {
	cluster  *cluster.Cluster
	request  Request
	recorded map[manifest.Key]v1alpha1.InventoryEntry // the inventory, with the fate of the objects that are gone
	found    inventory.Found
	provides neighbour.Provides
	changed  changed
	key      []byte        // for the hashes of Secrets; nil if the set has none
	salt     func() []byte // for masked values; called only for a difference
}

// changed has the changes of the plan that affect the judgement of other objects.
type changed struct {
	kinds      map[schema.GroupKind]bool // whose CRD changes
	namespaces map[string]bool           // whose quota or limit range changes
}

// objects returns the steps of the set, sorted by ID.
func (c *Comparer) objects(ctx context.Context) ([]*Step, error) {
	set := c.request.Set
	steps := make([]*Step, len(set)) // each worker owns one slot
	errs := make([]error, len(set))
	// Objects that affect the judgement of others go first.
	for _, first := range []bool{true, false} {
		var g panics.Group
		g.SetLimit(cluster.FanOut)
		for i, obj := range set {
			if affectsOthers(obj) != first {
				continue
			}
			g.Go(func() error {
				steps[i], errs[i] = c.object(ctx, obj)
				return nil
			})
		}
		_ = g.Wait() // the workers report by slot
		c.changed = changedBy(steps)
	}
	if err := answer.Join(errs); err != nil {
		return nil, err
	}
	sortSteps(steps)
	return steps, nil
}

func sortSteps(steps []*Step) {
	slices.SortFunc(steps, func(a, b *Step) int { return a.Change.ID.Compare(b.Change.ID) })
}

// affectsOthers reports whether a change of an object may affect the judgement of others.
func affectsOthers(obj *unstructured.Unstructured) bool {
	switch manifest.IDOf(obj).GroupKind() {
	case manifest.CRDKind, manifest.QuotaKind, manifest.LimitRangeKind:
		return true
	}
	return false
}

// changedBy collects the changes that affect the judgement of other objects.
func changedBy(steps []*Step) changed {
	out := changed{kinds: map[schema.GroupKind]bool{}, namespaces: map[string]bool{}}
	for _, s := range steps {
		if s == nil || s.Change.Action == manifest.None {
			continue
		}
		switch s.Change.ID.GroupKind() {
		case manifest.CRDKind:
			for _, kind := range neighbour.ProvidedBy(manifest.Set{s.Rendered}).Kinds() {
				out.kinds[kind] = true
			}
		case manifest.QuotaKind, manifest.LimitRangeKind:
			out.namespaces[s.Change.ID.Namespace] = true
		}
	}
	return out
}

// mayPass reports whether a refused dry run may pass after earlier stages are in the cluster.
func (c *Comparer) mayPass(id manifest.ID, err error) bool {
	if answer.IsMissingNamespace(err, id.Namespace) || answer.IsEndingNamespace(err) {
		return c.provides.Namespace(id.Namespace)
	}
	return c.changed.kinds[id.GroupKind()] || apierrors.IsForbidden(err) && c.changed.namespaces[id.Namespace]
}

// object judges one object of git.
func (c *Comparer) object(ctx context.Context, obj *unstructured.Unstructured) (*Step, error) {
	hash, err := manifest.Hash(obj, c.key)
	var s *Step
	if err == nil {
		s, err = c.judge(ctx, obj, hash)
	}
	if err != nil && ctx.Err() == nil {
		s, err = setAside(c, obj, hash, err)
	}
	if err != nil {
		return nil, err
	}
	c.noteAdditions(s)
	return s, nil
}

func (c *Comparer) judge(ctx context.Context, obj *unstructured.Unstructured, hash string) (*Step, error) {
	id, err := c.cluster.Scope(manifest.IDOf(obj))
	s := &Step{Change: manifest.Change{ID: id, Action: manifest.Create, Want: obj}, Rendered: obj, Sent: obj, Hash: hash}
	if meta.IsNoMatchError(err) && c.provides.Kind(id.GroupKind()) {
		s.State, s.Change.ID = Deferred, c.provides.Scoped(id)
		return s, nil
	}
	if err != nil {
		return nil, answer.Explain(obj, id, "looking up", err)
	}
	if err := c.found.Unread.Of(id.Key()); err != nil {
		return nil, answer.Explain(obj, id, "reading", err)
	}
	s.Change.Live = c.found.Members[id.Key()]
	if decided, err := decide(ctx, c, s, withoutComparison); decided || err != nil {
		return s, err
	}
	entry := c.recorded[id.Key()]
	s.Change.Drifted, s.Owners.OwnHand = isApplied(entry, hash), inventory.WrittenSince(s.Change.Live, entry)
	if s.Change.Drifted && s.Change.Live == nil && entry.Deleted {
		s.Change.Lost = inventory.CutOff(ctx, c.cluster, obj, entry)
	}
	if s.Change.Live == nil && !c.found.Absent[id.Key()] {
		return c.judgeNew(ctx, s)
	}
	return s, c.compare(ctx, s, c.mayPass, c.dryRun)
}

// judgeNew judges an object that is not a member. A dry run shows whether it exists: then the answer has a resource version. An
// object that would be created has none, because nothing is stored. So a new object needs no read.
func (c *Comparer) judgeNew(ctx context.Context, s *Step) (*Step, error) {
	id := s.Change.ID
	want, refused := c.cluster.DryRun(ctx, s.Sent)
	if refused == nil && want.GetResourceVersion() == "" {
		s.Change.Want = want
		return s, nil
	}
	var err error
	if s.Change.Live, err = c.cluster.Get(ctx, id); err != nil {
		return nil, answer.Explain(s.Rendered, id, "reading", err)
	}
	if err := c.Claim(ctx, s, s.Change.Live); err != nil {
		return nil, err
	}
	try := c.dryRun
	if s.Change.Live == nil && refused != nil {
		try = func(context.Context, *Step) (refusal, err error) { return refused, nil }
	}
	return s, c.compare(ctx, s, c.mayPass, try)
}

// Again judges the object of a step in a newer state. It sets the step's change, and does not put it off any more: the
// objects of earlier stages exist.
func (c *Comparer) Again(ctx context.Context, s *Step, live *unstructured.Unstructured) error {
	*s = Step{
		Change:   manifest.Change{ID: s.Change.ID, Action: manifest.Create, Live: live, Want: s.Rendered, Drifted: s.Change.Drifted},
		Rendered: s.Rendered, Sent: s.Rendered, Hash: s.Hash, Order: Order{At: s.Order.At, After: s.Order.After}, Owners: Owners{Spared: s.Owners.Spared},
	}
	return c.compare(ctx, s, func(manifest.ID, error) bool { return false }, c.dryRun)
}

// triesAgain limits how often an object is read again because other processes write it all the time.
const triesAgain = 8

// compare decides the change of an object that is not known to be at rest, from its live state and a dry run. mayPass says
// whether a refusal may be a matter of time.
func (c *Comparer) compare(ctx context.Context, s *Step, mayPass func(manifest.ID, error) bool, dryRun func(context.Context, *Step) (refusal, err error)) error {
	change := &s.Change
	if change.Live != nil {
		if inventory.IsDisabled(change.Live) {
			s.State, change.Action, change.Drifted = LeftAlone, manifest.None, false
			return nil
		}
		change.Action = manifest.Update
		if change.Live.GetDeletionTimestamp() != nil {
			change.Action = manifest.Replace // the object must be gone first
			return nil
		}
		s.Sent, s.Owners.Quiet = c.request.Policies.Ignore.Yield(change.ID, s.Rendered, change.Live, s.Owners.Spared)
	}
	refusal, err := dryRun(ctx, s)
	if err != nil {
		return answer.Explain(s.Rendered, change.ID, "reading", err)
	}
	switch {
	case refusal == nil:
		c.compareDryRun(change)
	case mayPass(change.ID, refusal):
		s.State, change.Want = Deferred, s.Rendered
		return nil
	case change.Live == nil:
		return answer.Explain(s.Rendered, change.ID, "trying", refusal)
	default:
		if err := refused(ctx, c, s, refusal); err != nil {
			return err
		}
		change.Action, change.Want = manifest.Replace, s.Rendered
		change.Fields = manifest.Diff(change.Live, manifest.Overlay(change.Live, s.Rendered), c.salt())
	}
	_, err = decide(ctx, c, s, runs)
	return err
}

// dryRun sets the object as an apply would leave it. refusal is the answer to the dry run, err that to a read of the object.
func (c *Comparer) dryRun(ctx context.Context, s *Step) (refusal, err error) {
	change := &s.Change
	change.Want, refusal = c.cluster.DryRun(ctx, s.Sent)
	for tries := 0; refusal == nil && change.Live != nil && change.Live.GetResourceVersion() != change.Want.GetResourceVersion() && tries < triesAgain; tries++ {
		// Another process has written the object since it was read. Its change is not a difference that an apply would make.
		if change.Live, err = c.cluster.Get(ctx, change.ID); err != nil {
			return nil, err
		}
		if change.Live == nil {
			change.Action = manifest.Create
		}
		change.Want, refusal = c.cluster.DryRun(ctx, s.Sent)
	}
	if refusal == nil && s.Adopts != nil && change.Live != nil {
		change.Want, refusal = adopted(ctx, c, s, change.Want)
	}
	return refusal, nil
}

// compareDryRun evaluates the result of a dry run.
func (c *Comparer) compareDryRun(change *manifest.Change) {
	defer func() { change.Lost = cmp.Or(inventory.LossOf(change.Live, c.recorded[change.ID.Key()]), change.Lost) }()
	if change.Live == nil {
		return
	}
	change.Fields = manifest.Diff(change.Live, change.Want, c.salt())
	change.Taken = takenByApply(change)
	if len(change.Fields) > 0 {
		return
	}
	// The owner of equal values may still change: git now sets a field that another manager had set to the same value.
	if manifest.OwnedFields(change.Live, manifest.FieldManager) == manifest.OwnedFields(change.Want, manifest.FieldManager) {
		change.Action, change.Drifted = manifest.None, false
	}
}

// takenByApply lists the fields of a change that another manager owns.
func takenByApply(change *manifest.Change) []manifest.Taken {
	var out []manifest.Taken
	for _, field := range change.Fields {
		path, err := manifest.ParsePath(field.Path)
		if err != nil || field.From == nil || field.To == nil {
			continue
		}
		if manager, ok := manifest.ManagerOf(change.Live, path, manifest.FieldManager); ok {
			out = append(out, manifest.Taken{Path: field.Path, Manager: manager.Name})
		}
	}
	return out
}

// noteAdditions finds the fields that others set in a member. It needs no request, because the managed fields show them.
func (c *Comparer) noteAdditions(s *Step) {
	live := s.Change.Live
	if live == nil || inventory.IsDisabled(live) || inventory.IsDisabled(s.Rendered) {
		return
	}
	found, quiet := c.request.Policies.Ignore.Additions(s.Rendered, live, c.recorded[s.Key()], c.salt)
	if lost := s.Change.Lost; lost != nil {
		// The manager that created the object anew wrote each default of it, too. That is one finding, for the object as a
		// whole.
		found = slices.DeleteFunc(found, func(a manifest.Addition) bool { return a.Manager.Name == lost.By.Name })
	}
	s.Change.Added, s.Owners.Quiet = found, append(s.Owners.Quiet, quiet...)
	// An apply may change such a field as well, for example if the API server derives it from another field. Report it once.
	s.Change.Fields = slices.DeleteFunc(s.Change.Fields, func(f manifest.FieldChange) bool {
		return s.Change.Drifted && (slices.ContainsFunc(found, func(a manifest.Addition) bool { return a.Path == f.Path }) ||
			slices.ContainsFunc(quiet, func(q ignore.Quiet) bool { return q.Path == f.Path }))
	})
}

// NeedsFence reports whether an unconfirmed apply may still write an object that matches git. The process of that apply may
// be paused, or its request may be on its way. An object that left git and stays needs no fence, because git sets nothing of
// it.
func (c *Comparer) NeedsFence(s *Step) bool {
	return s.Rendered != nil && s.Change.Action == manifest.None && !s.Stays() && s.State != Ran && s.Change.Live != nil && c.recorded[s.Key()].Unconfirmed
}

// runOf returns the run that the status of an object shows.
func (c *Comparer) runOf(live *unstructured.Unstructured) health.Run {
	return c.cluster.Judge().Run(live)
}

// Key returns the key for the hashes of the target's Secrets; nil if its set has none.
func (c *Comparer) Key() []byte { return c.key }
