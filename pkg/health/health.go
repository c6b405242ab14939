// Package health knows the kinds of workloads: how healthy an object is, whether it runs, what ends its run, and where
// its images are. It is pure: an object comes in, a verdict goes out. Each kind has its file, and the table in kind.go
// lists them; this is the only room that compares the names of workload kinds.
package health

import (
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

// Health says how one object is, and why in a few words.
type Health struct {
	Status  Status
	Message string
	// Completed says that the object ran to its end, with success or not.
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
	// ID tells one run of an object from the next; it is empty before the first run.
	ID      string
	Message string
}

// Judge judges objects by the kinds that a configuration declares, and by the table. A nil Judge uses the table alone. It
// is safe for concurrent use.
type Judge struct {
	declared map[schema.GroupKind]expressions
}

// Health judges a live object by the configuration's expressions for its kind, else by its kind in the table, else by
// kstatus.
func (j *Judge) Health(obj *unstructured.Unstructured) Health {
	if obj.GetDeletionTimestamp() != nil {
		return Health{Status: InProgress, Message: "it is being deleted"}
	}
	if declared, ok := j.expressions(obj); ok && declared.judgeHealth() {
		return declared.health(obj)
	}
	return KindOf(kindOf(obj)).Health(obj)
}

// Run judges the run of a live object; the zero Run where its kind does not run to completion.
func (j *Judge) Run(obj *unstructured.Unstructured) Run {
	if declared, ok := j.expressions(obj); ok && declared.running != nil {
		return declared.run(obj)
	}
	return KindOf(kindOf(obj)).Run(obj)
}

// RunsToCompletion reports whether objects of a kind run to completion.
func (j *Judge) RunsToCompletion(kind schema.GroupKind) bool {
	if j != nil && j.declared[kind].running != nil {
		return true
	}
	return KindOf(kind).RunsToCompletion()
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

// RemovesItself reports whether an object is deleted by its own controller some time after its run. An apply of an object
// that is gone would run it again.
func RemovesItself(obj *unstructured.Unstructured) bool {
	field := KindOf(kindOf(obj)).runs.lifetime
	if field == nil {
		return false
	}
	_, found, _ := unstructured.NestedFieldNoCopy(obj.Object, field...)
	return found
}

// Lifetime is the shortest time after its end in which an object removes itself; 0 where it does not say so in seconds.
func Lifetime(obj *unstructured.Unstructured) time.Duration {
	field := KindOf(kindOf(obj)).runs.lifetime
	if field == nil {
		return 0
	}
	return time.Duration(count(obj, field...)) * time.Second
}

func kindOf(obj *unstructured.Unstructured) schema.GroupKind {
	return schema.FromAPIVersionAndKind(obj.GetAPIVersion(), obj.GetKind()).GroupKind()
}
