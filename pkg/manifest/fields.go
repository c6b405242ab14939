package manifest

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Leaves lists the fields of an object that have nothing below them, identity aside, in a stable order.
func Leaves(obj map[string]any) []Field {
	var found []Field
	for _, key := range sortedKeys(obj) {
		if key != "apiVersion" && key != "kind" {
			leavesBelow(obj[key], Path{{Name: key}}, func(v any) { obj[key] = v }, &found)
		}
	}
	return slices.DeleteFunc(found, func(f Field) bool {
		at := f.Path.String()
		return at == "metadata.name" || at == "metadata.namespace"
	})
}

func leavesBelow(value any, at Path, set func(any), found *[]Field) {
	switch node := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(node) {
			leavesBelow(node[key], at.with(Step{Name: key}), func(v any) { node[key] = v }, found)
		}
		if len(node) > 0 {
			return
		}
	case []any:
		for i, item := range node {
			leavesBelow(item, at.with(itemStep(node, i, nil)), func(v any) { node[i] = v }, found)
		}
		if len(node) > 0 {
			return
		}
	}
	*found = append(*found, Field{Path: at, Value: value, set: set})
}

// Remove takes a field out of an object, and a list item out of its list. A field that is not there is no error.
func Remove(obj map[string]any, path Path) {
	if len(path) == 0 {
		return
	}
	for _, parent := range Find(obj, path[:len(path)-1]) {
		last := path[len(path)-1]
		switch node := parent.Value.(type) {
		case map[string]any:
			delete(node, last.Name)
		case []any:
			i := 0
			parent.Set(slices.DeleteFunc(node, func(item any) bool {
				i++
				return last.matches(item, i-1)
			}))
		}
	}
}

// Overlay returns an object with the fields of another, where the API server cannot be asked, to show the changes of a
// replacement. Lists of one length are merged item by item, other lists are replaced.
func Overlay(base, fields *unstructured.Unstructured) *unstructured.Unstructured {
	out, _ := overlay(runtime.DeepCopyJSON(base.Object), runtime.DeepCopyJSON(fields.Object)).(map[string]any)
	return &unstructured.Unstructured{Object: out}
}

func overlay(base, fields any) any {
	switch over := fields.(type) {
	case map[string]any:
		under, ok := base.(map[string]any)
		if !ok {
			return over
		}
		for key, value := range over {
			under[key] = overlay(under[key], value)
		}
		return under
	case []any:
		under, ok := base.([]any)
		if !ok || len(under) != len(over) {
			return over
		}
		for i, value := range over {
			under[i] = overlay(under[i], value)
		}
		return under
	}
	return fields
}
