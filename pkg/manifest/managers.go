package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Manager is a client that wrote fields of an object, by the object's managed fields. It names a program, such as
// kubectl-edit, and not a person.
type Manager struct {
	Name        string
	Operation   string // Apply or Update
	Subresource string
	Time        time.Time // zero: not recorded
}

// ManagerOf returns the manager other than self that wrote a field last, according to the object's managed fields
// (KEP-555). A field that was removed has no entry, and so no known manager. An object that is nil, because it is not in
// the cluster, has no manager.
func ManagerOf(obj *unstructured.Unstructured, path Path, self string) (Manager, bool) {
	var last Manager
	found := false
	for _, entry := range ownerships(obj) {
		if entry.Manager == self || !holds(entry.FieldsV1, obj.Object, path) {
			continue
		}
		if !found || entry.Time.After(last.Time) {
			last = Manager{Name: entry.Manager, Operation: entry.Operation, Subresource: entry.Subresource, Time: entry.Time}
			found = true
		}
	}
	return last, found
}

// OwnedFields is a hash of the fields that a manager owns by server-side apply, without their values. It is empty if the
// manager has applied nothing, and for an object that is nil.
func OwnedFields(obj *unstructured.Unstructured, manager string) string {
	applied, ok := appliedFields(obj, manager)
	if !ok {
		return ""
	}
	fields, err := json.Marshal(applied)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(fields)
	return hex.EncodeToString(sum[:16])
}

type managedFieldsEntry struct {
	Manager     string         `json:"manager"`
	Operation   string         `json:"operation"`
	Subresource string         `json:"subresource"`
	Time        time.Time      `json:"time"`
	FieldsV1    map[string]any `json:"fieldsV1"`
}

// managedFields returns the entries of an object. An object that is nil, because it is not in the cluster, has none.
func managedFields(obj *unstructured.Unstructured) []managedFieldsEntry {
	if obj == nil {
		return nil
	}
	list, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "managedFields")
	items, _ := list.([]any)
	entries := make([]managedFieldsEntry, 0, len(items))
	for _, item := range items {
		fields, ok := item.(map[string]any)
		if !ok {
			continue
		}
		var entry managedFieldsEntry
		entry.Manager, _ = fields["manager"].(string)
		entry.Operation, _ = fields["operation"].(string)
		entry.Subresource, _ = fields["subresource"].(string)
		entry.FieldsV1, _ = fields["fieldsV1"].(map[string]any)
		if text, ok := fields["time"].(string); ok {
			entry.Time, _ = time.Parse(time.RFC3339, text) // a missing time stays zero
		}
		entries = append(entries, entry)
	}
	return entries
}

// ownerships returns the managed fields by the place of the values. A manager that applies a Secret's stringData owns it
// under that name, and the API server moves the values to data.
func ownerships(obj *unstructured.Unstructured) []managedFieldsEntry {
	entries := managedFields(obj)
	for i := range entries {
		if plain, ok := entries[i].FieldsV1["f:stringData"].(map[string]any); ok && IsSecret(obj) {
			fields := union(entries[i].FieldsV1, map[string]any{"f:data": plain})
			delete(fields, "f:stringData")
			entries[i].FieldsV1 = fields
		}
	}
	return entries
}

// holds reports whether a set of managed fields has a field, or a field around or below it: the owner of an atomic
// list owns each item, and a manager that wrote an item's fields wrote the item.
func holds(set map[string]any, value any, path Path) bool {
	for i, step := range path {
		element, below, ok := elementOf(value, step)
		if !ok {
			return false
		}
		inner, ok := set[element].(map[string]any)
		if !ok && step.Name == "" {
			inner, ok = keyedElement(set, below)
		}
		if !ok {
			// The set ends above this field: an atomic list or map, which is owned as a whole.
			return i > 0 && len(set) == 0
		}
		set, value = inner, below
	}
	return true
}

// elementOf names a step as managed fields do, and returns the value below it.
func elementOf(value any, step Step) (element string, below any, ok bool) {
	switch node := value.(type) {
	case map[string]any:
		return "f:" + step.Name, node[step.Name], step.Name != ""
	case []any:
		for i, item := range node {
			if step.matches(item, i) {
				return fmt.Sprintf("i:%d", i), item, true
			}
		}
	case nil:
		return "f:" + step.Name, nil, step.Name != ""
	}
	return "", nil, false
}

// keyedElement finds the k:{...} or v:... element of a set for a list item.
func keyedElement(set map[string]any, item any) (map[string]any, bool) {
	for element, below := range set {
		if len(element) < 2 {
			continue
		}
		inner, isMap := below.(map[string]any)
		if !isMap {
			continue
		}
		switch element[:2] {
		case "v:":
			var want any
			if json.Unmarshal([]byte(element[2:]), &want) == nil && sameScalar(want, item) {
				return inner, true
			}
		case "k:":
			var keys map[string]any
			fields, ok := item.(map[string]any)
			if json.Unmarshal([]byte(element[2:]), &keys) != nil || !ok {
				continue
			}
			if hasKeys(fields, keys) {
				return inner, true
			}
		}
	}
	return nil, false
}

// Owns reports whether a manager owns a field by server-side apply.
func Owns(obj *unstructured.Unstructured, path Path, manager string) bool {
	for _, entry := range managedFields(obj) {
		if entry.Manager == manager && entry.Operation == "Apply" && entry.Subresource == "" && holds(entry.FieldsV1, obj.Object, path) {
			return true
		}
	}
	return false
}

// LastWrite is when a manager's server-side apply changed an object last, to the second.
func LastWrite(obj *unstructured.Unstructured, manager string) (time.Time, bool) {
	for _, entry := range managedFields(obj) {
		if entry.Manager == manager && entry.Operation == "Apply" && entry.Subresource == "" {
			return entry.Time, true
		}
	}
	return time.Time{}, false
}
