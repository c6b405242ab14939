package manifest

import (
	"encoding/json"
	"hash/fnv"
	"io"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// State is a hash of an object's managed fields (KEP-555): managers, their fields, and times. Between two reads with equal
// states no field has changed, except the status and the writes of the managers in quiet. It needs the object's metadata
// only, so that noticing a change costs no request.
//
// A write by self changes it as any other: another process may have written under the same name. The API server keeps
// the time of a server-side apply that changes nothing.
func State(obj *unstructured.Unstructured, quiet []string) uint64 {
	hash := fnv.New64a()
	write := func(parts ...string) {
		for _, part := range parts {
			_, _ = io.WriteString(hash, part+"\x00") // a hash takes everything
		}
	}
	write(string(obj.GetUID())) // a new object of the same name has another state
	if obj.GetDeletionTimestamp() != nil {
		write("deleted")
	}
	for _, entry := range managedFields(obj) {
		if entry.Subresource == "status" || slices.Contains(quiet, entry.Manager) {
			continue
		}
		fields, writesAlways := entry.FieldsV1, false
		for _, path := range restless {
			if has(fields, path) {
				fields, writesAlways = without(fields, path), true
			}
		}
		if len(fields) == 0 {
			continue
		}
		doc, err := json.Marshal(fields) // map keys are sorted
		if err != nil {
			continue // the value came as JSON
		}
		write(entry.Manager, entry.Operation, entry.Subresource, string(doc))
		// A manager that owns a field already and sets another value moves nothing but its time. Where it writes a
		// restless field beside, its time says nothing of the rest.
		if !writesAlways {
			write(entry.Time.UTC().String())
		}
	}
	return hash.Sum64()
}

// restless lists fields that their managers write all the time and that they alone decide: the status of a kind without
// that subresource, and the lock of a leader, in an annotation or in a Lease.
var restless = [][]string{
	{"f:status"},
	{"f:metadata", "f:annotations", "f:control-plane.alpha.kubernetes.io/leader"},
	{"f:spec", "f:renewTime"},
}

// has reports whether a set of managed fields holds one.
func has(fields map[string]any, path []string) bool {
	below, ok := fields[path[0]]
	if len(path) == 1 || !ok {
		return ok
	}
	inner, _ := below.(map[string]any)
	return has(inner, path[1:])
}

// without is a set of managed fields less one that it has.
func without(fields map[string]any, path []string) map[string]any {
	fields = maps.Clone(fields)
	if len(path) == 1 {
		delete(fields, path[0])
		return fields
	}
	inner, _ := fields[path[0]].(map[string]any)
	fields[path[0]] = without(inner, path[1:])
	return fields
}
