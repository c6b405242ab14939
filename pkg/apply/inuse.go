package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// keepInUse holds the prunes of objects that are still needed. It holds a schedule whose run goes on, and every object while
// a run of the target goes on unchanged. It holds objects that are used by batch work or by the old pods of a rollout, or
// that an unchanged object may use. It holds namespaces and kinds that contain objects which stay.
func (p *planner) keepInUse(ctx context.Context) error {
	if err := p.keepSchedules(ctx); err != nil {
		return err
	}
	running := p.undisturbed()
	users := map[string]*podUsers{} // by namespace
	for _, s := range p.plan.steps {
		if s.change.Action != manifest.Prune || holdsOthers(s.change.ID) {
			continue
		}
		unchanged, named := p.plan.stillNamed(s.change.ID)
		switch {
		case running != (manifest.ID{}):
			s.change.Hold(manifest.HeldInUse, fmt.Sprintf("%s runs and may need it", running), running)
		case named:
			s.change.Hold(manifest.HeldInUse, fmt.Sprintf("%s is not changed yet and needs it", unchanged), unchanged)
		case health.NamedByPods(s.change.ID.GroupKind()):
			err := p.keepForPods(ctx, s.change, users)
			if holdUnseen(s.change, err) {
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	// Kinds come before namespaces, and both after their contents: a held object holds its namespace and its kind.
	for _, kind := range []schema.GroupKind{manifest.CRDKind, manifest.NamespaceKind} {
		for _, s := range p.plan.steps {
			if s.change.Action != manifest.Prune || s.change.ID.GroupKind() != kind {
				continue
			}
			tenant, err := p.tenant(ctx, s.change.Live)
			if holdUnseen(s.change, err) {
				continue
			}
			if err != nil {
				return err
			}
			if tenant != (manifest.ID{}) {
				s.change.Hold(manifest.HeldInUse, fmt.Sprintf("%s would go with it", tenant), tenant)
			}
		}
	}
	return nil
}

// holdUnseen holds a deletion where the API server does not show which objects may need the object. The rest of the target
// does not wait for that.
func holdUnseen(change *manifest.Change, err error) bool {
	if !answer.IsOfObject(err) {
		return false
	}
	change.Hold(manifest.HeldInUse, fmt.Sprintf("it cannot be seen whether something needs it: %v", err))
	return true
}

// holdsOthers reports whether the deletion of an object deletes other objects too.
func holdsOthers(id manifest.ID) bool {
	return id.GroupKind() == manifest.NamespaceKind || id.GroupKind() == manifest.CRDKind
}

// keepSchedules holds the deletion of schedules whose runs go on.
func (p *planner) keepSchedules(ctx context.Context) error {
	for _, s := range p.plan.steps {
		change := s.change
		child, ok := health.KindOf(change.ID.GroupKind()).Starts()
		if !ok || change.Live == nil || change.Action != manifest.Prune && change.Action != manifest.Replace {
			continue
		}
		policy, err := p.plan.request.Rules.onRunning(cmp.Or(s.rendered, change.Live))
		if err != nil {
			return fmt.Errorf("%s: %w", change.ID, err)
		}
		if policy == v1alpha1.Replace {
			continue
		}
		runs, err := p.cluster.List(ctx, child, change.ID.Namespace, metav1.ListOptions{})
		if holdUnseen(change, err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for runs of %s: %w", change.ID, err)
		}
		for i := range runs {
			run := &runs[i]
			isOwner := func(ref metav1.OwnerReference) bool { return ref.UID == change.Live.GetUID() }
			if slices.ContainsFunc(run.GetOwnerReferences(), isOwner) && inventory.RunOf(ctx, p.cluster, run).State == health.Running {
				change.Hold(manifest.HeldRunning, fmt.Sprintf("its run %s goes on and would be deleted with it", manifest.IDOf(run)), manifest.IDOf(run))
				break
			}
		}
	}
	return nil
}

// undisturbed returns a run that the plan leaves as it is although git changed it.
func (p *planner) undisturbed() manifest.ID {
	for _, s := range p.plan.steps {
		if s.skipped || s.change.Held != nil && s.change.Held.Reason == manifest.HeldRunning {
			return s.change.ID
		}
	}
	return manifest.ID{}
}

// stillNamed finds an object of the set that stays as it is, for now or permanently, and that names an object which pods
// mount.
func (p *Plan) stillNamed(id manifest.ID) (manifest.ID, bool) {
	if !health.NamedByPods(id.GroupKind()) {
		return manifest.ID{}, false
	}
	for _, s := range p.steps {
		stays := s.rendered != nil && (s.change.Held != nil || s.left || s.uncompared != nil)
		if stays && s.change.Live != nil && s.change.ID.Namespace == id.Namespace && names(s.change.Live.Object, id.Name) {
			return s.change.ID, true
		}
	}
	return manifest.ID{}, false
}

// podUsers has the possible users, in one namespace, of objects that pods name: running batch objects and pods of workloads.
type podUsers struct {
	batch    []unstructured.Unstructured
	rollouts *rollouts
}

// keepForPods holds the prune of an object that a running batch object uses, or a pod of a workload from before its rollout.
// Old generations of settings must stay until the run that was started with them has ended: its executors and retries are
// new pods. The old pods of a service restart their containers when these end.
func (p *planner) keepForPods(ctx context.Context, change *manifest.Change, known map[string]*podUsers) error {
	id := change.ID
	users, ok := known[id.Namespace]
	if !ok {
		var err error
		if users, err = p.podUsers(ctx, id.Namespace); err != nil {
			return fmt.Errorf("looking whether something still uses %s: %w", id, err)
		}
		known[id.Namespace] = users
	}
	for i := range users.batch {
		user := &users.batch[i]
		isPod := user.GetKind() == health.Pod.Kind
		if isPod && health.PodUses(user, id) || !isPod && names(user.Object, id.Name) {
			user := manifest.IDOf(user)
			change.Hold(manifest.HeldInUse, fmt.Sprintf("%s needs it and is not part of %s", user, p.plan.request.Target), user)
			return nil
		}
	}
	if on, why := users.rollouts.user(id); why != "" {
		change.Hold(manifest.HeldInUse, why, on)
		change.Held.Rollout = true
	}
	return nil
}

func (p *planner) podUsers(ctx context.Context, namespace string) (*podUsers, error) {
	pods, err := p.cluster.List(ctx, health.Pod, namespace, metav1.ListOptions{})
	// An account without the right to list pods gives no such protection. This is no reason to block prunes permanently.
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	users := &podUsers{}
	if users.rollouts, err = p.rolloutsOf(ctx, namespace, pods); err != nil {
		return nil, err
	}
	users.batch = slices.DeleteFunc(slices.Clone(pods), func(pod unstructured.Unstructured) bool { return !health.PodRunsToEnd(&pod) })
	for _, kind := range health.KindsWith(health.Batch) {
		runs, err := p.cluster.List(ctx, kind.GVK, namespace, metav1.ListOptions{})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
		users.batch = append(users.batch, slices.DeleteFunc(runs, func(run unstructured.Unstructured) bool {
			return inventory.RunOf(ctx, p.cluster, &run).State != health.Running
		})...)
	}
	return users, nil
}

// names reports whether a run contains a name anywhere. The place of the templates differs by kind.
func names(run map[string]any, name string) bool {
	return slices.ContainsFunc(manifest.Leaves(run), func(f manifest.Field) bool { return f.Value == name })
}

// tenant finds an object that would be deleted with a namespace or a kind but has to stay: an object of this target that is
// not deleted in the same pass, an object in another record's inventory, a volume claim, or an object of the kind.
func (p *planner) tenant(ctx context.Context, doomed *unstructured.Unstructured) (manifest.ID, error) {
	for _, s := range p.plan.steps {
		if s.change.Action != manifest.Prune && isWithin(s.change.ID, doomed) && !(s.rendered == nil && s.change.Live.GetDeletionTimestamp() != nil) {
			return s.change.ID, nil
		}
	}
	if manifest.IDOf(doomed).GroupKind() == manifest.CRDKind {
		return p.objectOfKind(ctx, doomed)
	}
	namespace := doomed.GetName()
	records, err := p.cluster.Records().List(ctx)
	if err != nil {
		return manifest.ID{}, err
	}
	for _, record := range records {
		if record.Name == p.plan.request.Target.RecordName() {
			continue
		}
		for _, entry := range record.Status.Inventory {
			if entry.Namespace == namespace {
				return entry.ID(), nil
			}
		}
	}
	claims, err := p.cluster.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, namespace, metav1.ListOptions{})
	if err != nil {
		return manifest.ID{}, fmt.Errorf("looking what %s holds: %w", manifest.IDOf(doomed), err)
	}
	return p.stranger(claims), nil
}

// isWithin reports whether an object is deleted together with a namespace or a definition.
func isWithin(id manifest.ID, doomed *unstructured.Unstructured) bool {
	if manifest.IDOf(doomed).GroupKind() == manifest.NamespaceKind {
		return id.Namespace == doomed.GetName()
	}
	group, _, _ := unstructured.NestedString(doomed.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(doomed.Object, "spec", "names", "kind")
	return id.GroupKind() == schema.GroupKind{Group: group, Kind: kind}
}

func (p *planner) objectOfKind(ctx context.Context, crd *unstructured.Unstructured) (manifest.ID, error) {
	var gvk schema.GroupVersionKind
	gvk.Group, _, _ = unstructured.NestedString(crd.Object, "spec", "group")
	gvk.Kind, _, _ = unstructured.NestedString(crd.Object, "spec", "names", "kind")
	objects, err := p.cluster.List(ctx, gvk, metav1.NamespaceAll, metav1.ListOptions{})
	if err != nil {
		return manifest.ID{}, fmt.Errorf("looking for objects of %s: %w", manifest.IDOf(crd), err)
	}
	return p.stranger(objects), nil
}

// stranger returns the first object that is not a member of the target.
func (p *planner) stranger(objects []unstructured.Unstructured) manifest.ID {
	for i := range objects {
		if _, own := p.plan.Members[manifest.IDOf(&objects[i]).Key()]; !own {
			return manifest.IDOf(&objects[i])
		}
	}
	return manifest.ID{}
}
