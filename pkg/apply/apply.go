package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/ignore"
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

// written is an object as a write left it.
type written struct {
	object   *unstructured.Unstructured
	defaults []string // its fields that do not count as additions, though others own them
}

func (a *application) object(ctx context.Context, s *plan.Step) (*unstructured.Unstructured, error) {
	id := s.Change.ID
	id, err := a.cluster.Scope(id)
	if err != nil {
		return nil, answer.Explain(s.Rendered, id, "looking up", err)
	}
	if s.State == plan.Deferred {
		// The dependencies of this object were missing when the other objects were tried.
		live, err := a.cluster.Get(ctx, id)
		if err != nil {
			return nil, answer.Explain(s.Rendered, id, "reading", err)
		}
		if err := a.comparer.Claim(ctx, s, live); err != nil {
			return nil, err
		}
		judgedAgain := live != nil && s.Adopts == nil
		if err := settle(ctx, a.cluster, s.Rendered); err != nil && !(judgedAgain && answer.IsRefusal(err)) {
			return nil, answer.Explain(s.Rendered, id, "trying", err, live)
		}
		if judgedAgain {
			return a.again(ctx, id, s) // the object could not be judged before, and may be running
		}
	}
	if s.Change.Action == manifest.Replace {
		applied, err := a.replace(ctx, id, s)
		if apierrors.IsConflict(err) {
			return a.again(ctx, id, s)
		}
		return applied, err
	}
	if s.Adopts != nil {
		return a.adopt(ctx, id, s)
	}
	applied, err := a.cluster.Write(ctx, s.Sent, s.Change.Live)
	if !changed(err, s.Change.Live) {
		return applied, answer.Explain(s.Rendered, id, "applying", err, s.Change.Live)
	}
	if s.Change.Live == nil {
		return a.appeared(ctx, id, s)
	}
	return a.again(ctx, id, s)
}

// changed reports whether a write was refused because the object is not as it was judged.
func changed(err error, judged *unstructured.Unstructured) bool {
	return apierrors.IsConflict(err) || judged != nil && apierrors.IsNotFound(err)
}

// appeared judges an object that another process created between the plan and the write.
func (a *application) appeared(ctx context.Context, id manifest.ID, s *plan.Step) (*unstructured.Unstructured, error) {
	live, err := a.cluster.Get(ctx, id)
	if err != nil {
		return nil, answer.Explain(s.Rendered, id, "reading", err)
	}
	if err := a.comparer.Claim(ctx, s, live); err != nil {
		return nil, err
	}
	if s.Adopts != nil {
		return a.adopt(ctx, id, s)
	}
	return a.again(ctx, id, s)
}

// changedTries limits how often an object is judged again when other processes write it all the time.
const changedTries = 8

// again judges an object that changed between the plan and the write. A run may have begun in the meantime, another syncer
// may have taken the target over, or the answer to the own write was lost.
func (a *application) again(ctx context.Context, id manifest.ID, s *plan.Step) (*unstructured.Unstructured, error) {
	planned := s.Change.Action
	for range changedTries {
		live, err := a.cluster.Get(ctx, id)
		if err != nil {
			return nil, answer.Explain(s.Rendered, id, "reading", err)
		}
		if err := a.stillOurs(ctx); err != nil {
			return nil, err
		}
		if err := a.comparer.RefuseForeign(ctx, id, live); err != nil {
			return nil, err
		}
		if onlyReported(a.cluster, s, live) {
			s.Change.Live = live
		} else if err := a.comparer.Again(ctx, s, live); err != nil {
			return nil, err
		}
		switch s.Change.Action {
		case manifest.Hold:
			return nil, &heldError{*s.Change.Held}
		case manifest.None:
			if !s.Stays() {
				s.Change.Action = planned // an earlier try or another syncer has made the change
			}
			return live, nil
		case manifest.Replace:
			applied, err := a.replace(ctx, id, s)
			if apierrors.IsConflict(err) {
				continue
			}
			return applied, err
		}
		applied, err := a.cluster.Write(ctx, s.Sent, live)
		if !changed(err, live) {
			return applied, answer.Explain(s.Rendered, id, "applying", err, s.Change.Live)
		}
	}
	return nil, answer.WillPass(fmt.Sprintf("%s: it changes faster than it can be looked at; syncer tries again at the next pass", id))
}

