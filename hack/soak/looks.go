package main

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// runs reports whether objects of a kind run to an end.
func runs(kind string) bool { return kind == "Job" || kind == "SparkApplication" }

// running reports whether an object has begun to run and has not ended.
func running(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "Job":
		began, _, _ := unstructured.NestedString(o.Object, "status", "startTime")
		return began != "" && !ended(o)
	case "SparkApplication":
		submitted, _, _ := unstructured.NestedString(o.Object, "status", "submissionID")
		s := sparkState(o)
		return (s == "SUBMITTED" || s == "RUNNING") && submitted == fmt.Sprintf("%s-%d", o.GetUID(), o.GetGeneration())
	}
	return false
}

// ended reports whether an object has run to its end.
func ended(o *unstructured.Unstructured) bool {
	switch o.GetKind() {
	case "Job":
		for _, kind := range []string{"Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"} {
			if condition(o, kind).status == "True" {
				return true
			}
		}
	case "SparkApplication":
		s := sparkState(o)
		return s == "COMPLETED" || s == "FAILED"
	}
	return false
}

func sparkState(o *unstructured.Unstructured) string {
	s, _, _ := unstructured.NestedString(o.Object, "status", "applicationState", "state")
	return s
}

// said is one condition of an object.
type said struct{ status, reason, message string }

func condition(o *unstructured.Unstructured, kind string) said {
	all, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, each := range all {
		c, _ := each.(object)
		if c["type"] == kind {
			status, _ := c["status"].(string)
			reason, _ := c["reason"].(string)
			message, _ := c["message"].(string)
			return said{status, reason, message}
		}
	}
	return said{}
}

// claim is the statement of a record about its target.
type claim struct {
	ready  bool // also in sync, with no change under way or held
	commit string
}

func claimOf(record *unstructured.Unstructured) claim {
	commit, _, _ := unstructured.NestedString(record.Object, "status", "lastAppliedCommit")
	observed, _, _ := unstructured.NestedInt64(record.Object, "status", "observedGeneration")
	ready := condition(record, "Ready").status == "True" && condition(record, "Reconciling").status != "True" &&
		!drifted(record) && condition(record, "Held").status != "True" && observed == record.GetGeneration()
	return claim{ready, commit}
}

// describe says in one line what a record states.
func describe(record *unstructured.Unstructured) string {
	text := short(claimOf(record).commit)
	for _, kind := range []string{"Ready", "Reconciling", "Stalled", "Drifted", "Held"} {
		c := condition(record, kind)
		text += fmt.Sprintf(" %s=%s", kind, c.status)
		if c.status == "True" != (kind == "Ready") {
			text += fmt.Sprintf(" (%s: %s)", c.reason, c.message)
		}
	}
	return text
}

// drifted reports whether a record says that the objects differ from git. A moved tag is no such difference.
func drifted(record *unstructured.Unstructured) bool {
	total, _, _ := unstructured.NestedInt64(record.Object, "status", "drift", "total")
	return condition(record, "Drifted").status == "True" && (len(driftedObjects(record)) > 0 || total == 0)
}

// driftedObjects lists the objects that a record reports as drifted.
func driftedObjects(record *unstructured.Unstructured) map[key]bool {
	found := map[key]bool{}
	if record == nil || condition(record, "Drifted").status != "True" {
		return found
	}
	findings, _, _ := unstructured.NestedSlice(record.Object, "status", "drift", "findings")
	for _, each := range findings {
		finding, _ := each.(object)
		if about := finding["kind"]; about == "TagMoved" || about == "ImageMissing" {
			continue
		}
		o, _ := finding["object"].(object)
		kind, _ := o["kind"].(string)
		ns, _ := o["namespace"].(string)
		name, _ := o["name"].(string)
		found[key{kind, ns, name}] = true
	}
	return found
}

// byHand reports whether a person owns fields of an object. If git drops such fields, they stay, and are then additions
// of this person.
func byHand(o *unstructured.Unstructured) bool {
	return o != nil && slices.ContainsFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return strings.HasPrefix(f.Manager, "hand-") })
}
