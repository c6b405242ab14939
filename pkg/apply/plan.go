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

// Request is a target and the set that it is to become.
type Request struct {
	Target v1alpha1.Target
	// Record is the target's record; nil at the first deployment.
	Record *v1alpha1.PipelineSync
	// Set is what git says, with digests and the member label. An empty set prunes everything.
	Set manifest.Set
	// Brings are namespaces and kinds that other sets of the same pass bring; a dry run cannot see them yet.
	Brings Brings
	// Neighbours are the other targets of the same commit.
	Neighbours Neighbours
	// Full compares every object by a dry run, also those whose apply is recorded and unharmed.
	Full bool
	// ReadOnly leaves the cluster as it is, bookkeeping included.
	ReadOnly bool
	Rules    Rules
	// Recorded is told of the record as Apply has written it, before the first object. Optional.
	Recorded func(cluster.Written)
	// Confirm is asked when the record is written and before the first object is; an error ends the apply there. Until
	// another syncer could see the record, it may have carried out a newer commit that leaves the target as it is.
	// Optional.
	Confirm func(context.Context) error
}

// Plan is what an apply would do. Changes has one entry for each object of the set, and one for each object to prune.
type Plan struct {
	Changes []manifest.Change
	// Members are the live objects of the target's ApplySet, and those of its inventory that lost their label.
	Members inventory.Members

	strays   inventory.Members
	recorded map[manifest.Key]v1alpha1.InventoryEntry // the inventory, with what became of those that are gone
	unread   inventory.Unread
	request  Request
	planner  *planner
	judge    *health.Judge
	steps    []step // Changes with what Apply needs beside them
	key      []byte // of the hashes of Secrets; nil where the set has none
	hashes   map[manifest.Key]string
}

type step struct {
	change   *manifest.Change
	rendered *unstructured.Unstructured // as git says; nil for a prune
	sent     *unstructured.Unstructured // rendered without the fields that others decide
	deferred bool                       // the dry run waits until what the object needs is there
	settled  bool                       // what the object needs is there: a refusal is final
	spared   []manifest.Path            // drifted fields that stay as they are
	quiet    []Quiet
	adopts   *unstructured.Unstructured // as the tool left it from which it is taken over; nil: from none

	at      position
	after   []manifest.Key // of the set, by annotation
	outside []manifest.ID  // of others, by annotation

	unlabelled bool     // it left git, and lost the target's label before
	defaults   []string // fields that are nobody's addition, though others own them

	uncompared error // why the API server does not say whether the object is as git says; it stays as it is
	unread     bool  // nor can it be read

	ownHand  bool // another process wrote the object under syncer's name since its apply was recorded
	left     bool // the object stays as it is although git says otherwise
	skipped  bool // the change is part of the next run
	gone     bool // it ran, and is not to run again
	ranAs    types.UID
	remadeAs types.UID // what ran under the name since, by an apply that was never confirmed, and is gone as well
	handed   bool      // another target of the commit names it, and takes it over
	endedRun string    // the run that had ended when the change was judged
}

