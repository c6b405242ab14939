package health

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Pod is the kind of pods.
var Pod = schema.GroupVersionKind{Version: "v1", Kind: "Pod"}

var podKinds = []Kind{
	{GVK: Pod, images: images{podSpecs: []string{"spec"}}, traits: Embedded},
	{GVK: schema.GroupVersionKind{Version: "v1", Kind: "PodTemplate"}, images: images{podSpecs: []string{"template.spec"}}, traits: Embedded},
}

// inPodSpec lists the image fields of a pod spec (k8s.io/api/core/v1, PodSpec).
var inPodSpec = []string{
	"initContainers[*].image",
	"containers[*].image",
	"ephemeralContainers[*].image",
	"volumes[*].image.reference",
}

// PodRun is the run of a Pod that is not restarted when it ends; the zero Run for another Pod and for another kind. Its
// replacement ends the run; other changes of a Pod do not, so that it is no run in the sense of Judge.Run.
func PodRun(obj *unstructured.Unstructured) Run {
	if kindOf(obj) != Pod.GroupKind() || text(obj, "status", "phase") != "Running" || !PodRunsToEnd(obj) {
		return Run{}
	}
	return Run{State: Running, ID: string(obj.GetUID()), Message: "the pod is running"}
}

// PodRunsToEnd reports whether a pod that has not ended is not restarted when it ends.
func PodRunsToEnd(pod *unstructured.Unstructured) bool {
	return !PodEnded(pod) && text(pod, "spec", "restartPolicy") != "Always" && pod.GetDeletionTimestamp() == nil
}

// PodEnded reports whether all containers of a pod have ended. A pod that is being deleted runs until it is gone.
func PodEnded(pod *unstructured.Unstructured) bool {
	phase := text(pod, "status", "phase")
	return phase == "Succeeded" || phase == "Failed"
}

// named lists the fields in which a pod names an object that it needs to start, by the kind of the object
// (k8s.io/api/core/v1, PodSpec).
var named = map[schema.GroupKind][]manifest.Path{
	{Kind: "ConfigMap"}: paths(
		"spec.volumes[*].configMap.name", "spec.volumes[*].projected.sources[*].configMap.name",
		"spec.containers[*].env[*].valueFrom.configMapKeyRef.name", "spec.containers[*].envFrom[*].configMapRef.name",
		"spec.initContainers[*].env[*].valueFrom.configMapKeyRef.name", "spec.initContainers[*].envFrom[*].configMapRef.name",
	),
	{Kind: "Secret"}: paths(
		"spec.volumes[*].secret.secretName", "spec.volumes[*].projected.sources[*].secret.name", "spec.imagePullSecrets[*].name",
		"spec.containers[*].env[*].valueFrom.secretKeyRef.name", "spec.containers[*].envFrom[*].secretRef.name",
		"spec.initContainers[*].env[*].valueFrom.secretKeyRef.name", "spec.initContainers[*].envFrom[*].secretRef.name",
		"spec.volumes[*].csi.nodePublishSecretRef.name", "spec.volumes[*].flexVolume.secretRef.name", "spec.volumes[*].azureFile.secretName",
		"spec.volumes[*].cephfs.secretRef.name", "spec.volumes[*].rbd.secretRef.name", "spec.volumes[*].iscsi.secretRef.name",
	),
	{Kind: "ServiceAccount"}:        paths("spec.serviceAccountName"),
	{Kind: "PersistentVolumeClaim"}: paths("spec.volumes[*].persistentVolumeClaim.claimName"),
}

// paths reads patterns that are constants of this package.
func paths(texts ...string) []manifest.Path {
	patterns := make([]manifest.Path, len(texts))
	for i, text := range texts {
		var err error
		if patterns[i], err = manifest.ParsePath(text); err != nil {
			panic(err) // a mistake in a constant, which every test of this package would meet
		}
	}
	return patterns
}

// NamedByPods reports whether pods name objects of a kind, and cannot start, or start again, without them.
func NamedByPods(kind schema.GroupKind) bool { return named[kind] != nil }

// PodUses reports whether a pod names an object that it needs to start.
func PodUses(pod *unstructured.Unstructured, id manifest.ID) bool {
	return slices.ContainsFunc(named[id.GroupKind()], func(pattern manifest.Path) bool {
		return slices.ContainsFunc(manifest.Find(pod.Object, pattern), func(f manifest.Field) bool { return f.Value == id.Name })
	})
}

// starting lists the reasons for which every container waits for a moment.
var starting = []string{"", "ContainerCreating", "PodInitializing"}

// PodTrouble says why a pod does not run: the state of a container, or that the pod cannot be scheduled. It is "" where
// the pod does not say so.
func PodTrouble(pod *unstructured.Unstructured) string {
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
	if scheduled := condition(pod, "PodScheduled"); scheduled["status"] == "False" {
		return fmt.Sprintf("%s cannot be scheduled: %v", name, scheduled["message"])
	}
	return ""
}

func containerTrouble(container map[string]any) string {
	waiting, _, _ := unstructured.NestedMap(container, "state", "waiting")
	if reason, _ := waiting["reason"].(string); !slices.Contains(starting, reason) {
		return "waits (" + reason + ")" + after(words(waiting["message"]))
	}
	for _, state := range []string{"state", "lastState"} {
		ended, found, _ := unstructured.NestedMap(container, state, "terminated")
		if code, _ := ended["exitCode"].(int64); found && code != 0 {
			return fmt.Sprintf("exited with %d (%s)", code, words(ended["reason"])) + after(words(ended["message"]))
		}
	}
	return ""
}

func words(value any) string {
	text, _ := value.(string)
	return strings.TrimSpace(text)
}
