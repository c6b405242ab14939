package health

import (
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Status says how an object is.
type Status string

const (
	Healthy    Status = "Healthy"
	InProgress Status = "InProgress"
	Failed     Status = "Failed"
)

// Health is how one object is, and in a few words why.
type Health struct {
	Status  Status
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

// Health judges a live object by the reader of its kind, else by kstatus.
func (j *Judge) Health(obj *unstructured.Unstructured) Health {
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

type State string

const (
	NotARun State = ""
	Idle    State = "Idle"
	Running State = "Running"
	Ended   State = "Ended"
)

type Run struct {
	State   State
	Failed  bool
	ID      string
	Message string
}

type Kind struct{ Group, Kind, Running, Healthy, Failed string }

type Judge struct{}

func New(kinds []Kind) (*Judge, error) { return &Judge{}, nil }

func RunsToCompletion(kind schema.GroupKind) bool {
	return kind == schema.GroupKind{Group: "batch", Kind: "Job"} || kind == schema.GroupKind{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}
}

func (j *Judge) Run(obj *unstructured.Unstructured) Run {
	kind := manifest.IDOf(obj).GroupKind()
	if !RunsToCompletion(kind) {
		return Run{}
	}
	h := j.Health(obj)
	if kind.Kind == "Job" {
		start, _, _ := unstructured.NestedString(obj.Object, "status", "startTime")
		run := Run{ID: start, Message: h.Message, State: Idle}
		if h.Completed {
			run.State, run.Failed = Ended, h.Status == Failed
		} else if active, _, _ := unstructured.NestedInt64(obj.Object, "status", "active"); active > 0 {
			run.State = Running
		}
		return run
	}
	state, _, _ := unstructured.NestedString(obj.Object, "status", "applicationState", "state")
	id, _, _ := unstructured.NestedString(obj.Object, "status", "submissionID")
	if id == "" {
		id, _, _ = unstructured.NestedString(obj.Object, "status", "lastSubmissionAttemptTime")
	}
	run := Run{ID: id, Message: h.Message}
	switch state {
	case "COMPLETED", "FAILED":
		run.State, run.Failed = Ended, state == "FAILED"
	case "SUBMITTED", "RUNNING", "SUCCEEDING", "UNKNOWN", "SUSPENDING", "RESUMING":
		run.State = Running
	default:
		run.State = Idle
	}
	return run
}

func (j *Judge) Restarts(kind schema.GroupKind, path string) bool {
	if kind.Kind == "Job" {
		return false
	}
	return path != "spec.suspend" && path != "spec.timeToLiveSeconds" && !strings.HasPrefix(path, "metadata")
}

var lifetimes = map[schema.GroupKind][]string{
	{Group: "batch", Kind: "Job"}:                             {"spec", "ttlSecondsAfterFinished"},
	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}: {"spec", "timeToLiveSeconds"},
}

func RemovesItself(obj *unstructured.Unstructured) bool {
	field, ok := lifetimes[manifest.IDOf(obj).GroupKind()]
	if !ok {
		return false
	}
	_, found, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	return found
}