// onlyReported reports whether only the status of an object has changed since it was judged. Then the judgement is still
// valid. An object that runs to completion is judged by its status, so it never counts here.
func onlyReported(c *cluster.Cluster, s *plan.Step, live *unstructured.Unstructured) bool {
	judged := s.Change.Live
	if live == nil || judged == nil || s.State == plan.Deferred || s.Change.Action != manifest.Update || c.Judge().Run(live).State != health.NotARun {
		return false
	}
	return equality.Semantic.DeepEqual(withoutStatus(judged), withoutStatus(live))
}

// withoutStatus returns the fields of an object that its apply depends on.
func withoutStatus(obj *unstructured.Unstructured) map[string]any {
	out := maps.Clone(obj.Object)
	delete(out, "status")
	metadata, _ := out["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	for _, field := range []string{"resourceVersion", "managedFields", "generation"} {
		delete(metadata, field)
	}
	out["metadata"] = metadata
	return out
}

const (
	settleTimeout = 5 * time.Second
	settlePoll    = 100 * time.Millisecond
)

// settle tries an object until the API server and its controllers act on the changes of earlier stages. They read a CRD's
// new schema, a quota's new limits or a namespace a moment after they accepted it.
func settle(ctx context.Context, c *cluster.Cluster, obj *unstructured.Unstructured) error {
	var refused error
	err := wait.PollUntilContextTimeout(ctx, settlePoll, settleTimeout, true, func(context.Context) (bool, error) {
		_, refused = c.DryRun(ctx, obj) // does not use the poll's context, which would cancel the last try
		return refused == nil, nil
	})
	return cmp.Or(refused, err)
}

// doubt notes that the outcome of a write is unknown.
func (a *application) doubt(s *plan.Step) {
	key := s.Change.ID.Key()
	entry, recorded := a.inventory[key]
	if !recorded {
		return // an object without an entry is always compared
	}
	if s.Outdates(entry) {
		entry.Spec = ""
	}
	entry.Unconfirmed = true
	a.inventory[key] = entry
}

// confirm notes an object as a write left it. It runs on one goroutine.
func (a *application) confirm(s *plan.Step, w written) {
	s.Change.Want = w.object
	id := s.Change.ID
	a.live[id.Key()] = w.object
	entry := a.comparer.NewEntry(s, w.object)
	entry.Others = slices.Concat(ignore.Others(a.inventory[id.Key()], w.object), w.defaults)
	if s.Runs.Ended == "" && s.Change.Action == manifest.Update {
		entry.EndedRun = a.inventory[id.Key()].EndedRun // a new label does not start a run either
	}
	if len(s.Owners.Spared) > 0 {
		entry.Fields = a.inventory[id.Key()].Fields // fields that are left as they are stay drift
	}
	a.inventory[id.Key()] = entry
}

// skip notes a change that is not applied, because the current run must not be disturbed.
func (a *application) skip(s *plan.Step) {
	a.skipped = true
	key := s.Change.ID.Key()
	if entry, ok := a.inventory[key]; ok {
		entry.Skipped = s.Hash
		a.inventory[key] = entry
	}
}

const (
	establishTimeout = time.Minute
	establishPoll    = 100 * time.Millisecond
)

// awaitKinds waits until the API server serves the kinds of new CRDs. The server answers 404 for a moment after it accepted
// a definition, and again until discovery lists the kind.
func (a *application) awaitKinds(ctx context.Context, steps []*plan.Step) error {
	for _, s := range steps {
		id := s.Change.ID
		id, err := a.cluster.Scope(id)
		if err != nil {
			return answer.Explain(s.Rendered, id, "looking up", err)
		}
		last := "its status names no condition yet"
		err = wait.PollUntilContextTimeout(ctx, establishPoll, establishTimeout, true, func(ctx context.Context) (bool, error) {
			live, err := a.cluster.Get(ctx, id)
			if live == nil && err == nil {
				err = fmt.Errorf("%s is not there", id)
			}
			if err != nil {
				last = err.Error()
				return false, nil
			}
			verdict := a.cluster.Judge().Health(live)
			last = verdict.Message
			return verdict.Status == health.Healthy && served(a.cluster, live), nil
		})
		if err != nil {
			return fmt.Errorf("%s: waiting until it is established: %w (%s)", id, err, last)
		}
	}
	return nil
}

