package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
