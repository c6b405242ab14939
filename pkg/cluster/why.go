package cluster

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Why names the reason why the pods of an object do not run: the state of a container, a pod that cannot be scheduled,
// or a refusal to create pods, such as by a quota. It is "" where the cluster gives no reason, or syncer may not ask.
func Why(ctx context.Context, c *Cluster, obj *unstructured.Unstructured) string {
	id := manifest.IDOf(obj)
	if !health.KindOf(id.GroupKind()).Is(health.OwnsPods) {
		return ""
	}
	if selector := health.PodSelector(obj); selector != "" {
		pods, err := c.List(ctx, health.Pod, id.Namespace, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return "" // the fault of the object is reported anyway
		}
		for i := range pods {
			if reason := health.PodTrouble(&pods[i]); reason != "" {
				return reason
			}
		}
		if len(pods) > 0 {
			return ""
		}
	}
	return refusal(ctx, c, id)
}

// refusal is the newest warning about an object that has no pods: in it the controller says what forbids the pods.
func refusal(ctx context.Context, c *Cluster, id manifest.ID) string {
	events, err := c.List(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, id.Namespace,
		metav1.ListOptions{FieldSelector: "type=Warning,involvedObject.kind=" + id.Kind + ",involvedObject.name=" + id.Name})
	if err != nil || len(events) == 0 {
		return ""
	}
	newest := slices.MaxFunc(events, func(a, b unstructured.Unstructured) int {
		return a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time)
	})
	message, _, _ := unstructured.NestedString(newest.Object, "message")
	return message
}
