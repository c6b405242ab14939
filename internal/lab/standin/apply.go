package standin

import (
	"net/http"
	"reflect"
	"slices"
	"time"
)

// absent is the version that asks for an object that is not there: no object has it.
const absent = "1"

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// isSame reports whether a change left an object as it is.
func isSame(before, after Object) bool {
	return before != nil && reflect.ValueOf(before).Pointer() == reflect.ValueOf(after).Pointer()
}

// applied is an object after a server-side apply. What the manager sends replaces all fields but the status, or the status
// alone.
func applied(p place, before, sent Object, manager string) (Object, *status) {
	if failed := checkVersion(p, before, sent); failed != nil {
		return nil, failed
	}
	if before == nil && p.subresource != "" {
		return nil, failure(http.StatusNotFound, "NotFound", p.name+" "+p.object+" is not there").about(p)
	}
	after := replaced(p, before, sent)
	entry := Object{
		"manager": manager, "operation": "Apply", "apiVersion": sent["apiVersion"], "time": now(), "fieldsType": "FieldsV1",
		"fieldsV1": ownedBy(sent),
	}
	if p.subresource != "" {
		entry["subresource"] = p.subresource
	}
	if before != nil && isUnchanged(before, after, entry) {
		return before, nil
	}
	metadata(after)["managedFields"] = withEntry(metadata(after)["managedFields"], entry)
	if before != nil && !reflect.DeepEqual(before["spec"], after["spec"]) {
		generation, _ := metadata(before)["generation"].(int64)
		metadata(after)["generation"] = generation + 1
	}
	return after, nil
}

// checkVersion refuses a write that requires another version than the object has.
func checkVersion(p place, before, sent Object) *status {
	wanted, _ := metadata(sent)["resourceVersion"].(string)
	switch {
	case wanted == "":
		return nil
	case before == nil && wanted == absent:
		return nil
	case before != nil && metadata(before)["resourceVersion"] == wanted:
		return nil
	}
	return failure(http.StatusConflict, "Conflict", "the object has been modified; please apply your changes to the latest version and try again").about(p)
}

// replaced is an object with the fields that were sent, and without an entry for their manager's change.
func replaced(p place, before, sent Object) Object {
	if p.subresource != "" {
		after := clone(before)
		after[p.subresource] = sent[p.subresource]
		return after
	}
	after := clone(sent)
	meta := metadata(after)
	delete(meta, "resourceVersion")
	delete(meta, "managedFields")
	meta["name"] = p.object
	if p.namespace != "" {
		meta["namespace"] = p.namespace
	}
	if before == nil {
		return after
	}
	if last, ok := before["status"]; ok {
		after["status"] = last
	}
	for _, name := range []string{"uid", "creationTimestamp", "generation", "resourceVersion", "managedFields"} {
		if last, ok := metadata(before)[name]; ok {
			meta[name] = last
		}
	}
	return after
}

// isUnchanged reports whether an apply writes what is there: the API server keeps the time of such a one.
func isUnchanged(before, after, entry Object) bool {
	for _, last := range entries(metadata(before)["managedFields"]) {
		if isOf(last, entry) {
			return reflect.DeepEqual(last["fieldsV1"], entry["fieldsV1"]) && reflect.DeepEqual(before, after)
		}
	}
	return false
}

func isOf(a, b Object) bool {
	return a["manager"] == b["manager"] && a["operation"] == b["operation"] && a["subresource"] == b["subresource"]
}

func entries(list any) []Object {
	items, _ := list.([]any)
	var out []Object
	for _, item := range items {
		if entry, ok := item.(Object); ok {
			out = append(out, entry)
		}
	}
	return out
}

func withEntry(list any, entry Object) []any {
	items, _ := list.([]any)
	items = slices.DeleteFunc(slices.Clone(items), func(item any) bool {
		last, ok := item.(Object)
		return ok && isOf(last, entry)
	})
	return append(items, entry)
}

// ownedBy is the fieldsV1 of what a manager sent. Lists count as a whole.
func ownedBy(sent Object) Object {
	out := Object{}
	for name, value := range sent {
		switch name {
		case "apiVersion", "kind":
		case "metadata":
			meta := Object{}
			for field, below := range metadata(sent) {
				if field == "labels" || field == "annotations" || field == "finalizers" || field == "ownerReferences" {
					meta["f:"+field] = fieldsOf(below)
				}
			}
			if len(meta) > 0 {
				out["f:metadata"] = meta
			}
		default:
			out["f:"+name] = fieldsOf(value)
		}
	}
	return out
}

func fieldsOf(value any) Object {
	out := Object{}
	fields, ok := value.(Object)
	if !ok {
		return out
	}
	for name, below := range fields {
		out["f:"+name] = fieldsOf(below)
	}
	return out
}
