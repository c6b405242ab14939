package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// mayReplace reports whether an object may be deleted and created again if the API server refuses to change it. A Job may:
// its template cannot be changed in any other way.
func mayReplace(obj *unstructured.Unstructured) bool {
	kind := manifest.IDOf(obj).GroupKind()
	if slices.Contains(manifest.Irreplaceable, kind) {
		return false
	}
	return health.KindOf(kind).Is(health.Recreated) || obj.GetAnnotations()[v1alpha1.AnnotationForce] == v1alpha1.Enabled
}

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
func (a *application) replace(ctx context.Context, id manifest.ID, s *step) (*unstructured.Unstructured, error) {
	live := s.change.Live
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
			return nil, answer.Explain(s.rendered, id, "deleting, to create it again", err, live)
		}
	}
	if err := awaitGone(ctx, a.cluster, live); err != nil {
		return nil, err
	}
	applied, err := a.cluster.Write(ctx, s.rendered, nil)
	return applied, answer.Explain(s.rendered, id, "creating it again", err)
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
			Action: manifest.Replace, Reason: manifest.HeldTerminating, Message: terminating(last), For: []manifest.ID{id},
		}}
	}
	return err
}

// terminating describes the wait of an object that is being deleted.
func terminating(obj *unstructured.Unstructured) string {
	text := fmt.Sprintf("%s is being deleted", manifest.IDOf(obj))
	if deleted := obj.GetDeletionTimestamp(); deleted != nil {
		text += " since " + deleted.UTC().Format(time.RFC3339)
	}
	if finalizers := obj.GetFinalizers(); len(finalizers) > 0 {
		text += " and waits for its finalizers " + strings.Join(finalizers, ", ")
	}
	return text
}

// heldError says that a change must wait.
type heldError struct{ held manifest.Held }

func (e *heldError) Error() string { return e.held.Message }
