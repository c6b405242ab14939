package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Revision is the kind in which a StatefulSet keeps its former templates.
var Revision = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ControllerRevision"}

var statefulSet = apps("StatefulSet")

var statefulSetKinds = []Kind{
	{GVK: statefulSet, health: rolloutHealth, images: inTemplate, traits: KeepsPods | RollsOut | OwnsPods},
}

// Revisions returns two revisions of a StatefulSet: the one by which it starts again the pods that its rollout has not
// reached, and the one of all other pods. They are equal where it starts all of its pods by its present template, and
// empty for other kinds.
func Revisions(obj *unstructured.Unstructured) (current, update string) {
	if kindOf(obj).Kind != statefulSet.Kind || text(obj, "spec", "updateStrategy", "type") == "OnDelete" {
		return "", ""
	}
	return text(obj, "status", "currentRevision"), text(obj, "status", "updateRevision")
}
