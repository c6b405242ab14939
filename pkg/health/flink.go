package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// flinkKinds are those of Apache Flink's operator.
var flinkKinds = []Kind{{
	GVK:    schema.GroupVersionKind{Group: "flink.apache.org", Version: "v1beta1", Kind: "FlinkDeployment"},
	health: flinkHealth,
	runs: runs{
		judge: flinkRun,
		// These fields ask the operator to stop, to restart or to save: a change of them is wanted during a run.
		survives: []string{"spec.job.state", "spec.restartNonce", "spec.job.savepointTriggerNonce", "spec.job.checkpointTriggerNonce"},
	},
	images: images{
		fields:   []string{"spec.image"},
		podSpecs: []string{"spec.podTemplate.spec", "spec.jobManager.podTemplate.spec", "spec.taskManager.podTemplate.spec"},
	},
	traits: Endless,
}}

// flinkHealth reads status.jobStatus.state (Flink's JobStatus) of a deployment in job mode, and the lifecycle state of
// a session cluster.
func flinkHealth(obj *unstructured.Unstructured) Health {
	reason := after(text(obj, "status", "error"))
	if !flinkJob(obj) {
		if text(obj, "status", "jobManagerDeploymentStatus") == "READY" {
			return Health{Status: Healthy, Message: "the session cluster is ready"}
		}
		return Health{Status: InProgress, Message: "the session cluster is not ready yet" + reason}
	}
	switch state := text(obj, "status", "jobStatus", "state"); state {
	case "RUNNING", "SUSPENDED":
		return Health{Status: Healthy, Message: "the job is " + state}
	case "FINISHED":
		return Health{Status: Healthy, Message: "the job is complete", Completed: true}
	case "FAILED", "CANCELED":
		return Health{Status: Failed, Message: "the job is " + state + reason, Completed: true}
	case "":
		return Health{Status: InProgress, Message: "the Flink operator has not taken it up yet" + reason}
	default:
		return Health{Status: InProgress, Message: "the job is " + state + reason}
	}
}

func flinkRun(obj *unstructured.Unstructured) Run {
	if !flinkJob(obj) {
		return Run{}
	}
	verdict := flinkHealth(obj)
	run := Run{State: Idle, ID: text(obj, "status", "jobStatus", "jobId"), Message: verdict.Message}
	switch text(obj, "status", "jobStatus", "state") {
	case "FINISHED", "FAILED", "CANCELED":
		run.State, run.Failed = Ended, verdict.Status == Failed
	case "RUNNING", "RESTARTING", "RECONCILING", "FAILING", "CANCELLING":
		run.State = Running
	}
	return run
}

// flinkJob tells a deployment that runs one job from a session cluster, which receives jobs from elsewhere.
func flinkJob(obj *unstructured.Unstructured) bool {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "job")
	return value != nil
}
