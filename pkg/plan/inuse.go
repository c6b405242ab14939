package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// cannotSee returns the verdict where the API server does not show which objects may need an object that is to be deleted. Its
// change waits; the rest of the target does not.
func cannotSee(err error) (Verdict, bool) {
	if !answer.IsOfObject(err) {
		return Verdict{}, false
	}
	return held(manifest.HeldInUse, fmt.Sprintf("it cannot be seen whether something needs it: %v", err)), true
}

// startsRuns holds the deletion of a schedule whose run goes on.
func startsRuns(ctx context.Context, w *waiting, s *Step) (Verdict, error) {
	change, c := s.Change, w.plan.comparer
	child, ok := health.KindOf(change.ID.GroupKind()).Starts()
	if !ok || change.Live == nil || change.Action != manifest.Prune && change.Action != manifest.Replace {
		return Verdict{}, nil
	}
	policy, err := c.request.Policies.ForRunning(cmp.Or(s.Rendered, change.Live))
	if err != nil {
		return Verdict{}, fmt.Errorf("%s: %w", change.ID, err)
	}
	if policy == v1alpha1.Replace {
		return Verdict{}, nil
	}
	runs, err := c.cluster.List(ctx, child, change.ID.Namespace, metav1.ListOptions{})
	if verdict, is := cannotSee(err); is {
		return verdict, nil
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("looking for runs of %s: %w", change.ID, err)
	}
	for i := range runs {
		run := &runs[i]
		isOwner := func(ref metav1.OwnerReference) bool { return ref.UID == change.Live.GetUID() }
		if slices.ContainsFunc(run.GetOwnerReferences(), isOwner) && inventory.RunOf(ctx, c.cluster, run).State == health.Running {
			return held(manifest.HeldRunning, fmt.Sprintf("its run %s goes on and would be deleted with it", manifest.IDOf(run)), manifest.IDOf(run)), nil
		}
	}
	return Verdict{}, nil
}

// isPruned reports whether a step deletes an object that holds no others.
func isPruned(s *Step) bool {
	return s.Change.Action == manifest.Prune && s.Change.ID.GroupKind() != manifest.NamespaceKind && s.Change.ID.GroupKind() != manifest.CRDKind
}

// inUseByRun holds every prune while a run of the target goes on that git has changed.
func inUseByRun(_ context.Context, w *waiting, s *Step) (Verdict, error) {
	if !isPruned(s) {
		return Verdict{}, nil
	}
	for _, other := range w.plan.steps {
		if other.State == NextRun || other.Change.Held != nil && other.Change.Held.Reason == manifest.HeldRunning {
			id := other.Change.ID
			return held(manifest.HeldInUse, fmt.Sprintf("%s runs and may need it", id), id), nil
		}
	}
	return Verdict{}, nil
}

// inUseByUnchanged holds the prune of an object that an object of git names which stays as it is.
func inUseByUnchanged(_ context.Context, w *waiting, s *Step) (Verdict, error) {
	if !isPruned(s) {
		return Verdict{}, nil
	}
	return Verdict{Held: StillNamed(s.Change.ID, w.plan.steps)}, nil
}

// StillNamed returns the reason why the prune of an object waits that an object of git names: that object stays as it is, for
// now or permanently. It returns nil if there is none.
func StillNamed(id manifest.ID, steps []*Step) *manifest.Held {
	if !health.NamedByPods(id.GroupKind()) {
		return nil
	}
	for _, s := range steps {
		stays := s.Rendered != nil && (s.Change.Held != nil || s.Stays() || s.IsUncompared())
		if stays && s.Change.Live != nil && s.Change.ID.Namespace == id.Namespace && names(s.Change.Live.Object, id.Name) {
			return held(manifest.HeldInUse, fmt.Sprintf("%s is not changed yet and needs it", s.Change.ID), s.Change.ID).Held
		}
	}
	return nil
}

// podUsers has the possible users, in one namespace, of objects that pods name: running batch objects and pods of workloads.
type podUsers struct {
	batch    []unstructured.Unstructured
	rollouts *rollouts
}

// inUseByPods holds the prune of an object that a running batch object uses, or a pod of a workload from before its rollout.
// Old generations of settings must stay until the run that was started with them has ended: its executors and retries are
// new pods. The old pods of a service restart their containers when these end.
func inUseByPods(ctx context.Context, w *waiting, s *Step) (Verdict, error) {
	id := s.Change.ID
	if !isPruned(s) || !health.NamedByPods(id.GroupKind()) {
		return Verdict{}, nil
	}
	users, ok := w.users[id.Namespace]
	if !ok {
		var err error
		if users, err = w.podUsers(ctx, id.Namespace); err != nil {
			err = fmt.Errorf("looking whether something still uses %s: %w", id, err)
			if verdict, is := cannotSee(err); is {
				return verdict, nil
			}
			return Verdict{}, err
		}
		w.users[id.Namespace] = users
	}
	for i := range users.batch {
		user := &users.batch[i]
		isPod := user.GetKind() == health.Pod.Kind
		if isPod && health.PodUses(user, id) || !isPod && names(user.Object, id.Name) {
			user := manifest.IDOf(user)
			return held(manifest.HeldInUse, fmt.Sprintf("%s needs it and is not part of %s", user, w.plan.comparer.request.Target), user), nil
		}
	}
	if on, why := users.rollouts.user(id); why != "" {
		verdict := held(manifest.HeldInUse, why, on)
		verdict.Held.Rollout = true
		return verdict, nil
	}
	return Verdict{}, nil
}

func (w *waiting) podUsers(ctx context.Context, namespace string) (*podUsers, error) {
	c := w.plan.comparer
	pods, err := c.cluster.List(ctx, health.Pod, namespace, metav1.ListOptions{})
	// An account without the right to list pods gives no such protection. This is no reason to block prunes permanently.
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	users := &podUsers{}
	if users.rollouts, err = w.rolloutsOf(ctx, namespace, pods); err != nil {
		return nil, err
	}
	users.batch = slices.DeleteFunc(slices.Clone(pods), func(pod unstructured.Unstructured) bool { return !health.PodRunsToEnd(&pod) })
	for _, kind := range health.KindsWith(health.Batch) {
		runs, err := c.cluster.List(ctx, kind.GVK, namespace, metav1.ListOptions{})
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
		users.batch = append(users.batch, slices.DeleteFunc(runs, func(run unstructured.Unstructured) bool {
			return inventory.RunOf(ctx, c.cluster, &run).State != health.Running
		})...)
	}
	return users, nil
}

// names reports whether a run contains a name anywhere. The place of the templates differs by kind.
func names(run map[string]any, name string) bool {
	return slices.ContainsFunc(manifest.Leaves(run), func(f manifest.Field) bool { return f.Value == name })
}
