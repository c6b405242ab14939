package apply

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// HealthStatus says how an object is.
type HealthStatus string

const (
	Healthy    HealthStatus = "Healthy"
	InProgress HealthStatus = "InProgress"
	Failed     HealthStatus = "Failed"
)

// Health is how one object is, and in a few words why.
type Health struct {
	Status  HealthStatus
	Message string
	// Completed says that the object ran to its end, well or not.
	Completed bool
}

// readers judge kinds for which kstatus has no right answer: it takes a kind without conditions for ready at once, and
// a Job for ready when it has started.
var readers = map[schema.GroupKind]func(*unstructured.Unstructured) Health{
	{Group: "batch", Kind: "Job"}:                                      jobHealth,
	{Group: "batch", Kind: "CronJob"}:                                  cronJobHealth,
	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}:          sparkHealth,
	{Group: "sparkoperator.k8s.io", Kind: "ScheduledSparkApplication"}: scheduledSparkHealth,
}

// HealthOf judges a live object by the reader of its kind, else by kstatus.
func HealthOf(obj *unstructured.Unstructured) Health {
	if obj.GetDeletionTimestamp() != nil {
		return Health{Status: InProgress, Message: "it is being deleted"}
	}
	if read, ok := readers[manifest.IDOf(obj).GroupKind()]; ok {
		return read(obj)
	}
	result, err := status.Compute(obj)
	if err != nil {
		return Health{Status: InProgress, Message: "its status cannot be read: " + err.Error()}
	}
	switch result.Status {
	case status.CurrentStatus:
		return Health{Status: Healthy, Message: result.Message}
	case status.FailedStatus:
		return Health{Status: Failed, Message: result.Message}
	}
	return Health{Status: InProgress, Message: result.Message}
}

// jobHealth takes a running Job for healthy: a backfill may run for hours, and a deployment of it is done when it runs.
func jobHealth(obj *unstructured.Unstructured) Health {
	for _, condition := range conditions(obj) {
		if condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete":
			return Health{Status: Healthy, Message: "the job is complete", Completed: true}
		case "Failed":
			return Health{Status: Failed, Message: fmt.Sprintf("the job failed: %v", reason(condition)), Completed: true}
		case "Suspended":
			return Health{Status: Healthy, Message: "the job is suspended"}
		}
	}
	if active, _, _ := unstructured.NestedInt64(obj.Object, "status", "active"); active > 0 {
		return Health{Status: Healthy, Message: "the job is running"}
	}
	return Health{Status: InProgress, Message: "the job has not started a pod yet"}
}

// cronJobHealth takes an accepted CronJob for healthy: its object does not tell how its runs end.
func cronJobHealth(obj *unstructured.Unstructured) Health {
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended {
		return Health{Status: Healthy, Message: "the schedule is suspended"}
	}
	return Health{Status: Healthy, Message: "the schedule is active"}
}

// sparkHealth reads status.applicationState (Spark operator, api/v1beta2 ApplicationStateType).
func sparkHealth(obj *unstructured.Unstructured) Health {
	state, _, _ := unstructured.NestedString(obj.Object, "status", "applicationState", "state")
	message, _, _ := unstructured.NestedString(obj.Object, "status", "applicationState", "errorMessage")
	switch state {
	case "COMPLETED":
		return Health{Status: Healthy, Message: "the application is complete", Completed: true}
	case "FAILED":
		return Health{Status: Failed, Message: "the application failed" + after(message), Completed: true}
	case "RUNNING", "SUCCEEDING", "SUSPENDED", "SUSPENDING", "RESUMING":
		return Health{Status: Healthy, Message: "the application is " + state}
	case "SUBMISSION_FAILED", "FAILING":
		return Health{Status: InProgress, Message: "the application is " + state + after(message)}
	case "":
		return Health{Status: InProgress, Message: "the Spark operator has not taken it up yet"}
	}
	return Health{Status: InProgress, Message: "the application is " + state}
}

// scheduledSparkHealth reads status.scheduleState (Spark operator, api/v1beta2 ScheduleState).
func scheduledSparkHealth(obj *unstructured.Unstructured) Health {
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended {
		return Health{Status: Healthy, Message: "the schedule is suspended"}
	}
	state, _, _ := unstructured.NestedString(obj.Object, "status", "scheduleState")
	switch state {
	case "Scheduled", "Validating":
		return Health{Status: Healthy, Message: "the schedule is active"}
	case "FailedValidation":
		why, _, _ := unstructured.NestedString(obj.Object, "status", "reason")
		return Health{Status: Failed, Message: "the Spark operator refuses the schedule" + after(why)}
	}
	return Health{Status: InProgress, Message: "the Spark operator has not taken it up yet"}
}

func conditions(obj *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	var out []map[string]any
	for _, item := range list {
		if condition, ok := item.(map[string]any); ok {
			out = append(out, condition)
		}
	}
	return out
}

func reason(condition map[string]any) any {
	if message, ok := condition["message"].(string); ok && message != "" {
		return message
	}
	return condition["reason"]
}

func after(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}
