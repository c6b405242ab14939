package plan

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// rollouts has the pods that Deployments, StatefulSets and DaemonSets of one namespace run or may start again. The templates
// of these pods may be older than the present templates of the workloads.
type rollouts struct {
	plan   *Plan
	users  []rolloutUser
	owners map[types.UID]*rollout
}

// rollout is a workload with its template as it will be after the plan.
type rollout struct {
	live *unstructured.Unstructured
	next *unstructured.Unstructured
	done bool // the workload runs its present template, and the plan does not change it
}

// rolloutUser is a pod, or the pod template, of a workload.
type rolloutUser struct {
	id    manifest.ID
	pod   *unstructured.Unstructured // for a template, only its spec is filled in
	owner types.UID
}

// rolloutsOf collects the rollouts of a namespace from its pods. Kinds that the account may not list give no protection.
func (w *waiting) rolloutsOf(ctx context.Context, namespace string, pods []unstructured.Unstructured) (*rollouts, error) {
	r := &rollouts{plan: w.plan, owners: map[types.UID]*rollout{}}
	list := func(kind schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
		objects, err := w.plan.comparer.cluster.List(ctx, kind, namespace, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			return nil, nil
		}
		return objects, err
	}
	sets, err := list(health.ReplicaSet)
	if err != nil {
		return nil, err
	}
	workloads := map[types.UID]metav1.OwnerReference{}
	for i := range sets {
		set := &sets[i]
		if owner := metav1.GetControllerOf(set); owner != nil {
			workloads[set.GetUID()] = *owner
			if health.HasReplicas(set) {
				r.add(manifest.IDOf(set), set.Object, *owner)
			}
		}
	}
	for i := range pods {
		pod := &pods[i]
		owner := metav1.GetControllerOf(pod)
		if owner == nil || health.PodEnded(pod) {
			continue
		}
		if workload, ok := workloads[owner.UID]; ok {
			owner = &workload
		}
		r.users = append(r.users, rolloutUser{manifest.IDOf(pod), pod, owner.UID})
		workloads[owner.UID] = *owner
	}
	for _, owner := range workloads {
		if err := r.own(ctx, namespace, owner); err != nil {
			return nil, err
		}
	}
	for _, s := range w.plan.steps {
		// The plan changes the template, also if no pod of the old template exists at this moment.
		if live := s.Change.Live; live != nil && s.Change.ID.Namespace == namespace && health.KindOf(s.Change.ID.GroupKind()).Is(health.RollsOut) {
			owner := metav1.OwnerReference{APIVersion: live.GetAPIVersion(), Kind: live.GetKind(), Name: live.GetName(), UID: live.GetUID()}
			if err := r.own(ctx, namespace, owner); err != nil {
				return nil, err
			}
			if known := r.owners[owner.UID]; known != nil && !known.done && health.HasReplicas(live) {
				r.add(s.Change.ID, live.Object, owner)
			}
		}
	}
	return r, r.addRevisions(list)
}

// own looks up a workload, first in the plan and then in the cluster. It ignores a workload that the plan deletes or that is
// being deleted: its pods are deleted with it.
func (r *rollouts) own(ctx context.Context, namespace string, ref metav1.OwnerReference) error {
	id := manifest.ID{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: namespace, Name: ref.Name}
	if _, known := r.owners[ref.UID]; known || !health.KindOf(id.GroupKind()).Is(health.RollsOut) {
		return nil
	}
	r.owners[ref.UID] = nil
	var found rollout
	for _, s := range r.plan.steps {
		if s.Change.ID.Key() != id.Key() || s.Change.Live == nil {
			continue
		}
		found = rollout{live: s.Change.Live, next: s.Change.Live, done: true}
		switch s.Change.Action {
		case manifest.Prune:
			return nil
		case manifest.Update, manifest.Replace:
			found.next, found.done = s.Change.Want, !changesPods(s)
		}
	}
	if found.live == nil {
		live, err := cluster.Read(ctx, r.plan.comparer.cluster, id)
		if err != nil && !apierrors.IsForbidden(err) {
			return err
		}
		found = rollout{live: live, next: live, done: true}
	}
	if found.live != nil && found.live.GetUID() == ref.UID && found.live.GetDeletionTimestamp() == nil {
		found.done = found.done && health.RolledOut(found.live)
		r.owners[ref.UID] = &found
	}
	return nil
}

// changesPods reports whether a change of a workload replaces its pods.
func changesPods(s *Step) bool {
	if s.State == Deferred || s.Change.Action == manifest.Replace {
		return true
	}
	template := manifest.Path{{Name: "spec"}, {Name: "template"}}
	return slices.ContainsFunc(s.Change.Fields, func(f manifest.FieldChange) bool {
		path, err := manifest.ParsePath(f.Path)
		return err != nil || path.Under(template)
	})
}

// add notes the template of an object for a pod that may be started.
func (r *rollouts) add(id manifest.ID, obj map[string]any, owner metav1.OwnerReference) {
	r.users = append(r.users, rolloutUser{id, podOf(obj), owner.UID})
}

// podOf returns a pod as the template of a workload describes it.
func podOf(obj map[string]any) *unstructured.Unstructured {
	template, _, _ := unstructured.NestedMap(obj, "spec", "template", "spec")
	return &unstructured.Unstructured{Object: map[string]any{"spec": template}}
}

// addRevisions adds the old templates of StatefulSets. A StatefulSet restarts a pod with its old template until the rollout
// reaches the pod.
func (r *rollouts) addRevisions(list func(schema.GroupVersionKind) ([]unstructured.Unstructured, error)) error {
	old := map[string]*unstructured.Unstructured{}
	for _, owner := range r.owners {
		if owner == nil {
			continue
		}
		if revision, update := health.Revisions(owner.live); revision != update && health.HasReplicas(owner.live) {
			old[revision] = owner.live
		}
	}
	if len(old) == 0 {
		return nil
	}
	revisions, err := list(health.Revision)
	for i := range revisions {
		owner := metav1.GetControllerOf(&revisions[i])
		set := old[revisions[i].GetName()]
		data, _, _ := unstructured.NestedMap(revisions[i].Object, "data")
		if owner != nil && set != nil && owner.UID == set.GetUID() {
			r.add(manifest.IDOf(set), data, *owner)
		}
	}
	return err
}

// user finds an old pod that uses an object. The pod is old if its workload is not rolled out, or is rolled out and does not
// use the object any more. user returns the object to wait for.
func (r *rollouts) user(id manifest.ID) (on manifest.ID, why string) {
	for _, user := range r.users {
		owner := r.owners[user.owner]
		if owner == nil || !health.PodUses(user.pod, id) {
			continue
		}
		workload := manifest.IDOf(owner.live)
		switch {
		case !owner.done:
			return workload, fmt.Sprintf("%s is not rolled out yet, and its pods use it", workload)
		case !health.PodUses(podOf(owner.next.Object), id):
			return user.id, fmt.Sprintf("%s of %s uses it and is not gone yet", user.id, workload)
		}
	}
	return manifest.ID{}, ""
}
