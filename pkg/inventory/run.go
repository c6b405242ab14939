package inventory

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// RunOf judges the run of a live object. Where the status does not show whether the run has begun, it uses the pods and
// events: a Job's controller makes pods before it counts them, and may be interrupted in between. Such a run is under
// way when it has a pod, or has a start and no event says that its pods cannot be made.
func RunOf(ctx context.Context, c *cluster.Cluster, live *unstructured.Unstructured) health.Run {
	run := c.Judge().Run(live)
	selector := health.PodSelector(live)
	if run.State != health.Idle || !run.Starting || selector == "" {
		return run
	}
	begun, id := run.ID != "", manifest.IDOf(live)
	pods, err := c.List(ctx, health.Pod, id.Namespace, metav1.ListOptions{LabelSelector: selector})
	switch {
	case len(pods) > 0:
		run.State, run.Message = health.Running, "the job has started, and does not count its pods yet"
	case begun && (err != nil || !refusedPods(ctx, c, live)):
		run.State, run.Message = health.Running, "the job has started, and its first pod is awaited"
	}
	return run
}

// refusedPods reports whether an event says that the pods of an object cannot be made, such as for lack of quota.
func refusedPods(ctx context.Context, c *cluster.Cluster, live *unstructured.Unstructured) bool {
	events, err := c.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, live.GetNamespace(),
		metav1.ListOptions{FieldSelector: "reason=FailedCreate,involvedObject.uid=" + string(live.GetUID())})
	return err == nil && len(events) > 0
}
