package manifest

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// FieldChange is one field that differs. A nil side means that the field is not there.
type FieldChange struct {
	Path string `json:"path"`
	From any    `json:"from"`
	To   any    `json:"to"`
}

// Diff lists the fields in which two states of one object differ, sorted by path, without the API server's own fields. A
// field that only one side has is one change, with everything below it, except in maps whose keys users choose. A list
// with the same items in another order is one change as well, with the items' names: the order of init containers and
// variables matters. Secret values are masked on both sides, by a Mask with this salt.
func Diff(from, to *unstructured.Unstructured, salt []byte) []FieldChange {
	d := differ{mask: Mask{Object: to, Salt: salt}, keys: listKeys(from, to)}
	d.maps(prune(from.Object), prune(to.Object), nil)
	slices.SortStableFunc(d.found, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return d.found
}

// prune returns the object without the fields that the API server writes; it copies only the maps that it changes.
func prune(obj map[string]any) map[string]any {
	out := maps.Clone(obj)
	for _, path := range serverOwned {
		if len(path) == 1 {
			delete(out, path[0])
			continue
		}
		if inner, ok := out[path[0]].(map[string]any); ok {
			inner = maps.Clone(inner)
			delete(inner, path[1])
			out[path[0]] = inner
		}
	}
	return out
}

type differ struct {
	mask  Mask
	keys  map[string][]string // schema path of a list -> its identifying fields
	found []FieldChange
}

func (d *differ) values(from, to any, at Path) {
	switch a := from.(type) {
	case map[string]any:
		if b, ok := to.(map[string]any); ok {
			d.maps(a, b, at)
			return
		}
	case []any:
		if b, ok := to.([]any); ok {
			d.lists(a, b, at)
			return
		}
	}
	if !sameScalar(from, to) {
		d.add(at, from, to)
	}
}

func (d *differ) maps(a, b map[string]any, at Path) {
	both := map[string]any{}
	maps.Copy(both, a)
	maps.Copy(both, b)
	for _, key := range sortedKeys(both) {
		av, inA := a[key]
		bv, inB := b[key]
		next := at.with(Step{Name: key})
		switch {
		case inA && inB:
			d.values(av, bv, next)
		case isKeyed(av, key) || isKeyed(bv, key):
			// Each label is a field of its own, the only one as well.
			aMap, _ := av.(map[string]any)
			bMap, _ := bv.(map[string]any)
			d.maps(aMap, bMap, next)
		default:
			d.add(next, av, bv)
		}
	}
}

func (d *differ) lists(a, b []any, at Path) {
	keys := d.keys[schemaPath(at)]
	if keyed(a, keys) && keyed(b, keys) || uniquelyNamed(a) && uniquelyNamed(b) {
		d.keyedLists(a, b, keys, at)
		return
	}
	if len(a) != len(b) {
		d.add(at, a, b)
		return
	}
	for i := range a {
		d.values(a[i], b[i], at.with(Step{Index: i}))
	}
}

// keyed reports whether the keys identify every item of a list. An API server also keeps lists in which they do not.
func keyed(list []any, keys []string) bool {
	seen := map[string]bool{}
	for i := range list {
		name := Path{itemStep(list, i, keys)}.String()
		if seen[name] {
			return false
		}
		seen[name] = true
	}
	return len(keys) > 0
}

func (d *differ) keyedLists(a, b []any, keys []string, at Path) {
	inB := make(map[string]any, len(b))
	for i, item := range b {
		inB[Path{itemStep(b, i, keys)}.String()] = item
	}
	for i, item := range a {
		step := itemStep(a, i, keys)
		name := Path{step}.String()
		if other, ok := inB[name]; ok {
			d.values(item, other, at.with(step))
			delete(inB, name)
		} else {
			d.add(at.with(step), item, nil)
		}
	}
	for i, item := range b {
		step := itemStep(b, i, keys)
		if _, ok := inB[Path{step}.String()]; ok {
			d.add(at.with(step), nil, item)
		}
	}
	before, after := namesIn(a, b, keys), namesIn(b, a, keys)
	if !slices.Equal(before, after) {
		d.add(at, asAny(before), asAny(after))
	}
}

// namesIn lists the names of those items of a list that another list has as well.
func namesIn(list, other []any, keys []string) []string {
	inOther := make(map[string]bool, len(other))
	for i := range other {
		inOther[itemStep(other, i, keys).values()] = true
	}
	var names []string
	for i := range list {
		if name := itemStep(list, i, keys).values(); inOther[name] {
			names = append(names, name)
		}
	}
	return names
}

func asAny(names []string) []any {
	out := make([]any, len(names))
	for i, name := range names {
		out[i] = name
	}
	return out
}

func (d *differ) add(at Path, from, to any) {
	if from == nil && to == nil {
		return // a null is no field
	}
	d.found = append(d.found, FieldChange{Path: at.String(), From: d.mask.Value(at, from), To: d.mask.Value(at, to)})
}

func sameScalar(a, b any) bool {
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			return x == y // a float64 has not enough digits
		}
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	return reflect.DeepEqual(a, b)
}

// number makes 1 and 1.0 the same: one side may have come through YAML and the other through JSON.
func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case int:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// listKeys finds which lists are keyed and by which fields. The API server knows from the kind's schema, and says so
// in the managed fields: an item of a keyed list stands there as k:{"name":"driver"}.
func listKeys(objs ...*unstructured.Unstructured) map[string][]string {
	keys := map[string][]string{}
	for _, obj := range objs {
		entries, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "managedFields")
		list, _ := entries.([]any)
		for _, entry := range list {
			fields, _ := entry.(map[string]any)
			if set, ok := fields["fieldsV1"].(map[string]any); ok {
				collectKeys(set, "", keys)
			}
		}
	}
	return keys
}

func collectKeys(set map[string]any, at string, keys map[string][]string) {
	for element, below := range set {
		next := at
		switch kind, text, _ := strings.Cut(element, ":"); kind {
		case "f":
			next = at + "." + text
		case "k":
			var item map[string]any
			if json.Unmarshal([]byte(text), &item) == nil && len(keys[at]) < len(item) {
				keys[at] = sortedKeys(item)
			}
		}
		if inner, ok := below.(map[string]any); ok {
			collectKeys(inner, next, keys)
		}
	}
}

// schemaPath drops which item of a list a path goes through, as collectKeys does.
func schemaPath(p Path) string {
	var out strings.Builder
	for _, step := range p {
		if step.Name != "" {
			out.WriteString("." + step.Name)
		}
	}
	return out.String()
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