// Make compares a set with the cluster by server-side dry runs and changes nothing, but for the key that Secrets are
// hashed with, which it makes unless ReadOnly. An object whose recorded apply is the one that git asks for, and whose
// fields no other manager has taken, costs no request. All objects are judged; the error names each that the API
// server refuses.
func Make(ctx context.Context, c *cluster.Cluster, req Request) (*Plan, error) {
	key, err := inventory.KeyFor(ctx, c, req.Set, !req.ReadOnly)
	if err != nil {
		return nil, err
	}
	// The kinds of the set are looked through as well: when the record is lost, they find its objects again.
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
				return nil // masks without a hash: the comparison itself needs no key
			}
			return key
		})}
	plan.planner = p
	if err := p.objects(ctx, key); err != nil {
		return nil, err
	}
	for _, s := range plan.steps {
		delete(plan.strays, s.change.ID.Key()) // git has it, and takes it over
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
	nowhere  map[manifest.Key]bool // looked for by name, and not there
	brings   Brings
	salt     func() []byte // for masked values; asked for where something differs

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

// noteGround collects what the plan changes that other objects are judged by.
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

// mayPass reports whether a refused dry run may pass once earlier stages are in the cluster.
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

// compare decides what becomes of an object that is not known to be at rest, from its live state and a dry run.
func (p *planner) compare(ctx context.Context, s *step, entry v1alpha1.InventoryEntry) error {
	change, obj, id := s.change, s.rendered, s.change.ID
	if change.Live != nil {
		if inventory.IsDisabled(change.Live) {
			change.Action, change.Drifted, s.left = manifest.None, false, true
			return nil
		}
		change.Action = manifest.Update
		if change.Live.GetDeletionTimestamp() != nil {
			change.Action = manifest.Replace // it has to be gone first
			return nil
		}
		p.plan.request.Rules.yield(s)
	}
	var err error
	change.Want, err = p.cluster.DryRun(ctx, s.sent)
	for tries := 0; err == nil && change.Live != nil && change.Live.GetResourceVersion() != change.Want.GetResourceVersion() && tries < changedTries; tries++ {
		// Somebody wrote the object since it was read: what they wrote is no difference that an apply would make.
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

// noteAdditions looks at what others set in a member. It asks nobody: the member's managed fields tell.
func (p *planner) noteAdditions(s *step) {
	live := s.change.Live
	if live == nil || inventory.IsDisabled(live) || inventory.IsDisabled(s.rendered) {
		return
	}
	found, quiet := p.plan.request.Rules.additions(s.rendered, live, p.recorded[s.change.ID.Key()], p.salt)
	if lost := s.change.Lost; lost != nil {
		// Who made the object anew wrote each default of it, too: that is one finding, of the object as a whole.
		found = slices.DeleteFunc(found, func(a manifest.Addition) bool { return a.Manager.Name == lost.By.Name })
	}
	s.change.Added, s.quiet = found, append(s.quiet, quiet...)
	// An apply may change such a field as well, as where the API server derives it from another one. It is one finding.
	s.change.Fields = slices.DeleteFunc(s.change.Fields, func(f manifest.FieldChange) bool {
		return s.change.Drifted && (slices.ContainsFunc(found, func(a manifest.Addition) bool { return a.Path == f.Path }) ||
			slices.ContainsFunc(quiet, func(q Quiet) bool { return q.Path == f.Path }))
	})
}

// atRest reports whether nothing is to be done to an object, from what is recorded of it and from its live state, if it
// is a member.
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
		s.gone = true // it ran, and is on its way out, as by its TTL: its finalizers are not waited for to run it again
		return true
	case entry.Skipped == hash && !entry.Unconfirmed:
		s.left, s.skipped = true, p.cluster.Judge().Run(live).State == health.Running
	default:
		rerun := p.plan.request.Rules.Rerun == v1alpha1.OnChange && inventory.NotRerun(p.cluster.Judge().Run(live), entry)
		return applied && !p.plan.request.Full && inventory.Untouched(live, entry, p.plan.key) && !p.plan.request.Rules.disputed(s.rendered, live) && live.GetDeletionTimestamp() == nil && !rerun
	}
	return true
}

// judge decides what a dry run's result means.
func (p *planner) judge(change *manifest.Change) {
	if change.Live == nil {
		return
	}
	change.Fields = manifest.Diff(change.Live, change.Want, p.salt())
	change.Taken = taken(change)
	if len(change.Fields) > 0 {
		return
	}
	// Equal values may still have changed hands: git now sets a field that another manager had set to the same value.
	if manifest.OwnedFields(change.Live, manifest.FieldManager) == manifest.OwnedFields(change.Want, manifest.FieldManager) {
		change.Action, change.Drifted = manifest.None, false
	}
}

// moved reports whether a field that syncer owns has another value, or another owner, than after the apply that was
// recorded. Another order of a keyed list is neither.
func (p *Plan) moved(change *manifest.Change) bool {
	return change.Live != nil && manifest.OwnedState(change.Live, manifest.FieldManager, p.key) != p.recorded[change.ID.Key()].Fields
}

// ownsDifference reports whether syncer's own name, and nobody else's, set a field to something else than git says.
func ownsDifference(change *manifest.Change) bool {
	return change.Live != nil && slices.ContainsFunc(change.Fields, func(field manifest.FieldChange) bool {
		path, err := manifest.ParsePath(field.Path)
		if err != nil || field.From == nil || !manifest.Owns(change.Live, path, manifest.FieldManager) {
			return false
		}
		_, shared := manifest.ManagerOf(change.Live, path, manifest.FieldManager) // as by who applied a Secret's stringData
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
	var errs []error
	for key, live := range p.plan.Members {
		if inSet[key] {
			continue
		}
		change := &manifest.Change{ID: manifest.IDOf(live), Action: manifest.Prune, Live: live}
		unlabelled := live.GetLabels()[v1alpha1.LabelMember] == ""
		heir, handed := p.plan.request.Neighbours.Named[key]
		handed = handed && heir != p.plan.request.Target
		// One that is on its way out already may wait for a finalizer for ever: there is nothing left to do about it.
		if inventory.Keeps(live) || live.GetDeletionTimestamp() != nil || unlabelled {
			change.Action = manifest.None
		} else if handed {
			change.Hold(manifest.HeldInUse, fmt.Sprintf("%s names it now, and takes it over", heir), change.ID)
		} else if err := p.respectPrune(ctx, change); err != nil {
			errs = append(errs, err)
		}
		p.plan.steps = append(p.plan.steps, step{change: change, handed: handed, unlabelled: unlabelled})
	}
	return answer.Join(errs)
}

// Terminating says which objects that left git are being deleted and do not go.
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

// inOrder returns the steps in the order in which they are carried out.
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

// Leave takes drift out of what an apply does, as far as which picks it, and returns it: it stays as somebody made it, to
// be reported. An object that was written under syncer's own name is put right in any case: two writers of one name are
// two syncers, of which one was late. A nil field asks for the whole object.
func (p *Plan) Leave(which func(manifest.Change, *manifest.FieldChange) bool) []manifest.Change {
	var left []manifest.Change
	for i := range p.steps {
		s := &p.steps[i]
		change := s.change
		if !change.Drifted || change.Action == manifest.None || s.ownHand || p.moved(change) && ownsDifference(change) {
			continue // what syncer's own name wrote is no wish of somebody else's
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

// Quiet lists the differences that are none, by the rules that say so.
func (p *Plan) Quiet() []Quiet {
	var out []Quiet
	for _, s := range p.steps {
		out = append(out, s.quiet...)
	}
	return out
}

// LeftAlone are the objects that stay as they are although git says otherwise: by annotation, or for their run.
func (p *Plan) LeftAlone() map[manifest.Key]bool {
	alone := map[manifest.Key]bool{}
	for _, s := range p.steps {
		if s.left {
			id := s.change.ID
			alone[id.Key()] = true
			id.Namespace = s.rendered.GetNamespace() // as git writes it
			alone[id.Key()] = true
		}
	}
	return alone
}

// Pending lists the changes that an apply would carry out.
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
