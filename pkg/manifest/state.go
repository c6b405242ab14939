package manifest

import (
	"encoding/json"
	"hash/fnv"
	"io"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// State is a hash of who owns which fields of an object, and since when, as its managed fields tell (KEP-555): two looks
// at an object with equal states had equal fields, its status aside, and what managers in quiet wrote. It needs the
// object's metadata only, so that noticing a change costs no request.
//
// A write by self to fields that it owns leaves the state as it is.
func State(obj *unstructured.Unstructured, self string, quiet []string) uint64 {
	hash := fnv.New64a()
	write := func(parts ...string) {
		for _, part := range parts {
			_, _ = io.WriteString(hash, part+"\x00") // a hash takes everything
		}
	}
	if obj.GetDeletionTimestamp() != nil {
		write("deleted")
	}
	for _, entry := range managedFields(obj) {
		if entry.Subresource == "status" || slices.Contains(quiet, entry.Manager) {
			continue
		}
		fields := entry.FieldsV1
		_, writesStatus := fields["f:status"]
		if writesStatus {
			fields = maps.Clone(fields)
			delete(fields, "f:status")
		}
		if len(fields) == 0 {
			continue
		}
		doc, err := json.Marshal(fields) // map keys are sorted
		if err != nil {
			continue // what came as JSON goes as JSON
		}
		write(entry.Manager, entry.Operation, entry.Subresource, string(doc))
		// A manager that owns a field already and sets another value moves nothing but its time. Where it writes the
		// status beside, as controllers of kinds without that subresource do, its time says nothing of the rest.
		if entry.Manager != self && !writesStatus {
			write(entry.Time.UTC().String())
		}
	}
	return hash.Sum64()
}
