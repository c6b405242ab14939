package apply

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Request is a target and the set that it is to become.
type Request struct {
	Target Target
	// Record is the target's record; nil at the first deployment.
	Record *v1alpha1.PipelineSync
	// Set is what git says, with digests and the member label. An empty set prunes everything.
	Set manifest.Set
	// Brings are namespaces and kinds that other sets of the same pass bring; a dry run cannot see them yet.
	Brings Brings
	// Full compares every object by a dry run, also those whose apply is recorded and unharmed.
	Full bool
	// ReadOnly leaves the cluster as it is, bookkeeping included.
	ReadOnly bool
}

// Plan is what an apply would do. Changes has one entry for each object of the set, and one for each object to prune.
type Plan struct {
	Changes []manifest.Change
	// Members are the live objects of the target's ApplySet.
	Members Members

	request Request
	steps   []step // Changes with what Apply needs beside them
	hashes  map[manifest.Key]string
}

type step struct {
	change   *manifest.Change
	rendered *unstructured.Unstructured // as git says; nil for a prune
	deferred bool                       // the dry run waits until what the object needs is there
}

// fanOut is how many requests one target has under way at once.
const fanOut = 8

// Plan compares a set with the cluster by server-side dry runs and changes nothing, but for the key that Secrets are
// hashed with, which it makes unless ReadOnly. An object whose recorded apply is the one that git asks for, and whose
// fields no other manager has taken, costs no request. All objects are judged; the error names each that the API
// server refuses.
func (c *Cluster) Plan(ctx context.Context, req Request) (*Plan, error) {
	key, err := c.keyFor(ctx, req.Set, !req.ReadOnly)
	if err != nil {
		return nil, err
	}
	// The kinds of the set are looked through as well: when the record is lost, they find its objects again.
	members, err := c.members(ctx, req.Target, memberKinds(req.Record, req.Set))
	if err != nil {
		return nil, err
	}
	plan := &Plan{Members: members, request: req, hashes: map[manifest.Key]string{}}
	p := planner{cluster: c, plan: plan, recorded: inventory(req.Record), brings: req.Brings.and(BroughtBy(req.Set))}
	if err := p.objects(ctx, key); err != nil {
		return nil, err
	}
	p.prunes()
	plan.sort()
	return plan, nil
}

type planner struct {
	cluster  *Cluster
	plan     *Plan
	recorded map[manifest.Key]v1alpha1.InventoryEntry
	brings   Brings

	// What the plan changes that other objects of the set are judged by: kinds whose CRD, and namespaces whose quota
	// or limit range.
	kinds  map[schema.GroupKind]bool
	quotas map[string]bool
}

func (p *planner) objects(ctx context.Context, key []byte) error {
	set := p.plan.request.Set
	p.plan.steps = make([]step, len(set)) // each worker owns one slot
	errs := make([]error, len(set))
	hashes := make([]string, len(set))
	// What the others are judged by goes first.
	for _, ground := range []bool{true, false} {
		var g errgroup.Group
		g.SetLimit(fanOut)
		for i, obj := range set {
			if isGround(obj) != ground {
				continue
			}
			g.Go(func() error {
				hashes[i], errs[i] = manifest.Hash(obj, key)
				if errs[i] == nil {
					p.plan.steps[i], errs[i] = p.object(ctx, obj, hashes[i])
				}
				return nil
			})
		}
		_ = g.Wait() // the workers report by slot
		p.noteGround()
	}
	for i, s := range p.plan.steps {
		if errs[i] == nil {
			p.plan.hashes[s.change.ID.Key()] = hashes[i]
		}
	}
	return joinSorted(errs)
}

func isGround(obj *unstructured.Unstructured) bool {
	switch manifest.IDOf(obj).GroupKind() {
	case crdKind, quotaKind, limitRangeKind:
		return true
	}
	return false
}

// noteGround collects what the plan changes that other objects are judged by.
func (p *planner) noteGround() {
	p.kinds, p.quotas = map[schema.GroupKind]bool{}, map[string]bool{}
	for _, s := range p.plan.steps {
		if s.change == nil || s.change.Action == manifest.None {
			continue
		}
		switch s.change.ID.GroupKind() {
		case crdKind:
			maps.Copy(p.kinds, BroughtBy(manifest.Set{s.rendered}).kinds)
		case quotaKind, limitRangeKind:
			p.quotas[s.change.ID.Namespace] = true
		}
	}
}

// mayPass reports whether a refused dry run may pass once earlier stages are in the cluster.
func (p *planner) mayPass(id manifest.ID, err error) bool {
	if isMissingNamespace(err, id.Namespace) {
		return p.brings.namespaces[id.Namespace]
	}
	return p.kinds[id.GroupKind()] || apierrors.IsForbidden(err) && p.quotas[id.Namespace]
}

func (p *planner) object(ctx context.Context, obj *unstructured.Unstructured, hash string) (step, error) {
	resource, id, err := p.cluster.resourceFor(manifest.IDOf(obj))
	change := &manifest.Change{ID: id, Action: manifest.Create, Want: obj}
	s := step{change: change, rendered: obj}
	if meta.IsNoMatchError(err) && p.brings.kinds[id.GroupKind()] {
		s.deferred = true
		change.ID = p.brings.scoped(id)
		return s, nil
	}
	if err != nil {
		return step{}, explain(obj, id, "looking up", err)
	}
	entry, isRecorded := p.recorded[id.Key()]
	applied := isRecorded && entry.Hash == hash
	live := p.plan.Members[id.Key()]
	change.Live = live
	if applied && (!p.plan.request.Full && untouched(live, entry) || live == nil && entry.MayBeGone()) {
		change.Action = manifest.None
		return s, nil
	}
	change.Drifted = applied
	if live == nil {
		if change.Live, err = get(ctx, resource, id); err != nil {
			return step{}, explain(obj, id, "reading", err)
		}
		if err := p.cluster.refuseForeign(ctx, p.plan.request.Target, change.Live); err != nil {
			return step{}, err
		}
	}
	if change.Live != nil {
		change.Action = manifest.Update
	}
	change.Want, err = dryRun(ctx, resource, id, obj)
	if err != nil && p.mayPass(id, err) {
		change.Want, s.deferred = obj, true
		return s, nil
	}
	if err != nil {
		return step{}, explain(obj, id, "trying", err)
	}
	judge(change)
	return s, nil
}

