package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var job = schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}

var jobKinds = []Kind{
	{
		GVK:    job,
		health: jobHealth,
		runs: runs{
			judge: jobRun,
			// The API server refuses a change that a running Job would not survive.
			survives:  []string{"spec"},
			lifetime:  []string{"spec", "ttlSecondsAfterFinished"},
			succeeded: []string{"Completed"},
			// The Job controller reports the reason of the condition Failed.
			failed: []string{"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedIndexes", "MaxFailedIndexesExceeded"},
		},
		images: inTemplate,
		traits: Batch | Recreated | OwnsPods,
	},
	{
		GVK:    schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "CronJob"},
		health: cronJobHealth,
		runs:   runs{starts: job},
		images: images{podSpecs: []string{"spec.jobTemplate.spec.template.spec"}},
		traits: NeverRuns,
	},
}

// jobHealth takes a running Job for healthy: a backfill may run for hours, and its deployment is done when it runs.
func jobHealth(obj *unstructured.Unstructured) Health {
	switch {
	case isSet(obj, "Complete"):
		return Health{Status: Healthy, Message: "the job is complete", Completed: true}
	case isSet(obj, "Failed"):
		return Health{Status: Failed, Message: "the job failed" + after(why(condition(obj, "Failed"))), Completed: true}
	case isSet(obj, "Suspended"):
		return Health{Status: Healthy, Message: "the job is suspended"}
	case count(obj, "status", "active") > 0:
		return Health{Status: Healthy, Message: "the job is running"}
	}
	return Health{Status: InProgress, Message: "the job has not started a pod yet"}
}

// jobRun takes a Job for running while it has pods, or has had some and is not done. A Job that never got a pod, because
// of a quota, has nothing to lose. Its status does not tell it from a Job whose first pods are being created, since the
// controller creates pods before it counts them: such a run is Starting.
func jobRun(obj *unstructured.Unstructured) Run {
	verdict := jobHealth(obj)
	run := Run{State: Idle, ID: text(obj, "status", "startTime"), Message: verdict.Message}
	pods := int64(0)
	for _, phase := range []string{"active", "ready", "terminating", "succeeded", "failed"} {
		pods += count(obj, "status", phase)
	}
	switch {
	case verdict.Completed:
		run.State, run.Failed = Ended, verdict.Status == Failed
	case isSet(obj, "Suspended") && count(obj, "status", "active")+count(obj, "status", "terminating") == 0:
	case pods > 0 || isSet(obj, "SuccessCriteriaMet") || isSet(obj, "FailureTarget") || uncounted(obj):
		run.State = Running
	default:
		parallelism, found, _ := unstructured.NestedFieldNoCopy(obj.Object, "spec", "parallelism")
		run.Starting = !isTrue(obj, "spec", "suspend") && (!found || parallelism != int64(0))
	}
	return run
}

// uncounted reports whether pods have ended that the Job's controller has not counted yet.
func uncounted(obj *unstructured.Unstructured) bool {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "uncountedTerminatedPods")
	fields, _ := value.(map[string]any)
	return len(fields) > 0
}

// cronJobHealth takes an accepted CronJob for healthy: its object does not say how its runs end.
func cronJobHealth(obj *unstructured.Unstructured) Health {
	return schedule(isTrue(obj, "spec", "suspend"))
}

// schedule is the health of a schedule that its controller accepts.
func schedule(suspended bool) Health {
	if suspended {
		return Health{Status: Healthy, Message: "the schedule is suspended"}
	}
	return Health{Status: Healthy, Message: "the schedule is active"}
}
