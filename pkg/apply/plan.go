package apply

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

// Request has a target and the set that the target must become.
type Request struct {
	Target v1alpha1.Target
	// Record is the target's record. It is nil at the first deployment.
	Record *v1alpha1.PipelineSync
	// Set has the objects of git, with digests and the member label. An empty set prunes everything.
	Set manifest.Set
	// Brings has the namespaces and kinds that other sets of the same pass create. A dry run cannot see them yet.
	Brings Brings
	// Neighbours are the other targets of the same commit.
	Neighbours Neighbours
	// Full compares every object by a dry run, also objects whose apply is recorded and unchanged since.
	Full bool
	// ReadOnly changes nothing in the cluster, not even bookkeeping.
	ReadOnly bool
	Rules    Rules
	// Recorded receives the record as Apply has written it, before the first object. Optional.
	Recorded func(cluster.Written)
	// Confirm is called after the record is written and before the first object is written. An error ends the apply there.
	// Before the record was visible, another syncer may have applied a newer commit that leaves the target as it is.
	// Optional.
	Confirm func(context.Context) error
}

// Plan describes an apply. Changes has one entry for each object of the set, and one for each object to prune.
type Plan struct {
	Changes []manifest.Change
	// Members are the live objects of the target's ApplySet, and the objects of its inventory that lost their label.
	Members inventory.Members

	strays   inventory.Members
	recorded map[manifest.Key]v1alpha1.InventoryEntry // the inventory, with the fate of the objects that are gone
	unread   inventory.Unread
	request  Request
	planner  *planner
	judge    *health.Judge
	steps    []step // Changes with additional data for Apply
	key      []byte // for the hashes of Secrets; nil if the set has none
	hashes   map[manifest.Key]string
}

type step struct {
	change   *manifest.Change
	rendered *unstructured.Unstructured // the object in git; nil for a prune
	sent     *unstructured.Unstructured // rendered without the fields that others decide
	deferred bool                       // the dry run waits until the object's dependencies exist
	settled  bool                       // the object's dependencies exist: a refusal is final
	spared   []manifest.Path            // drifted fields that stay as they are
	quiet    []Quiet
	adopts   *unstructured.Unstructured // the object as the former tool left it; nil: no tool managed it

	at      position
	after   []manifest.Key // dependencies in the set, by annotation
	outside []manifest.ID  // dependencies outside the set, by annotation

	unlabelled bool     // the object left git, and lost the target's label before
	defaults   []string // fields that do not count as additions, though others own them

	uncompared error // why the API server cannot compare the object with git; the object stays as it is
	unread     bool  // the object cannot be read either

	ownHand  bool // another process wrote the object under syncer's name since its apply was recorded
	left     bool // the object stays as it is although git differs
	skipped  bool // the change is part of the next run
	gone     bool // the object ran, and must not run again
	ranAs    types.UID
	remadeAs types.UID // a later object of this name, by an unconfirmed apply, that ran and is gone as well
	handed   bool      // another target of the commit names the object and takes it over, or may do so
	endedRun string    // the run that had ended when the change was judged
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
	found, err := inventory.Look(ctx, c, req.Target, req.Record, req.Set)
	if err != nil {
		return nil, err
	}
	recorded := inventory.ByKey(req.Record)
	inventory.FatesOf(ctx, c, recorded, found, req.Set)
	plan := &Plan{recorded: recorded, Members: found.Members, strays: found.Strays, unread: found.Unread, request: req, hashes: map[manifest.Key]string{}, judge: c.Judge(), key: key}
	p := &planner{cluster: c, plan: plan, recorded: recorded, nowhere: found.Absent, brings: req.Brings.and(BroughtBy(req.Set)),
		salt: sync.OnceValue(func() []byte {
			key, err := c.Key(ctx, false)
			if err != nil {
				return nil // masks have no hash then; the comparison needs no key
			}
			return key
		})}
	plan.planner = p
	if err := p.objects(ctx, key); err != nil {
		return nil, err
	}
	for _, s := range plan.steps {
		delete(plan.strays, s.change.ID.Key()) // git has the object, and takes it over
	}
	if err := p.prunes(ctx); err != nil {
		return nil, err
	}
	plan.sort()
	if err := p.order(); err != nil {
		return nil, err
	}
	if err := p.lookOutside(ctx); err != nil {
		return nil, err
	}
	plan.holdBack(c, plan.inOrder(), plan.Members, true)
	if err := p.keepInUse(ctx); err != nil {
		return nil, err
	}
	return plan, nil
}

