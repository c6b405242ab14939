// Package health judges live objects: whether they are healthy, and whether those that run to completion are running.
// It is pure: an object goes in, a verdict comes out.
package health

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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

// State says how far the run of an object is.
type State string

const (
	NotARun State = ""        // the kind does not run to completion
	Idle    State = "Idle"    // nothing runs: not started, suspended, or between two attempts
	Running State = "Running" // a change would throw work away
	Ended   State = "Ended"
)

// Run is the run of an object that runs to completion.
type Run struct {
	State  State
	Failed bool // with Ended
	// Starting says, with Idle, that there may be pods which the object does not count yet.
	Starting bool
	// ID tells one run of an object from the next; empty where nothing ran yet.
	ID      string
	Message string
}

// Judge knows the kinds that a configuration describes, beside the built-in ones. A nil Judge knows the latter. It is
// safe for concurrent use.
type Judge struct {
	kinds map[schema.GroupKind]expressions
}

// reader judges the objects of one kind. kstatus takes a kind without conditions for ready at once, and a Job for ready
// when it has started.
type reader struct {
	health func(*unstructured.Unstructured) Health
	// run is nil for kinds that do not run to completion.
	run func(*unstructured.Unstructured) Run
	// free are the fields whose change a run survives, beside the metadata.
	free []string
	// lifetime is the field that says how long after its end an object deletes itself.
	lifetime []string
}

var readers = map[schema.GroupKind]reader{
	{Group: "batch", Kind: "Job"}:     {health: jobHealth, run: jobRun, free: []string{"spec"}, lifetime: []string{"spec", "ttlSecondsAfterFinished"}},
	{Group: "batch", Kind: "CronJob"}: {health: cronJobHealth},

	// The operator compares the specs but for these two fields, and never the metadata (Spark operator 2.x,
	// internal/controller/sparkapplication/event_filter.go, EventFilter.Update).
	{Group: "sparkoperator.k8s.io", Kind: "SparkApplication"}: {
		health: sparkHealth, run: sparkRun,
		free: []string{"spec.suspend", "spec.timeToLiveSeconds"}, lifetime: []string{"spec", "timeToLiveSeconds"},
	},
	{Group: "sparkoperator.k8s.io", Kind: "ScheduledSparkApplication"}: {health: scheduledSparkHealth},

	{Group: "argoproj.io", Kind: "Workflow"}: {
		health: workflowHealth, run: workflowRun,
		free: []string{"spec.suspend", "spec.shutdown", "spec.activeDeadlineSeconds", "spec.ttlStrategy"}, lifetime: []string{"spec", "ttlStrategy"},
	},
	{Group: "argoproj.io", Kind: "CronWorkflow"}: {health: cronWorkflowHealth},
	{Group: "ray.io", Kind: "RayJob"}: {
		health: rayHealth, run: rayRun,
		free: []string{"spec.suspend", "spec.activeDeadlineSeconds", "spec.ttlSecondsAfterFinished", "spec.shutdownAfterJobFinishes"},
	},
	{Group: "tekton.dev", Kind: "PipelineRun"}: {health: tektonHealth, run: tektonRun, free: []string{"spec.status", "spec.timeouts"}},
	{Group: "tekton.dev", Kind: "TaskRun"}:     {health: tektonHealth, run: tektonRun, free: []string{"spec.status", "spec.timeout"}},
	// What is free here asks the operator for something of its own: to stop, to restart, to save.
	{Group: "flink.apache.org", Kind: "FlinkDeployment"}: {
		health: flinkHealth, run: flinkRun,
		free: []string{"spec.job.state", "spec.restartNonce", "spec.job.savepointTriggerNonce", "spec.job.checkpointTriggerNonce"},
	},

	{Kind: "PersistentVolumeClaim"}:      {health: claimHealth},
	{Group: "apps", Kind: "Deployment"}:  {health: rolloutHealth},
	{Group: "apps", Kind: "StatefulSet"}: {health: rolloutHealth},
	{Group: "apps", Kind: "ReplicaSet"}:  {health: rolloutHealth},
}

