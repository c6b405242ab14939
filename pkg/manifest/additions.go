package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Addition is a field that a manager other than syncer set, and that syncer does not apply.
type Addition struct {
	Path    string
	Value   any // nil in an addition that was recorded
	Manager Manager
}

// Additions lists the fields that other managers than self own and self does not, sorted by path. Each is the topmost
// field that is another manager's as a whole. An added list item or map key is one addition, with everything in it.
// Status is left out. Values are masked by a Mask with this salt.
//
// A field that syncer sends belongs to syncer also where an admission webhook put it into the request: the API server
// counts that as an Update by the same manager.
func Additions(obj *unstructured.Unstructured, self string, salt []byte) []Addition {
	own := map[string]any{}
	entries := ownerships(obj)
	for _, entry := range entries {
		if entry.Manager == self {
			own = union(own, entry.FieldsV1)
		}
	}
	found := map[string]Addition{}
	for _, entry := range entries {
		if entry.Manager == self || entry.Subresource == "status" {
			continue
		}
		manager := Manager{Name: entry.Manager, Operation: entry.Operation, Subresource: entry.Subresource, Time: entry.Time}
		set := maps.Clone(entry.FieldsV1)
		delete(set, "f:status") // where a kind has no status subresource
		additions(set, own, obj.Object, nil, func(at Path, value any) {
			path := at.String()
			if known, ok := found[path]; !ok || manager.Time.After(known.Manager.Time) {
				found[path] = Addition{Path: path, Value: Mask{Object: obj, Salt: salt}.Value(at, value), Manager: manager}
			}
		})
	}
	out := make([]Addition, 0, len(found))
	for _, path := range sortedKeys(found) {
		out = append(out, found[path])
	}
	return out
}

// additions walks a manager's fields beside syncer's own, with their values.
func additions(set, own map[string]any, value any, at Path, found func(Path, any)) {
	for _, element := range sortedKeys(set) {
		if element == "." {
			continue
		}
		step, below, ok := elementIn(value, element)
		if !ok {
			continue // it was removed since
		}
		next := at.with(step)
		inner, _ := set[element].(map[string]any)
		mine, isMine := own[element].(map[string]any)
		leaf := len(inner) == 0 || len(inner) == 1 && inner["."] != nil
		switch {
		case isMine && (leaf || len(mine) == 0):
			// Shared as a whole, or the list around syncer's fields.
		case isMine:
			additions(inner, mine, below, next, found)
		case leaf && isKeyed(below, step.Name): // a map that is owned as a whole
			fields, _ := below.(map[string]any)
			for _, key := range sortedKeys(fields) {
				found(next.with(Step{Name: key}), fields[key])
			}
		case leaf || inner["."] != nil && !isKeyed(below, step.Name) && !isList(below):
			found(next, below)
		default:
			additions(inner, nil, below, next, found)
		}
	}
}

// keyedMaps are fields whose keys users choose, so that each key is an addition of its own.
var keyedMaps = []string{"labels", "annotations", "data", "binaryData", "stringData", "nodeSelector", "matchLabels", "sparkConf", "hadoopConf", "limits", "requests"}

func isKeyed(value any, name string) bool {
	fields, ok := value.(map[string]any)
	return ok && len(fields) > 0 && slices.Contains(keyedMaps, name)
}

func isList(value any) bool {
	_, ok := value.([]any)
	return ok
}

// elementIn finds the part of a value that an element of managed fields (f:name, k:{keys}, v:value, i:index) names.
func elementIn(value any, element string) (step Step, below any, ok bool) {
	kind, text, _ := strings.Cut(element, ":")
	if fields, isMap := value.(map[string]any); isMap && kind == "f" {
		below, ok = fields[text]
		return Step{Name: text}, below, ok
	}
	list, isList := value.([]any)
	if !isList {
		return Step{}, nil, false
	}
	switch kind {
	case "k":
		var keys map[string]any
		if json.Unmarshal([]byte(text), &keys) != nil {
			return Step{}, nil, false
		}
		for _, key := range sortedKeys(keys) {
			step.Keys = append(step.Keys, KeyValue{key, fmt.Sprint(keys[key])})
		}
		for _, item := range list {
			if fields, isMap := item.(map[string]any); isMap && hasKeys(fields, keys) {
				return step, item, true
			}
		}
	case "v", "i":
		var want any
		if json.Unmarshal([]byte(text), &want) != nil {
			return Step{}, nil, false
		}
		for i, item := range list {
			if kind == "v" && sameScalar(want, item) || kind == "i" && sameScalar(want, int64(i)) {
				return Step{Index: i}, item, true
			}
		}
	}
	return Step{}, nil, false
}

func hasKeys(fields, keys map[string]any) bool {
	for key, want := range keys {
		if !sameScalar(want, fields[key]) {
			return false
		}
	}
	return true
}

// union joins two sets of managed fields.
func union(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	for key, value := range b {
		x, both := out[key].(map[string]any)
		y, ok := value.(map[string]any)
		if both && ok {
			value = union(x, y)
		}
		out[key] = value
	}
	return out
}
