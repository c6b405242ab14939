package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var claimKinds = []Kind{
	{GVK: schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, health: claimHealth, traits: NeverRuns},
}

// claimHealth takes a claim that is not bound for healthy: with WaitForFirstConsumer, the usual mode of a cloud's
// volumes, it is bound when the first pod uses it. The claim of a nightly job would be in progress all day.
func claimHealth(obj *unstructured.Unstructured) Health {
	switch phase := text(obj, "status", "phase"); phase {
	case "Lost":
		return Health{Status: Failed, Message: "its volume is lost"}
	case "Bound":
		return Health{Status: Healthy, Message: "the claim is bound"}
	}
	return Health{Status: Healthy, Message: "the claim waits for its first pod"}
}
