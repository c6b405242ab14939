package takeover

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// fieldsOf reads the fields of an entry of managed fields. It returns none if it cannot read the entry.
func fieldsOf(entry metav1.ManagedFieldsEntry) *fieldpath.Set {
	set := &fieldpath.Set{}
	if entry.FieldsV1 == nil || set.FromJSON(entry.FieldsV1.GetRawReader()) != nil {
		return &fieldpath.Set{}
	}
	return set
}

// withFields returns an entry with other fields.
func withFields(entry metav1.ManagedFieldsEntry, set *fieldpath.Set) (metav1.ManagedFieldsEntry, error) {
	raw, err := set.ToJSON()
	if err != nil {
		return entry, err
	}
	entry.FieldsType, entry.FieldsV1 = "FieldsV1", &metav1.FieldsV1{}
	entry.FieldsV1.SetRawBytes(raw)
	return entry, nil
}

// presentIn returns the fields of a set that an object has.
func presentIn(obj map[string]any, set *fieldpath.Set) *fieldpath.Set {
	out := &fieldpath.Set{}
	set.Iterate(func(path fieldpath.Path) {
		if has(obj, path) {
			out.Insert(slices.Clone(path)) // Iterate overwrites this path with the next one
		}
	})
	return out
}

func has(node any, path fieldpath.Path) bool {
	for _, element := range path {
		below, _, ok := descend(node, element)
		if !ok {
			return false
		}
		node = below
	}
	return true
}

// descend follows one element of a path. If the node is a list, it returns the index of the element too.
func descend(node any, element fieldpath.PathElement) (below any, index int, ok bool) {
	if fields, isMap := node.(map[string]any); isMap && element.FieldName != nil {
		below, ok = fields[*element.FieldName]
		return below, 0, ok
	}
	list, _ := node.([]any)
	for i, item := range list {
		switch {
		case element.Key != nil && hasKeys(item, *element.Key),
			element.Value != nil && value.Equals(*element.Value, value.NewValueInterface(item)),
			element.Index != nil && *element.Index == i:
			return item, i, true
		}
	}
	return nil, 0, false
}

// hasKeys reports whether a list item has these keys.
func hasKeys(item any, keys value.FieldList) bool {
	fields, isMap := item.(map[string]any)
	return isMap && !slices.ContainsFunc(keys, func(key value.Field) bool {
		own, ok := fields[key.Name]
		return !ok || !value.Equals(key.Value, value.NewValueInterface(own))
	})
}

// without returns a node without the field at a path. It copies the maps and lists along the path.
func without(node any, path fieldpath.Path) any {
	below, index, ok := descend(node, path[0])
	if !ok {
		return node
	}
	last := len(path) == 1
	switch v := node.(type) {
	case map[string]any:
		v = maps.Clone(v)
		if last {
			delete(v, *path[0].FieldName)
		} else {
			v[*path[0].FieldName] = without(below, path[1:])
		}
		return v
	case []any:
		v = slices.Clone(v)
		if last {
			return slices.Delete(v, index, index+1)
		}
		v[index] = without(below, path[1:])
		return v
	}
	return node
}

// touches reports whether a set contains a field, or one below it.
func touches(set *fieldpath.Set, path fieldpath.Path) bool {
	if set.Has(path) {
		return true
	}
	for _, element := range path {
		set = set.WithPrefix(element)
	}
	return !set.Empty()
}