// served reports whether discovery lists every version that a definition serves. An updated definition was established
// before, so its condition does not prove this.
func served(c *cluster.Cluster, crd *unstructured.Unstructured) bool {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, version := range versions {
		fields, ok := version.(map[string]any)
		if !ok || fields["served"] != true {
			continue
		}
		gvk := schema.GroupVersionKind{}
		gvk.Group, _, _ = unstructured.NestedString(crd.Object, "spec", "group")
		gvk.Kind, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "kind")
		gvk.Version, _ = fields["name"].(string)
		if !cluster.Serves(c, gvk) {
			return false
		}
	}
	return true
}

// prune deletes the objects that git no longer has, in the reverse order of an apply. If a delete fails, the objects that
// the remaining object may need stay.
func (a *application) prune(ctx context.Context) error {
	steps := plan.InOrder(a.steps)
	slices.Reverse(steps)
	running := a.skipped || slices.ContainsFunc(steps, func(s *plan.Step) bool { return s.Change.Held != nil && s.Change.Held.Reason == manifest.HeldRunning })
	for len(steps) > 0 {
		end := slices.IndexFunc(steps, func(s *plan.Step) bool { return s.Order.At != steps[0].Order.At })
		if end < 0 {
			end = len(steps)
		}
		var errs []error
		for _, s := range steps[:end] {
			if s.Change.Action != manifest.Prune {
				continue
			}
			if running {
				// A run has begun since the plan was made. It needs the objects that it was started with.
				s.Change.Hold(manifest.HeldInUse, "a run that began in the meantime may need it")
				continue
			}
			if held := plan.StillNamed(s.Change.ID, a.steps); held != nil {
				s.Change.Hold(held.Reason, held.Message, held.For...)
				continue
			}
			hold, err := a.remove(ctx, &s.Change)
			if err != nil {
				a.doubt(s)
				errs = append(errs, err)
				continue
			}
			if hold {
				running = true
				continue
			}
			delete(a.inventory, s.Change.ID.Key())
			delete(a.live, s.Change.ID.Key())
			a.done = append(a.done, s.Change)
		}
		if err := answer.Join(errs); err != nil {
			return err
		}
		steps = steps[end:]
	}
	return nil
}

// removeTries limits how often a delete is repeated because another process, such as a controller that reports a status,
// wrote the object at the same moment.
const removeTries = 5

// remove deletes a member of the target's own ApplySet. The delete requires exactly the judged state: that of the plan or,
// if the object has changed, the present one. An object stays if another owner took it over, if it was created anew, or if
// it is marked to be kept. An object that is running now is held.
func (a *application) remove(ctx context.Context, change *manifest.Change) (held bool, err error) {
	member := change.Live
	propagation := metav1.DeletePropagationBackground
	if a.policies.Propagation == v1alpha1.Foreground {
		propagation = metav1.DeletePropagationForeground
	}
	id, err := a.cluster.Scope(manifest.IDOf(member))
	if meta.IsNoMatchError(err) {
		return false, nil // the kind is gone, and its objects too
	}
	if err != nil {
		return false, answer.Explain(member, id, "pruning", err)
	}
	_, own := v1alpha1.MemberLabel(a.cluster.Namespace(), a.target)
	for range removeTries {
		if err = a.cluster.Delete(ctx, change.Live, propagation); err == nil || apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return false, nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
		var live *unstructured.Unstructured
		if live, err = a.cluster.Get(ctx, id); err != nil {
			return false, answer.Explain(member, id, "pruning", err)
		}
		if err = a.stillOurs(ctx); err != nil {
			return false, err
		}
		if live == nil || live.GetLabels()[v1alpha1.LabelMember] != own || live.GetUID() != member.GetUID() || live.GetDeletionTimestamp() != nil || inventory.Keeps(live) {
			return false, nil
		}
		change.Live = live
		if err := a.comparer.MayPrune(ctx, change); err != nil || change.Action == manifest.Hold {
			return change.Action == manifest.Hold, err
		}
	}
	return false, answer.Explain(member, id, "pruning", err)
}

func (a *application) result() Applied {
	manifest.SortChanges(a.done)
	return Applied{Pending: plan.IsPending(a.steps), Changes: a.done, Held: plan.Held(a.steps), Inventory: inventory.Sorted(a.inventory), Live: a.live}
}