// Health judges a live object by the configuration's expressions for its kind, else by the reader of its kind, else by
// kstatus.
func (j *Judge) Health(obj *unstructured.Unstructured) Health {
	if obj.GetDeletionTimestamp() != nil {
		return Health{Status: InProgress, Message: "it is being deleted"}
	}
	if told, ok := j.expressions(obj); ok && told.judgeHealth() {
		return told.health(obj)
	}
	if r, ok := readers[kindOf(obj)]; ok {
		return r.health(obj)
	}
	return generic(obj)
}

// generic is the verdict of kstatus.
func generic(obj *unstructured.Unstructured) Health {
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

// Run judges the run of a live object; the zero Run where its kind does not run to completion.
func (j *Judge) Run(obj *unstructured.Unstructured) Run {
	if told, ok := j.expressions(obj); ok && told.running != nil {
		return told.run(obj)
	}
	if r, ok := readers[kindOf(obj)]; ok && r.run != nil {
		return r.run(obj)
	}
	return Run{}
}

// RunsToCompletion reports whether objects of a kind run to completion.
func (j *Judge) RunsToCompletion(kind schema.GroupKind) bool {
	if j != nil && j.kinds[kind].running != nil {
		return true
	}
	return readers[kind].run != nil
}

// Restarts reports whether a run would not survive the change of a field, written as manifest.Path is.
func (j *Judge) Restarts(kind schema.GroupKind, path string) bool {
	free := append([]string{"metadata"}, readers[kind].free...)
	return !slices.ContainsFunc(free, func(f string) bool {
		rest, ok := strings.CutPrefix(path, f)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// RemovesItself reports whether an object is deleted by its own controller some time after it has run. Applying it again
// when it is gone would run it again.
func RemovesItself(obj *unstructured.Unstructured) bool {
	field := readers[kindOf(obj)].lifetime
	if field == nil {
		return false
	}
	_, found, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	return found
}

// Lifetime is how long after its end an object removes itself at the soonest; 0 where it does not say so in seconds.
func Lifetime(obj *unstructured.Unstructured) time.Duration {
	field := readers[kindOf(obj)].lifetime
	if field == nil {
		return 0
	}
	return time.Duration(count(obj, field...)) * time.Second
}

func kindOf(obj *unstructured.Unstructured) schema.GroupKind {
	return schema.FromAPIVersionAndKind(obj.GetAPIVersion(), obj.GetKind()).GroupKind()
}

// text reads a field that is a text; "" where it is not.
func text(obj *unstructured.Unstructured, field ...string) string {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	s, _ := value.(string)
	return s
}

// count reads a field that is a number; 0 where it is not.
func count(obj *unstructured.Unstructured, field ...string) int64 {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	switch n := value.(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

func isTrue(obj *unstructured.Unstructured, field ...string) bool {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	return value == true
}

// condition returns a condition of an object by its type, or nil.
func condition(obj *unstructured.Unstructured, kind string) map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "conditions")
	list, _ := value.([]any)
	for _, item := range list {
		if fields, ok := item.(map[string]any); ok && fields["type"] == kind {
			return fields
		}
	}
	return nil
}

// why is what a condition says of itself.
func why(condition map[string]any) string {
	for _, field := range []string{"message", "reason"} {
		if s, ok := condition[field].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// after joins a message to what stands before it.
func after(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

// observed reports whether an object's controller has seen its newest generation, where it says so.
func observed(obj *unstructured.Unstructured) bool {
	value, found, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "observedGeneration")
	return !found || value == nil || count(obj, "status", "observedGeneration") >= obj.GetGeneration()
}

// statusID tells one status of an object from another.
func statusID(obj *unstructured.Unstructured) string {
	value, found, _ := unstructured.NestedFieldNoCopy(obj.Object, "status")
	if !found {
		return ""
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return short(encoded)
}
