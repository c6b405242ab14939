package health

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var sparkApplication = schema.GroupVersionKind{Group: "sparkoperator.k8s.io", Version: "v1beta2", Kind: "SparkApplication"}

// sparkKinds are those of the Spark operator (sparkoperator.k8s.io) and of Apache's own operator (spark.apache.org).
var sparkKinds = []Kind{
	{
		GVK:    sparkApplication,
		health: sparkHealth,
		runs: runs{
			judge: sparkRun,
			// The operator compares the specs without these two fields, and never the metadata (Spark operator 2.x,
			// internal/controller/sparkapplication/event_filter.go, EventFilter.Update).
			survives:  []string{"spec.suspend", "spec.timeToLiveSeconds"},
			lifetime:  []string{"spec", "timeToLiveSeconds"},
			succeeded: []string{"SparkApplicationCompleted"},
			failed:    []string{"SparkApplicationFailed"},
		},
		images: sparkImages("spec"),
		traits: Batch | Embedded,
	},
	{
		GVK:    schema.GroupVersionKind{Group: "sparkoperator.k8s.io", Version: "v1beta2", Kind: "ScheduledSparkApplication"},
		health: scheduledSparkHealth,
		runs:   runs{starts: sparkApplication},
		images: sparkImages("spec.template"),
		traits: Embedded,
	},
	{
		GVK: schema.GroupVersionKind{Group: "sparkoperator.k8s.io", Version: "v1alpha1", Kind: "SparkConnect"},
		images: images{
			fields:   slices.Concat([]string{"spec.image"}, sparkConf("spec")),
			podSpecs: []string{"spec.server.template.spec", "spec.executor.template.spec"},
		},
	},
	{
		GVK: schema.GroupVersionKind{Group: "spark.apache.org", Version: "v1", Kind: "SparkApplication"},
		images: images{
			fields:   sparkConf("spec"),
			podSpecs: []string{"spec.driverSpec.podTemplateSpec.spec", "spec.executorSpec.podTemplateSpec.spec"},
		},
	},
	{
		GVK:    schema.GroupVersionKind{Group: "spark.apache.org", Version: "v1", Kind: "SparkCluster"},
		images: images{fields: sparkConf("spec")},
	},
}

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
// there a change fixes a job that would fail again, and throws nothing away.
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

// sparkImages are the image fields of the Spark operator's v1beta2 SparkApplicationSpec.
func sparkImages(spec string) images {
	in := images{fields: []string{spec + ".image", spec + ".volumes[*].image.reference"}}
	for _, role := range []string{"driver", "executor"} {
		in.podSpecs = append(in.podSpecs, spec+"."+role+".template.spec")
		for _, field := range []string{"image", "initContainers[*].image", "sidecars[*].image"} {
			in.fields = append(in.fields, spec+"."+role+"."+field)
		}
	}
	in.fields = append(in.fields, sparkConf(spec)...)
	return in
}

// sparkConf lists the settings by which Spark itself starts pods.
func sparkConf(spec string) []string {
	return []string{
		spec + `.sparkConf["spark.kubernetes.container.image"]`,
		spec + `.sparkConf["spark.kubernetes.driver.container.image"]`,
		spec + `.sparkConf["spark.kubernetes.executor.container.image"]`,
	}
}