type planner struct {
	cluster  *cluster.Cluster
	plan     *Plan
	recorded map[manifest.Key]v1alpha1.InventoryEntry
	nowhere  map[manifest.Key]bool // looked up by name, and missing
	brings   Brings
	salt     func() []byte // for masked values; called only for a difference

	// Changes of the plan that affect the judgement of other objects: kinds whose CRD changes, and namespaces whose quota or
	// limit range changes.
	kinds  map[schema.GroupKind]bool
	quotas map[string]bool
}

func (p *planner) objects(ctx context.Context, key []byte) error {
	set := p.plan.request.Set
	p.plan.steps = make([]step, len(set)) // each worker owns one slot
	errs := make([]error, len(set))
	hashes := make([]string, len(set))
	// Objects that affect the judgement of others go first.
	for _, ground := range []bool{true, false} {
		var g panics.Group
		g.SetLimit(cluster.FanOut)
		for i, obj := range set {
			if isGround(obj) != ground {
				continue
			}
			g.Go(func() error {
				hashes[i], errs[i] = manifest.Hash(obj, key)
				if errs[i] == nil {
					p.plan.steps[i], errs[i] = p.object(ctx, obj, hashes[i])
				}
				if errs[i] != nil && ctx.Err() == nil {
					p.plan.steps[i], errs[i] = p.setAside(obj, hashes[i], errs[i])
				}
				if errs[i] == nil {
					p.noteAdditions(&p.plan.steps[i])
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
	return answer.Join(errs)
}

func isGround(obj *unstructured.Unstructured) bool {
	switch manifest.IDOf(obj).GroupKind() {
	case manifest.CRDKind, manifest.QuotaKind, manifest.LimitRangeKind:
		return true
	}
	return false
}

// noteGround collects the changes of the plan that affect the judgement of other objects.
func (p *planner) noteGround() {
	p.kinds, p.quotas = map[schema.GroupKind]bool{}, map[string]bool{}
	for _, s := range p.plan.steps {
		if s.change == nil || s.change.Action == manifest.None {
			continue
		}
		switch s.change.ID.GroupKind() {
		case manifest.CRDKind:
			maps.Copy(p.kinds, BroughtBy(manifest.Set{s.rendered}).kinds)
		case manifest.QuotaKind, manifest.LimitRangeKind:
			p.quotas[s.change.ID.Namespace] = true
		}
	}
}

// mayPass reports whether a refused dry run may pass after earlier stages are in the cluster.
func (p *planner) mayPass(id manifest.ID, err error) bool {
	if answer.IsMissingNamespace(err, id.Namespace) || answer.IsEndingNamespace(err) {
		return p.brings.namespaces[id.Namespace]
	}
	return p.kinds[id.GroupKind()] || apierrors.IsForbidden(err) && p.quotas[id.Namespace]
}

// rejudge judges the object of a step again, in a newer state.
func (p *planner) rejudge(ctx context.Context, s *step, live *unstructured.Unstructured) error {
	change := s.change
	*change = manifest.Change{ID: change.ID, Action: manifest.Create, Live: live, Want: s.rendered, Drifted: change.Drifted}
	*s = step{change: change, rendered: s.rendered, sent: s.rendered, spared: s.spared, settled: true, at: s.at, after: s.after}
	return p.compare(ctx, s, p.recorded[change.ID.Key()])
}

func (p *planner) object(ctx context.Context, obj *unstructured.Unstructured, hash string) (step, error) {
	id, err := p.cluster.Scope(manifest.IDOf(obj))
	change := &manifest.Change{ID: id, Action: manifest.Create, Want: obj}
	s := step{change: change, rendered: obj, sent: obj}
	if meta.IsNoMatchError(err) && p.brings.kinds[id.GroupKind()] {
		s.deferred = true
		change.ID = p.brings.scoped(id)
		return s, nil
	}
	if err != nil {
		return step{}, answer.Explain(obj, id, "looking up", err)
	}
	if err := p.plan.unread.Of(id.Key()); err != nil {
		return step{}, answer.Explain(obj, id, "reading", err)
	}
	entry, isRecorded := p.recorded[id.Key()]
	applied := isRecorded && entry.Hash == hash && !entry.Unconfirmed
	change.Live = p.plan.Members[id.Key()]
	if p.atRest(ctx, &s, entry, hash) {
		change.Action = manifest.None
		return s, nil
	}
	change.Drifted, s.ownHand = applied, inventory.WrittenSince(change.Live, entry)
	if applied && change.Live == nil && entry.Deleted {
		change.Lost = inventory.CutOff(ctx, p.cluster, obj, entry)
	}
	if change.Live == nil && !p.nowhere[id.Key()] {
		if change.Live, err = p.cluster.Get(ctx, id); err != nil {
			return step{}, answer.Explain(obj, id, "reading", err)
		}
		if err := p.claim(ctx, &s, change.Live); err != nil {
			return step{}, err
		}
	}
	return s, p.compare(ctx, &s, entry)
}

// compare decides the change of an object that is not known to be at rest, from its live state and a dry run.
func (p *planner) compare(ctx context.Context, s *step, entry v1alpha1.InventoryEntry) error {
	change, obj, id := s.change, s.rendered, s.change.ID
	if change.Live != nil {
		if inventory.IsDisabled(change.Live) {
			change.Action, change.Drifted, s.left = manifest.None, false, true
			return nil
		}
		change.Action = manifest.Update
		if change.Live.GetDeletionTimestamp() != nil {
			change.Action = manifest.Replace // the object must be gone first
			return nil
		}
		p.plan.request.Rules.yield(s)
	}
	var err error
	change.Want, err = p.cluster.DryRun(ctx, s.sent)
	for tries := 0; err == nil && change.Live != nil && change.Live.GetResourceVersion() != change.Want.GetResourceVersion() && tries < changedTries; tries++ {
		// Another process has written the object since it was read. Its change is not a difference that an apply would make.
		if change.Live, err = p.cluster.Get(ctx, id); err != nil {
			return answer.Explain(obj, id, "reading", err)
		}
		if change.Live == nil {
			change.Action = manifest.Create
		}
		change.Want, err = p.cluster.DryRun(ctx, s.sent)
	}
	if err == nil && s.adopts != nil && change.Live != nil {
		change.Want, err = p.adopted(ctx, s, change.Want)
	}
	switch {
	case err == nil:
		p.judge(change)
		change.Lost = cmp.Or(inventory.LossOf(change.Live, entry), change.Lost)
	case !s.settled && p.mayPass(id, err):
		change.Want, s.deferred = obj, true
		return nil
	case change.Live == nil:
		return answer.Explain(obj, id, "trying", err)
	default:
		if err := p.refused(ctx, s, err); err != nil {
			return err
		}
		change.Action, change.Want = manifest.Replace, obj
		change.Fields = manifest.Diff(change.Live, manifest.Overlay(change.Live, obj), p.salt())
	}
	return p.respect(ctx, s, entry)
}

// noteAdditions finds the fields that others set in a member. It needs no request, because the managed fields show them.
func (p *planner) noteAdditions(s *step) {
	live := s.change.Live
	if live == nil || inventory.IsDisabled(live) || inventory.IsDisabled(s.rendered) {
		return
	}
	found, quiet := p.plan.request.Rules.additions(s.rendered, live, p.recorded[s.change.ID.Key()], p.salt)
	if lost := s.change.Lost; lost != nil {
		// The manager that created the object anew wrote each default of it, too. That is one finding, for the object as a
		// whole.
		found = slices.DeleteFunc(found, func(a manifest.Addition) bool { return a.Manager.Name == lost.By.Name })
	}
	s.change.Added, s.quiet = found, append(s.quiet, quiet...)
	// An apply may change such a field as well, for example if the API server derives it from another field. Report it once.
	s.change.Fields = slices.DeleteFunc(s.change.Fields, func(f manifest.FieldChange) bool {
		return s.change.Drifted && (slices.ContainsFunc(found, func(a manifest.Addition) bool { return a.Path == f.Path }) ||
			slices.ContainsFunc(quiet, func(q Quiet) bool { return q.Path == f.Path }))
	})
}

// atRest reports whether an object needs no change. It uses the object's inventory entry and, if the object is a member, its
// live state.
func (p *planner) atRest(ctx context.Context, s *step, entry v1alpha1.InventoryEntry, hash string) bool {
	live, applied := s.change.Live, entry.Hash == hash && hash != "" && !entry.Unconfirmed
	switch {
	case inventory.IsDisabled(s.rendered) || inventory.IsDisabled(live):
		s.left = true
	case live == nil:
		ran := entry.MayBeGone() && (applied || entry.Spec != "" && entry.Spec == manifest.SpecHash(s.rendered) && !p.remade(ctx, s, entry))
		if s.gone = ran; !ran {
			s.ranAs, s.gone = p.ranAlready(ctx, s.change.ID, hash)
		}
		return s.gone
	case live.GetDeletionTimestamp() != nil && p.cluster.Judge().Run(live).State == health.Ended && (applied || entry.Spec != "" && entry.Spec == manifest.SpecHash(s.rendered)):
		s.gone = true // it ran and is being deleted, as by its TTL: no wait for its finalizers to run it again
		return true
	case entry.Skipped == hash && !entry.Unconfirmed:
		s.left, s.skipped = true, p.cluster.Judge().Run(live).State == health.Running
	default:
		rerun := p.plan.request.Rules.Rerun == v1alpha1.OnChange && inventory.NotRerun(p.cluster.Judge().Run(live), entry)
		return applied && !p.plan.request.Full && inventory.Untouched(live, entry, p.plan.key) && !p.plan.request.Rules.disputed(s.rendered, live) && live.GetDeletionTimestamp() == nil && !rerun
	}
	return true
}

// judge evaluates the result of a dry run.
func (p *planner) judge(change *manifest.Change) {
	if change.Live == nil {
		return
	}
	change.Fields = manifest.Diff(change.Live, change.Want, p.salt())
	change.Taken = taken(change)
	if len(change.Fields) > 0 {
		return
	}
	// The owner of equal values may still change: git now sets a field that another manager had set to the same value.
	if manifest.OwnedFields(change.Live, manifest.FieldManager) == manifest.OwnedFields(change.Want, manifest.FieldManager) {
		change.Action, change.Drifted = manifest.None, false
	}
}

// moved reports whether a field that syncer owns has another value, or another owner, than after the recorded apply. A
// different order of a keyed list does not count.
func (p *Plan) moved(change *manifest.Change) bool {
	return change.Live != nil && manifest.OwnedState(change.Live, manifest.FieldManager, p.key) != p.recorded[change.ID.Key()].Fields
}

// ownsDifference reports whether only syncer's own field manager set a field to a value other than git's.
func ownsDifference(change *manifest.Change) bool {
	return change.Live != nil && slices.ContainsFunc(change.Fields, func(field manifest.FieldChange) bool {
		path, err := manifest.ParsePath(field.Path)
		if err != nil || field.From == nil || !manifest.Owns(change.Live, path, manifest.FieldManager) {
			return false
		}
		_, shared := manifest.ManagerOf(change.Live, path, manifest.FieldManager) // such as a manager of stringData
		return !shared
	})
}

// taken lists the fields of a change that another manager owns.
func taken(change *manifest.Change) []manifest.Taken {
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

// prunes adds the members that are no longer in the set.
func (p *planner) prunes(ctx context.Context) error {
	inSet := map[manifest.Key]bool{}
	for _, s := range p.plan.steps {
		inSet[s.change.ID.Key()] = true
	}
	generated := p.plan.generated()
	var errs []error
	for key, live := range p.plan.Members {
		if inSet[key] {
			continue
		}
		change := &manifest.Change{ID: manifest.IDOf(live), Action: manifest.Prune, Live: live}
		unlabelled := live.GetLabels()[v1alpha1.LabelMember] == ""
		heir, handed := p.plan.request.Neighbours.Named[key]
		handed = handed && heir != p.plan.request.Target
		// An object that is being deleted may wait for a finalizer without end. Nothing is left to do about it.
		if inventory.Keeps(live) || live.GetDeletionTimestamp() != nil || unlabelled {
			change.Action = manifest.None
		} else if handed {
			change.Hold(manifest.HeldInUse, fmt.Sprintf("%s names it now, and takes it over", heir), change.ID)
		} else if why := p.doubt(change.ID, generated); why != "" {
			change.Hold(manifest.HeldUnrendered, why)
			handed = true
		} else if err := p.respectPrune(ctx, change); err != nil {
			errs = append(errs, err)
		}
		p.plan.steps = append(p.plan.steps, step{change: change, handed: handed, unlabelled: unlabelled})
	}
	return answer.Join(errs)
}

// doubt says why an object that left git may have moved to a target whose set is not known. An old version of a generated
// object did not: the target still has the newer one.
func (p *planner) doubt(id manifest.ID, generated map[manifest.ID]bool) string {
	if name, ok := id.WithoutSuffix(); ok && generated[name] {
		return ""
	}
	return p.plan.request.Neighbours.doubt(p.plan.request.Target, id)
}

// Terminating lists the objects that left git, are being deleted, and are not gone yet.
func (p *Plan) Terminating() []string {
	var out []string
	for _, s := range p.steps {
		if s.rendered == nil && s.change.Live.GetDeletionTimestamp() != nil {
			out = append(out, terminating(s.change.Live))
		}
	}
	return out
}

func (p *Plan) sort() {
	slices.SortFunc(p.steps, func(a, b step) int { return a.change.ID.Compare(b.change.ID) })
	p.Changes = make([]manifest.Change, len(p.steps))
	for i := range p.steps {
		p.Changes[i] = *p.steps[i].change
		p.steps[i].change = &p.Changes[i]
	}
}

// inOrder returns the steps in the order of their execution.
func (p *Plan) inOrder() []step {
	steps := slices.Clone(p.steps)
	slices.SortStableFunc(steps, func(a, b step) int {
		switch {
		case a.at.before(b.at):
			return -1
		case b.at.before(a.at):
			return 1
		}
		return 0
	})
	return steps
}

// Leave removes drift from the apply, as far as which selects it, and returns it. The drift stays in the cluster and is
// reported. An object that was written under syncer's own field manager is always corrected: two writers of one name are two
// syncers, and one of them was late. A nil field asks for the whole object.
func (p *Plan) Leave(which func(manifest.Change, *manifest.FieldChange) bool) []manifest.Change {
	var left []manifest.Change
	for i := range p.steps {
		s := &p.steps[i]
		change := s.change
		if !change.Drifted || change.Action == manifest.None || s.ownHand || p.moved(change) && ownsDifference(change) {
			continue // a value from syncer's own field manager is not the choice of another owner
		}
		if which(*change, nil) {
			left = append(left, *change)
			change.Action, change.Held = manifest.None, nil
			continue
		}
		if change.Action != manifest.Update {
			continue // all or nothing
		}
		part := *change
		part.Fields, part.Taken = nil, nil
		for _, field := range change.Fields {
			path, err := manifest.ParsePath(field.Path)
			if err == nil && which(*change, &field) && !manifest.Owns(change.Live, path, manifest.FieldManager) {
				part.Fields = append(part.Fields, field)
				s.spared = append(s.spared, path)
			}
		}
		if len(part.Fields) == 0 {
			continue
		}
		left = append(left, part)
		spared := func(path string) bool {
			return slices.ContainsFunc(part.Fields, func(f manifest.FieldChange) bool { return f.Path == path })
		}
		change.Fields = slices.DeleteFunc(slices.Clone(change.Fields), func(f manifest.FieldChange) bool { return spared(f.Path) })
		change.Taken = slices.DeleteFunc(slices.Clone(change.Taken), func(t manifest.Taken) bool { return spared(t.Path) })
		if len(change.Fields) == 0 {
			change.Action = manifest.None
			continue
		}
		quiet := s.quiet
		p.request.Rules.yield(s)
		s.quiet = quiet
	}
	return left
}

// Quiet lists the differences that do not count, with the rules that exclude them.
func (p *Plan) Quiet() []Quiet {
	var out []Quiet
	for _, s := range p.steps {
		out = append(out, s.quiet...)
	}
	return out
}

// LeftAlone returns the objects that stay as they are although git differs: by annotation, or for their run.
func (p *Plan) LeftAlone() map[manifest.Key]bool {
	alone := map[manifest.Key]bool{}
	for _, s := range p.steps {
		if s.left {
			id := s.change.ID
			alone[id.Key()] = true
			id.Namespace = s.rendered.GetNamespace() // the namespace as written in git
			alone[id.Key()] = true
		}
	}
	return alone
}

// Pending lists the changes that an apply would make.
func (p *Plan) Pending() []manifest.Change {
	return p.changes(func(a manifest.Action) bool { return a != manifest.None && a != manifest.Hold })
}

// Held lists the changes that wait.
func (p *Plan) Held() []manifest.Change {
	held := p.changes(func(a manifest.Action) bool { return a == manifest.Hold })
	for i := range held {
		held[i].Held.Hash = p.hashes[held[i].ID.Key()]
	}
	return held
}

func (p *Plan) changes(which func(manifest.Action) bool) []manifest.Change {
	var out []manifest.Change
	for _, s := range p.steps {
		if which(s.change.Action) {
			out = append(out, *s.change)
		}
	}
	return out
}
