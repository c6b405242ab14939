package health

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// sparkHealth reads status.applicationState (Spark operator, api/v1beta2 ApplicationStateType).
func sparkHealth(obj *unstructured.Unstructured) Health {
	state := text(obj, "status", "applicationState", "state")
	reason := after(text(obj, "status", "applicationState", "errorMessage"))
	switch state {
	case "COMPLETED":
		return Health{Status: Healthy, Message: "the application is complete", Completed: true}
	case "FAILED":
		return Health{Status: Failed, Message: "the application failed" + reason, Completed: true}
	case "RUNNING", "SUCCEEDING", "SUSPENDED", "SUSPENDING", "RESUMING":
		return Health{Status: Healthy, Message: "the application is " + state}
	case "":
		return Health{Status: InProgress, Message: "the Spark operator has not taken it up yet"}
	}
	return Health{Status: InProgress, Message: "the application is " + state + reason}
}

// sparkRun takes an application for running while it has a driver, or may have one. Between two attempts it has none:
// there a change mends a job that would go on failing, and throws nothing away.
func sparkRun(obj *unstructured.Unstructured) Run {
	state := text(obj, "status", "applicationState", "state")
	run := Run{State: Idle, Message: "the application is " + cmp.Or(state, "not taken up yet")}
	run.ID = cmp.Or(text(obj, "status", "submissionID"), text(obj, "status", "lastSubmissionAttemptTime"))
	switch state {
	case "COMPLETED", "FAILED":
		run.State, run.Failed = Ended, state == "FAILED"
	case "SUBMITTED", "RUNNING", "SUCCEEDING", "SUSPENDING", "RESUMING", "UNKNOWN":
		run.State = Running
	}
	return run
}

// scheduledSparkHealth reads status.scheduleState (Spark operator, api/v1beta2 ScheduleState).
func scheduledSparkHealth(obj *unstructured.Unstructured) Health {
	if isTrue(obj, "spec", "suspend") {
		return schedule(true)
	}
	switch text(obj, "status", "scheduleState") {
	case "Scheduled", "Validating":
		return schedule(false)
	case "FailedValidation":
		return Health{Status: Failed, Message: "the Spark operator refuses the schedule" + after(text(obj, "status", "reason"))}
	}
	return Health{Status: InProgress, Message: "the Spark operator has not taken it up yet"}
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

// tektonHealth reads the condition Succeeded of a PipelineRun or TaskRun, which is Unknown while it runs.
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

// flinkJob tells a deployment that runs one job from a session cluster, which takes jobs from elsewhere.
func flinkJob(obj *unstructured.Unstructured) bool {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "job")
	return value != nil
}
