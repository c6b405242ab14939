package ignore

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// objectOf reads one YAML document.
func objectOf(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return obj
}

// owners are the managed fields of an object: for each manager, as `NAME [OPERATION [SUBRESOURCE]]`, its fields.
type owners map[string]string

// owned sets the managed fields of an object.
func owned(t *testing.T, obj *unstructured.Unstructured, by owners) *unstructured.Unstructured {
	t.Helper()
	var entries []any
	for who, fields := range by {
		words := append(strings.Fields(who), "Update", "")
		if words[0] == manifest.FieldManager && len(strings.Fields(who)) == 1 {
			words[1] = "Apply"
		}
		var set map[string]any
		if err := json.Unmarshal([]byte(fields), &set); err != nil {
			t.Fatalf("%v in %s", err, fields)
		}
		entry := map[string]any{"manager": words[0], "operation": words[1], "apiVersion": obj.GetAPIVersion(), "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": set}
		if len(strings.Fields(who)) == 3 {
			entry["subresource"] = words[2]
		}
		entries = append(entries, entry)
	}
	if err := unstructured.SetNestedSlice(obj.Object, entries, "metadata", "managedFields"); err != nil {
		t.Fatal(err)
	}
	return obj
}

// said writes differences that do not count for a comparison.
func said(quiet []Quiet) string {
	var out []string
	for _, q := range quiet {
		out = append(out, fmt.Sprintf("%s: %s (%s)", q.Path, q.Rule, q.Reason))
	}
	return strings.Join(out, "; ")
}

func paths(texts ...string) []manifest.Path { return patterns(texts...) }
