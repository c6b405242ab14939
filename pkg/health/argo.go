package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var workflow = argo("Workflow")

// argoKinds are those of Argo Workflows.
var argoKinds = []Kind{
	{
		GVK:    workflow,
		health: workflowHealth,
		runs: runs{
			judge:     workflowRun,
			survives:  []string{"spec.suspend", "spec.shutdown", "spec.activeDeadlineSeconds", "spec.ttlStrategy"},
			lifetime:  []string{"spec", "ttlStrategy"},
			succeeded: []string{"WorkflowSucceeded"},
			failed:    []string{"WorkflowFailed", "WorkflowTimedOut"},
		},
		images: workflowImages("spec"),
		traits: Batch,
	},
	{GVK: argo("CronWorkflow"), health: cronWorkflowHealth, runs: runs{starts: workflow}, images: workflowImages("spec.workflowSpec")},
	{GVK: argo("WorkflowTemplate"), images: workflowImages("spec")},
	{GVK: argo("ClusterWorkflowTemplate"), images: workflowImages("spec")},
}

func argo(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: kind}
}

// workflowHealth reads status.phase (Argo Workflows, pkg/apis/workflow/v1alpha1 WorkflowPhase).
func workflowHealth(obj *unstructured.Unstructured) Health {
	message := after(text(obj, "status", "message"))
	switch phase := text(obj, "status", "phase"); phase {
	case "Succeeded":
		return Health{Status: Healthy, Message: "the workflow is complete", Completed: true}
	case "Failed", "Error":
		return Health{Status: Failed, Message: "the workflow ended with " + phase + message, Completed: true}
	case "Running":
		return Health{Status: Healthy, Message: "the workflow is running" + message}
	case "Pending":
		return Health{Status: InProgress, Message: "the workflow is pending" + message}
	}
	return Health{Status: InProgress, Message: "the workflow controller has not taken it up yet"}
}

func workflowRun(obj *unstructured.Unstructured) Run {
	verdict := workflowHealth(obj)
	run := Run{State: Idle, ID: text(obj, "status", "startedAt"), Message: verdict.Message}
	switch {
	case verdict.Completed:
		run.State, run.Failed = Ended, verdict.Status == Failed
	case text(obj, "status", "phase") == "Running":
		run.State = Running
	}
	return run
}

// cronWorkflowHealth reads the condition by which the controller refuses a schedule.
func cronWorkflowHealth(obj *unstructured.Unstructured) Health {
	if isSet(obj, "SpecError") {
		return Health{Status: Failed, Message: "the workflow controller refuses the schedule" + after(why(condition(obj, "SpecError")))}
	}
	return schedule(isTrue(obj, "spec", "suspend"))
}

// workflowImages are the image fields of Argo Workflows' WorkflowSpec.
func workflowImages(spec string) images {
	var in images
	for _, template := range []string{"templates[*]", "templateDefaults", "templates[*].steps[*][*].inline", "templates[*].dag.tasks[*].inline"} {
		for _, field := range []string{"container.image", "script.image", "initContainers[*].image", "sidecars[*].image", "containerSet.containers[*].image", "volumes[*].image.reference"} {
			in.fields = append(in.fields, spec+"."+template+"."+field)
		}
	}
	in.fields = append(in.fields, spec+".volumes[*].image.reference")
	return in
}
