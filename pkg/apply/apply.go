package apply

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Applied is what an apply left behind.
type Applied struct {
	Changes   []manifest.Change // what was carried out, with the objects as the API server returned them
	Inventory []v1alpha1.InventoryEntry
	Live      Members
	// Generation of the record's spec that this apply wrote.
	Generation int64
}

// Apply carries a plan out: first the record's spec, then the objects stage by stage, then the prunes. Objects of one
// stage do not wait for each other, and a failed one does not stop the rest of its stage; later stages and prunes need
// every earlier one. What was applied is in Applied also when the error is not nil.
func (c *Cluster) Apply(ctx context.Context, plan *Plan, spec v1alpha1.PipelineSyncSpec) (Applied, error) {
	a := &application{cluster: c, plan: plan, inventory: plan.inventory(), live: maps.Clone(plan.Members)}
	generation, err := c.saveSpec(ctx, plan.request.Target, spec, a.kinds())
	if err == nil {
		err = a.run(ctx)
	}
	applied := a.result()
	applied.Generation = generation
	return applied, err
}

type application struct {
	cluster   *Cluster
	plan      *Plan
	inventory map[manifest.Key]v1alpha1.InventoryEntry
	live      Members
	done      []manifest.Change
}

// kinds are those of both the old and the new objects: a record that names them finds every member again, whenever the
// work is interrupted. Kinds of which nothing is left are let go.
func (a *application) kinds() []schema.GroupKind {
	var kinds []schema.GroupKind
	for _, obj := range a.plan.request.Set {
		kinds = append(kinds, manifest.IDOf(obj).GroupKind())
	}
	for _, obj := range a.plan.Members {
		kinds = append(kinds, manifest.IDOf(obj).GroupKind())
	}
	for _, entry := range a.inventory {
		kinds = append(kinds, entryID(entry).GroupKind())
	}
	return kinds
}

func (a *application) run(ctx context.Context) error {
	byStage := make([][]step, stages)
	for _, s := range a.plan.steps {
		switch s.change.Action {
		case manifest.Create, manifest.Update:
			at := stageOf(s.change.ID)
			byStage[at] = append(byStage[at], s)
		}
	}
	for at, steps := range byStage {
		if err := a.stage(ctx, steps); err != nil {
			return err
		}
		if stage(at) == definitions && len(steps) > 0 {
			if err := a.awaitKinds(ctx, steps); err != nil {
				return err
			}
		}
	}
	return a.prune(ctx)
}

// stage applies objects side by side.
func (a *application) stage(ctx context.Context, steps []step) error {
	errs := make([]error, len(steps)) // each worker owns one slot
	applied := make([]*unstructured.Unstructured, len(steps))
	var g errgroup.Group
	g.SetLimit(fanOut)
	for i, s := range steps {
		g.Go(func() error {
			applied[i], errs[i] = a.object(ctx, s)
			return nil
		})
	}
	_ = g.Wait() // the workers report by slot
	for i, s := range steps {
		if errs[i] == nil {
			a.record(s, applied[i])
		}
	}
	return joinSorted(errs)
}

func (a *application) object(ctx context.Context, s step) (*unstructured.Unstructured, error) {
	id := s.change.ID
	resource, id, err := a.cluster.resourceFor(id)
	if err != nil {
		return nil, explain(s.rendered, id, "looking up", err)
	}
	if s.deferred {
		// What it needs was not there when the others were tried.
		live, err := get(ctx, resource, id)
		if err != nil {
			return nil, explain(s.rendered, id, "reading", err)
		}
		if err := a.cluster.refuseForeign(ctx, a.plan.request.Target, live); err != nil {
			return nil, err
		}
		if err := settle(ctx, resource, id, s.rendered); err != nil {
			return nil, explain(s.rendered, id, "trying", err)
		}
	}
	applied, err := write(ctx, resource, id, s.rendered)
	return applied, explain(s.rendered, id, "applying", err)
}

const (
	settleTimeout = 5 * time.Second
	settlePoll    = 100 * time.Millisecond
)

// settle tries an object until the API server and its controllers act on what earlier stages changed: they read a CRD's
// new schema, a quota's new limits or a namespace a moment after they accepted it.
func settle(ctx context.Context, resource dynamic.ResourceInterface, id manifest.ID, obj *unstructured.Unstructured) error {
	var refused error
	err := wait.PollUntilContextTimeout(ctx, settlePoll, settleTimeout, true, func(context.Context) (bool, error) {
		_, refused = dryRun(ctx, resource, id, obj) // not by the poll's context, which would end the last try midway
		return refused == nil, nil
	})
	return cmp.Or(refused, err)
}