// judge decides what a dry run's result means.
func judge(change *manifest.Change) {
	if change.Live == nil {
		return
	}
	change.Fields = manifest.Diff(change.Live, change.Want)
	if len(change.Fields) > 0 {
		return
	}
	// Equal values may still have changed hands: git now sets a field that another manager had set to the same value.
	if manifest.OwnedFields(change.Live, FieldManager) == manifest.OwnedFields(change.Want, FieldManager) {
		change.Action, change.Drifted = manifest.None, false
	}
}

// untouched reports whether a live object still has every field that syncer applied: a write by another manager takes
// the field out of syncer's managed fields.
func untouched(live *unstructured.Unstructured, entry v1alpha1.InventoryEntry) bool {
	return live != nil && entry.Fields != "" && manifest.OwnedFields(live, FieldManager) == entry.Fields
}

// lifetimes are the fields that say how long an object stays when it has run to its end.
var lifetimes = map[schema.GroupKind][]string{
	{Group: "batch", Kind: "Job"}:                             {"spec", "ttlSecondsAfterFinished"},
	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}: {"spec", "timeToLiveSeconds"},
}

// removesItself reports whether an object is deleted by its own controller when it has run. Applying it again when it
// is gone would run it again.
func removesItself(obj *unstructured.Unstructured) bool {
	field, ok := lifetimes[manifest.IDOf(obj).GroupKind()]
	if !ok {
		return false
	}
	_, found, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	return found
}

// prunes adds the members that are no longer in the set.
func (p *planner) prunes() {
	inSet := map[manifest.Key]bool{}
	for _, s := range p.plan.steps {
		inSet[s.change.ID.Key()] = true
	}
	for key, live := range p.plan.Members {
		if inSet[key] {
			continue
		}
		change := &manifest.Change{ID: manifest.IDOf(live), Action: manifest.Prune, Live: live}
		// One that is on its way out already may wait for a finalizer for ever: there is nothing left to do about it.
		if keeps(live) || live.GetDeletionTimestamp() != nil {
			change.Action = manifest.None
		}
		p.plan.steps = append(p.plan.steps, step{change: change})
	}
}

// keeps reports whether an object says that it outlives its place in git.
func keeps(obj *unstructured.Unstructured) bool {
	return obj.GetAnnotations()[annotationNoPrune] == annotationNoPruneWhen
}

func (p *Plan) sort() {
	slices.SortFunc(p.steps, func(a, b step) int { return a.change.ID.Compare(b.change.ID) })
	p.Changes = make([]manifest.Change, len(p.steps))
	for i := range p.steps {
		p.Changes[i] = *p.steps[i].change
		p.steps[i].change = &p.Changes[i]
	}
}

// Leave takes the drifted objects out of what an apply does, and returns them: they stay as somebody made them, to be
// reported.
func (p *Plan) Leave() []manifest.Change {
	var left []manifest.Change
	for _, s := range p.steps {
		if s.change.Drifted && s.change.Action != manifest.None {
			left = append(left, *s.change)
			s.change.Action = manifest.None
		}
	}
	return left
}

// Pending lists the changes that an apply would carry out.
func (p *Plan) Pending() []manifest.Change {
	var out []manifest.Change
	for _, s := range p.steps {
		if s.change.Action != manifest.None {
			out = append(out, *s.change)
		}
	}
	return out
}

// Inventory is the target's inventory if nothing were applied. It differs from the recorded one where the record is
// behind: after a crash, after the record was lost, or when git says the same in other words.
func (p *Plan) Inventory() []v1alpha1.InventoryEntry { return sortedInventory(p.inventory()) }

func (p *Plan) inventory() map[manifest.Key]v1alpha1.InventoryEntry {
	entries := inventory(p.request.Record)
	inSet := map[manifest.Key]bool{}
	for _, s := range p.steps {
		id := s.change.ID
		if s.rendered == nil {
			continue
		}
		inSet[id.Key()] = true
		if live := p.Members[id.Key()]; live != nil && s.change.Action == manifest.None && !s.change.Drifted {
			before, entry := entries[id.Key()], newEntry(id, p.hashes[id.Key()], live)
			entry.Completed = before.Completed && before.Hash == entry.Hash
			entries[id.Key()] = entry
		}
	}
	for key, entry := range entries {
		live := p.Members[key]
		if live == nil && !inSet[key] {
			delete(entries, key) // gone from git and from the cluster
			continue
		}
		if live != nil && !entry.Completed && HealthOf(live).Completed {
			entry.Completed = true
			entries[key] = entry
		}
	}
	return entries
}

func newEntry(id manifest.ID, hash string, live *unstructured.Unstructured) v1alpha1.InventoryEntry {
	return v1alpha1.InventoryEntry{
		APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name,
		Hash:      hash,
		Fields:    manifest.OwnedFields(live, FieldManager),
		Ephemeral: removesItself(live),
	}
}
