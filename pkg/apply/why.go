package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Why says what keeps the pods of an object from running: the state of a container, a pod that cannot be scheduled, or
// the refusal to make one, such as by a quota. It is "" where the cluster does not tell, or may not be asked.
func (c *Cluster) Why(ctx context.Context, obj *unstructured.Unstructured) string {
	id := manifest.IDOf(obj)
	if !health.KindOf(id.GroupKind()).Is(health.OwnsPods) {
		return ""
	}
	if selector := podSelector(obj); selector != "" {
		pods, err := c.list(ctx, health.Pod, id.Namespace, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return "" // what is wrong with the object is said anyway
		}
		for i := range pods {
			if reason := podTrouble(&pods[i]); reason != "" {
				return reason
			}
		}
		if len(pods) > 0 {
			return ""
		}
	}
	return c.refusal(ctx, id)
}

func podSelector(obj *unstructured.Unstructured) string {
	labels, _, err := unstructured.NestedStringMap(obj.Object, "spec", "selector", "matchLabels")
	if err != nil || len(labels) == 0 {
		return ""
	}
	return metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})
}

// starting are the reasons for which every container waits for a moment.
var starting = []string{"", "ContainerCreating", "PodInitializing"}

// podTrouble says why a pod does not run.
func podTrouble(pod *unstructured.Unstructured) string {
	name := "Pod/" + pod.GetName()
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		list, _, _ := unstructured.NestedSlice(pod.Object, "status", field)
		for _, item := range list {
			container, _ := item.(map[string]any)
			if reason := containerTrouble(container); reason != "" {
				return fmt.Sprintf("%s: container %v %s", name, container["name"], reason)
			}
		}
	}
	conditions, _, _ := unstructured.NestedSlice(pod.Object, "status", "conditions")
	for _, item := range conditions {
		condition, _ := item.(map[string]any)
		if condition["type"] == "PodScheduled" && condition["status"] == "False" {
			return fmt.Sprintf("%s cannot be scheduled: %v", name, condition["message"])
		}
	}
	return ""
}

func containerTrouble(container map[string]any) string {
	waiting, _, _ := unstructured.NestedMap(container, "state", "waiting")
	if reason, _ := waiting["reason"].(string); !slices.Contains(starting, reason) {
		return strings.TrimSuffix(fmt.Sprintf("waits (%s): %s", reason, words(waiting["message"])), ": ")
	}
	for _, state := range []string{"state", "lastState"} {
		ended, found, _ := unstructured.NestedMap(container, state, "terminated")
		if code, _ := ended["exitCode"].(int64); found && code != 0 {
			return strings.TrimSuffix(fmt.Sprintf("exited with %d (%s): %s", code, words(ended["reason"]), words(ended["message"])), ": ")
		}
	}
	return ""
}

func words(value any) string {
	text, _ := value.(string)
	return strings.TrimSpace(text)
}

// refusal is the newest warning about an object that has no pods: its controller says there what forbids them.
func (c *Cluster) refusal(ctx context.Context, id manifest.ID) string {
	events, err := c.list(ctx, schema.GroupVersionKind{Version: "v1", Kind: "Event"}, id.Namespace,
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
