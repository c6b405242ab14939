package apply

import (
	"context"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

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
