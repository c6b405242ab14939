package health

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// jobHealth takes a running Job for healthy: a backfill may run for hours, and a deployment of it is done when it runs.
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

// jobRun takes a Job for running while it has pods, or has had some and is not done. One that never got a pod, for want
// of quota, has nothing to lose; its status does not tell it from one whose first pods are being made, since the controller
// makes them before it counts them.
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

func isSet(obj *unstructured.Unstructured, kind string) bool {
	return condition(obj, kind)["status"] == "True"
}

// cronJobHealth takes an accepted CronJob for healthy: its object does not tell how its runs end.
func cronJobHealth(obj *unstructured.Unstructured) Health {
	return schedule(isTrue(obj, "spec", "suspend"))
}

func schedule(suspended bool) Health {
	if suspended {
		return Health{Status: Healthy, Message: "the schedule is suspended"}
	}
	return Health{Status: Healthy, Message: "the schedule is active"}
}

// claimHealth takes a claim that is not bound for healthy: with WaitForFirstConsumer, the usual mode of a cloud's
// volumes, it is bound when the first pod uses it, and a nightly job's claim would be in progress all day.
func claimHealth(obj *unstructured.Unstructured) Health {
	switch phase := text(obj, "status", "phase"); phase {
	case "Lost":
		return Health{Status: Failed, Message: "its volume is lost"}
	case "Bound":
		return Health{Status: Healthy, Message: "the claim is bound"}
	}
	return Health{Status: Healthy, Message: "the claim waits for its first pod"}
}

// rolloutHealth adds to kstatus's verdict why a controller could not make its pods, such as a quota, which kstatus does
// not look at.
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

// Revisions are those by which a StatefulSet starts again the pods that its rollout has not come to, and the others. They
// are equal where it starts all of its pods by its present template.
func Revisions(obj *unstructured.Unstructured) (current, update string) {
	if kindOf(obj).Kind != "StatefulSet" || text(obj, "spec", "updateStrategy", "type") == "OnDelete" {
		return "", ""
	}
	return text(obj, "status", "currentRevision"), text(obj, "status", "updateRevision")
}
