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

// Why says what keeps the pods of an object from running: the state of a container, a pod that cannot be scheduled, or
// the refusal to make one, such as by a quota. It is "" where the cluster does not tell, or may not be asked.
func Why(ctx context.Context, c *Cluster, obj *unstructured.Unstructured) string {
	id := manifest.IDOf(obj)
	if !health.KindOf(id.GroupKind()).Is(health.OwnsPods) {
		return ""
	}
	if selector := health.PodSelector(obj); selector != "" {
		pods, err := c.List(ctx, health.Pod, id.Namespace, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return "" // what is wrong with the object is said anyway
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

// refusal is the newest warning about an object that has no pods: its controller says there what forbids them.
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
