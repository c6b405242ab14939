package health

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

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

// isSet reports whether a condition of an object is true.
func isSet(obj *unstructured.Unstructured, kind string) bool {
	return condition(obj, kind)["status"] == "True"
}

// why returns the message of a condition, or else its reason.
func why(condition map[string]any) string {
	for _, field := range []string{"message", "reason"} {
		if s, ok := condition[field].(string); ok && s != "" {
			return s
		}
	}
	return ""
}

// after joins a message to the text before it.
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
