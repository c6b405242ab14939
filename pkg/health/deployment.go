package health

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ReplicaSet is the kind by which a Deployment runs the pods of one template.
var ReplicaSet = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ReplicaSet"}

// inTemplate is the pod spec of the kinds that run copies of one pod.
var inTemplate = images{podSpecs: []string{"spec.template.spec"}}

var deploymentKinds = []Kind{
	{GVK: schema.GroupVersionKind{Version: "v1", Kind: "ReplicationController"}, images: inTemplate},
	{GVK: apps("Deployment"), health: rolloutHealth, images: inTemplate, traits: RollsOut | OwnsPods | NeverRuns},
	{GVK: ReplicaSet, health: rolloutHealth, images: inTemplate, traits: OwnsPods},
	{GVK: apps("DaemonSet"), images: inTemplate, traits: RollsOut | OwnsPods},
}

func apps(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind}
}

// rolloutHealth adds to the verdict of kstatus why a controller cannot create its pods, such as a quota. kstatus does not
// read that condition.
func rolloutHealth(obj *unstructured.Unstructured) Health {
	verdict := generic(obj)
	if refused := condition(obj, "ReplicaFailure"); verdict.Status != Healthy && refused["status"] == "True" {
		verdict.Status = Failed
		verdict.Message = fmt.Sprintf("its pods cannot be created%s", after(why(refused)))
	}
	return verdict
}

// RolledOut reports whether a Deployment, StatefulSet or DaemonSet runs its present template in all of its pods, and these
// are ready. Old pods may still be ending. A StatefulSet whose partition keeps old pods is not rolled out.
func RolledOut(obj *unstructured.Unstructured) bool {
	revision, update := Revisions(obj)
	return generic(obj).Status == Healthy && revision == update
}

// HasReplicas reports whether a workload has pods, or creates some.
func HasReplicas(obj *unstructured.Unstructured) bool {
	wanted, set, _ := unstructured.NestedInt64(obj.Object, "spec", "replicas")
	running, _, _ := unstructured.NestedInt64(obj.Object, "status", "replicas")
	return !set || wanted > 0 || running > 0
}
