package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// tektonKinds are those of Tekton Pipelines. A TaskRun runs in one pod, which shows what the run uses.
var tektonKinds = []Kind{
	{GVK: tekton("PipelineRun"), health: tektonHealth, runs: runs{judge: tektonRun, survives: []string{"spec.status", "spec.timeouts"}}, traits: Batch},
	{GVK: tekton("TaskRun"), health: tektonHealth, runs: runs{judge: tektonRun, survives: []string{"spec.status", "spec.timeout"}}},
}

func tekton(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "tekton.dev", Version: "v1", Kind: kind}
}

// tektonHealth reads the condition Succeeded, which is Unknown during a run.
func tektonHealth(obj *unstructured.Unstructured) Health {
	succeeded := condition(obj, "Succeeded")
	switch succeeded["status"] {
	case "True":
		return Health{Status: Healthy, Message: "the run is complete", Completed: true}
	case "False":
		return Health{Status: Failed, Message: "the run failed" + after(why(succeeded)), Completed: true}
	case "Unknown":
		if text(obj, "status", "startTime") != "" {
			return Health{Status: Healthy, Message: "the run is under way"}
		}
		return Health{Status: InProgress, Message: "the run has not started" + after(why(succeeded))}
	}
	return Health{Status: InProgress, Message: "the Tekton controller has not taken it up yet"}
}

func tektonRun(obj *unstructured.Unstructured) Run {
	verdict := tektonHealth(obj)
	run := Run{State: Idle, ID: text(obj, "status", "startTime"), Message: verdict.Message}
	switch {
	case verdict.Completed:
		run.State, run.Failed = Ended, verdict.Status == Failed
	case run.ID != "":
		run.State = Running
	}
	return run
}
