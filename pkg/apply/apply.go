package apply

import (
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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Applied is what an apply left behind.
type Applied struct {
	Changes   []manifest.Change // in the order of the plan, with the objects as the API server returned them
	Inventory []v1alpha1.InventoryEntry
	Live      Members
}

// Apply carries a plan out: first the record's spec, then the objects stage by stage, then the prunes. Objects of one
// stage do not wait for each other, and a failed one does not stop the rest of its stage; later stages and prunes need
// every earlier one. What was applied is in Applied also when the error is not nil.
func (c *Cluster) Apply(ctx context.Context, plan *Plan, spec v1alpha1.PipelineSyncSpec) (Applied, error) {
	req := plan.request
	a := &application{cluster: c, plan: plan, inventory: plan.inventory(), live: maps.Clone(plan.Members)}
	// A record that names the kinds of both the old and the new objects finds every member again, whenever the work
	// is interrupted.
	kinds := recordedKinds(req.Record)
	for _, obj := range req.Set {
		kinds = append(kinds, manifest.IDOf(obj).GroupKind())
	}
	if err := c.saveSpec(ctx, req.Target, spec, kinds); err != nil {
		return a.result(), err
	}
	err := a.run(ctx)
	return a.result(), err
}

type application struct {
	cluster   *Cluster
	plan      *Plan
	inventory map[manifest.Key]v1alpha1.InventoryEntry
	live      Members
}

func (a *application) run(ctx context.Context) error {
	byStage := make([][]step, stages)
	var prunes []step
	for _, s := range a.plan.steps {
		switch s.change.Action {
		case manifest.Create, manifest.Update:
			at := stageOf(s.change.ID)
			byStage[at] = append(byStage[at], s)
		case manifest.Prune:
			prunes = append(prunes, s)
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
	for at := workloads; at >= definitions; at-- {
		if err := a.prune(ctx, at, prunes); err != nil {
			return err
		}
	}
	return nil
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
		// The namespace or the kind was not there when the others were tried.
		live, err := get(ctx, resource, id)
		if err != nil {
			return nil, explain(s.rendered, id, "reading", err)
		}
		if err := a.cluster.refuseForeign(ctx, a.plan.request.Target, live); err != nil {
			return nil, err
		}
		if _, err := dryRun(ctx, resource, id, s.rendered); err != nil {
			return nil, explain(s.rendered, id, "trying", err)
		}
	}
	applied, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Apply(ctx, id.Name, s.rendered, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	})
	return applied, explain(s.rendered, id, "applying", err)
}

// record notes an applied object. It runs on one goroutine.
func (a *application) record(s step, applied *unstructured.Unstructured) {
	s.change.Want = applied
	id := s.change.ID
	a.live[id.Key()] = applied
	a.inventory[id.Key()] = newEntry(id, a.plan.hashes[id.Key()], applied)
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

func (a *application) served(crd *unstructured.Unstructured) bool {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	gk := schema.GroupKind{Group: group, Kind: kind}
	if _, err := a.cluster.kinds.mapper.RESTMapping(gk); err == nil {
		return true
	}
	a.cluster.kinds.refresh()
	_, err := a.cluster.kinds.mapper.RESTMapping(gk)
	return err == nil
}

// prune deletes the objects of one stage that git no longer has.
func (a *application) prune(ctx context.Context, at stage, prunes []step) error {
	var errs []error
	for _, s := range prunes {
		if stageOf(s.change.ID) != at {
			continue
		}
		if err := a.cluster.remove(ctx, a.plan.request.Target, s.change.Live); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(a.inventory, s.change.ID.Key())
		delete(a.live, s.change.ID.Key())
	}
	return joinSorted(errs)
}

// remove deletes a member of a target's own ApplySet, in the background. The label is judged on the object as it is
// now, and the delete asks for that very object: one that somebody took over or made anew stays.
func (c *Cluster) remove(ctx context.Context, target Target, member *unstructured.Unstructured) error {
	resource, id, err := c.resourceFor(manifest.IDOf(member))
	if meta.IsNoMatchError(err) {
		return nil // the kind is gone, and the object with it
	}
	if err != nil {
		return explain(member, id, "pruning", err)
	}
	live, err := get(ctx, resource, id)
	if err != nil {
		return explain(member, id, "pruning", err)
	}
	_, own := MemberLabel(c.namespace, target)
	if live == nil || live.GetLabels()[labelMember] != own || live.GetUID() != member.GetUID() || live.GetDeletionTimestamp() != nil {
		return nil
	}
	uid, version, background := types.UID(live.GetUID()), live.GetResourceVersion(), metav1.DeletePropagationBackground
	_, err = request(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, resource.Delete(ctx, id.Name, metav1.DeleteOptions{
			Preconditions:     &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
			PropagationPolicy: &background,
		})
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return explain(member, id, "pruning", rights(err, "delete", ""))
	}
	return nil
}

func (a *application) result() Applied {
	return Applied{Changes: a.plan.Changes, Inventory: sortedInventory(a.inventory), Live: a.live}
}

// Remove deletes every object of a target that is no longer in git, and then its record. The caller has judged that it
// may. Objects with prune disabled stay.
func (c *Cluster) Remove(ctx context.Context, plan *Plan) error {
	var errs []error
	for at := workloads; at >= definitions; at-- {
		for _, s := range plan.steps {
			if s.change.Action == manifest.Prune && stageOf(s.change.ID) == at {
				errs = append(errs, c.remove(ctx, plan.request.Target, s.change.Live))
			}
		}
	}
	if err := joinSorted(errs); err != nil {
		return err
	}
	return c.deleteRecord(ctx, plan.request.Target)
}
