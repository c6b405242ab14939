package health

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rayKinds are those of KubeRay.
var rayKinds = []Kind{
	{
		GVK:    ray("RayJob"),
		health: rayHealth,
		runs: runs{
			judge:    rayRun,
			survives: []string{"spec.suspend", "spec.activeDeadlineSeconds", "spec.ttlSecondsAfterFinished", "spec.shutdownAfterJobFinishes"},
		},
		images: rayImages("spec.rayClusterSpec", "spec.submitterPodTemplate.spec"),
		traits: Batch,
	},
	{GVK: ray("RayCluster"), images: rayImages("spec")},
	{GVK: ray("RayService"), images: rayImages("spec.rayClusterConfig")},
}

func ray(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "ray.io", Version: "v1", Kind: kind}
}

// rayHealth reads status.jobDeploymentStatus and jobStatus (KubeRay, ray-operator/apis/ray/v1 JobDeploymentStatus).
func rayHealth(obj *unstructured.Unstructured) Health {
	reason := after(cmp.Or(text(obj, "status", "message"), text(obj, "status", "reason")))
	state := text(obj, "status", "jobDeploymentStatus")
	switch {
	case state == "Failed" || state == "ValidationFailed" || state == "Complete" && text(obj, "status", "jobStatus") == "FAILED":
		return Health{Status: Failed, Message: "the job failed" + reason, Completed: true}
	case state == "Complete" && text(obj, "status", "jobStatus") == "STOPPED":
		return Health{Status: Failed, Message: "the job was stopped" + reason, Completed: true}
	case state == "Complete":
		return Health{Status: Healthy, Message: "the job is complete", Completed: true}
	case state == "Running" || state == "Suspending" || state == "Suspended":
		return Health{Status: Healthy, Message: "the job is " + state}
	case state == "":
		return Health{Status: InProgress, Message: "the Ray operator has not taken it up yet"}
	}
	return Health{Status: InProgress, Message: "the job is " + state + reason}
}

func rayRun(obj *unstructured.Unstructured) Run {
	verdict := rayHealth(obj)
	run := Run{State: Idle, ID: cmp.Or(text(obj, "status", "jobId"), text(obj, "status", "startTime")), Message: verdict.Message}
	switch state := text(obj, "status", "jobDeploymentStatus"); {
	case verdict.Completed:
		run.State, run.Failed = Ended, verdict.Status == Failed
	case state == "Running" || state == "Suspending":
		run.State = Running
	}
	return run
}

// rayImages are the image fields of KubeRay's RayClusterSpec, with further pod specs.
func rayImages(cluster string, podSpecs ...string) images {
	return images{
		fields:   []string{cluster + ".autoscalerOptions.image"},
		podSpecs: append([]string{cluster + ".headGroupSpec.template.spec", cluster + ".workerGroupSpecs[*].template.spec"}, podSpecs...),
	}
}
