package apply

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// The maximum wait for a deleted object. Pods have half a minute to stop. The finalizer of another controller may take any
// time.
const (
	goneTimeout      = 45 * time.Second
	finalizerTimeout = 5 * time.Second
	gonePoll         = 100 * time.Millisecond
)

// ownFinalizers are the finalizers of Kubernetes' garbage collector, which removes them by itself.
var ownFinalizers = []string{metav1.FinalizerDeleteDependents, metav1.FinalizerOrphanDependents}

// replace deletes an object, waits until it is gone, and creates it again. If a finalizer that is not removed keeps the
// object, replace returns a heldError.
func (a *application) replace(ctx context.Context, id manifest.ID, s *plan.Step) (*unstructured.Unstructured, error) {
	live := s.Change.Live
	if live.GetDeletionTimestamp() == nil {
		propagation := metav1.DeletePropagationForeground
		if health.KindOf(id.GroupKind()).Is(health.KeepsPods) {
			propagation = metav1.DeletePropagationOrphan // its pods keep their data, and the new object adopts them
		}
		if err := a.beganMeanwhile(ctx, s); err != nil {
			return nil, err
		}
		err := a.cluster.Delete(ctx, live, propagation)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, answer.Explain(s.Rendered, id, "deleting, to create it again", err, live)
		}
	}
	if err := awaitGone(ctx, a.cluster, live); err != nil {
		return nil, err
	}
	applied, err := a.cluster.Write(ctx, s.Rendered, nil)
	return applied, answer.Explain(s.Rendered, id, "creating it again", err)
}

// awaitGone waits until an object is gone, or replaced by another of its name. The wait is shorter for an object that was
// being deleted already.
func awaitGone(ctx context.Context, c *cluster.Cluster, live *unstructured.Unstructured) error {
	id, last := manifest.IDOf(live), live
	timeout := goneTimeout
	if slices.ContainsFunc(live.GetFinalizers(), func(f string) bool { return !slices.Contains(ownFinalizers, f) }) {
		timeout = finalizerTimeout
	}
	if deleted := live.GetDeletionTimestamp(); deleted != nil {
		timeout -= cluster.Since(c, deleted.Time)
	}
	err := wait.PollUntilContextTimeout(ctx, gonePoll, max(timeout, gonePoll), true, func(ctx context.Context) (bool, error) {
		now, err := c.Get(ctx, id)
		if err != nil {
			return false, answer.Explain(live, id, "waiting until it is gone", err)
		}
		if now != nil {
			last = now
		}
		return now == nil || now.GetUID() != live.GetUID(), nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return &heldError{manifest.Held{
			Action: manifest.Replace, Reason: manifest.HeldTerminating, Message: plan.Terminating(last), For: []manifest.ID{id},
		}}
	}
	return err
}

// heldError says that a change must wait.
type heldError struct{ held manifest.Held }

func (e *heldError) Error() string { return e.held.Message }