// record notes an applied object. It runs on one goroutine.
func (a *application) record(s step, applied *unstructured.Unstructured) {
	s.change.Want = applied
	id := s.change.ID
	a.live[id.Key()] = applied
	a.inventory[id.Key()] = newEntry(id, a.plan.hashes[id.Key()], applied)
	a.done = append(a.done, *s.change)
}

const (
	establishTimeout = time.Minute
	establishPoll    = 100 * time.Millisecond
)

// awaitKinds waits until the API server serves the kinds of new CRDs: it answers 404 for a moment after it accepted a
// definition, and once more until discovery lists it.
func (a *application) awaitKinds(ctx context.Context, steps []step) error {
	for _, s := range steps {
		id := s.change.ID
		crds, id, err := a.cluster.resourceFor(id)
		if err != nil {
			return explain(s.rendered, id, "looking up", err)
		}
		last := "its status names no condition yet"
		err = wait.PollUntilContextTimeout(ctx, establishPoll, establishTimeout, true, func(ctx context.Context) (bool, error) {
			live, err := crds.Get(ctx, id.Name, metav1.GetOptions{})
			if err != nil {
				last = err.Error()
				return false, nil
			}
			health := HealthOf(live)
			last = health.Message
			return health.Status == Healthy && a.served(live), nil
		})
		if err != nil {
			return fmt.Errorf("%s: waiting until it is established: %w (%s)", id, err, last)
		}
	}
	return nil
}

// served reports whether discovery lists every version that a definition serves: one that is updated was established
// before.
func (a *application) served(crd *unstructured.Unstructured) bool {
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
		if _, err := a.cluster.kinds.resource(gvk); err != nil {
			a.cluster.kinds.forget()
			return false
		}
	}
	return true
}

// prune deletes the objects that git no longer has, the last stage first. What a stage could not delete keeps the
// stages that it may need.
func (a *application) prune(ctx context.Context) error {
	for at := workloads; at >= definitions; at-- {
		var errs []error
		for _, s := range a.plan.steps {
			if s.change.Action != manifest.Prune || stageOf(s.change.ID) != at {
				continue
			}
			if err := a.cluster.remove(ctx, a.plan.request.Target, s.change.Live); err != nil {
				errs = append(errs, err)
				continue
			}
			delete(a.inventory, s.change.ID.Key())
			delete(a.live, s.change.ID.Key())
			a.done = append(a.done, *s.change)
		}
		if err := joinSorted(errs); err != nil {
			return err
		}
	}
	return nil
}

// removeTries bounds how often a delete is asked for again because somebody, such as a controller that reports a
// status, wrote the object at the same moment.
const removeTries = 5

// remove deletes a member of a target's own ApplySet, in the background. It is judged as it is now, and the delete asks
// for that very state: an object that somebody took over, made anew or marked to be kept stays.
func (c *Cluster) remove(ctx context.Context, target Target, member *unstructured.Unstructured) error {
	resource, id, err := c.resourceFor(manifest.IDOf(member))
	if meta.IsNoMatchError(err) {
		return nil // the kind is gone, and the object with it
	}
	if err != nil {
		return explain(member, id, "pruning", err)
	}
	_, own := MemberLabel(c.namespace, target)
	for range removeTries {
		var live *unstructured.Unstructured
		if live, err = get(ctx, resource, id); err != nil {
			return explain(member, id, "pruning", err)
		}
		if live == nil || live.GetLabels()[labelMember] != own || live.GetUID() != member.GetUID() || live.GetDeletionTimestamp() != nil || keeps(live) {
			return nil
		}
		if err = deleteExactly(ctx, resource, live); err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
	}
	return explain(member, id, "pruning", err)
}

func deleteExactly(ctx context.Context, resource dynamic.ResourceInterface, live *unstructured.Unstructured) error {
	uid, version, background := live.GetUID(), live.GetResourceVersion(), metav1.DeletePropagationBackground
	_, err := request(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, resource.Delete(ctx, live.GetName(), metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
			PropagationPolicy: &background,
		})
	})
	return err
}

func (a *application) result() Applied {
	manifest.SortChanges(a.done)
	return Applied{Changes: a.done, Inventory: sortedInventory(a.inventory), Live: a.live}
}

// Remove deletes every object of a target that is no longer in git. The caller has judged that it may. Objects with prune
// disabled stay.
func (c *Cluster) Remove(ctx context.Context, plan *Plan) error {
	a := &application{cluster: c, plan: plan, inventory: plan.inventory(), live: maps.Clone(plan.Members)}
	return a.prune(ctx)
}
