package takeover

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// entry is one entry of managed fields: `NAME OPERATION [SUBRESOURCE [VERSION]]` and its fields.
type entry struct{ who, fields string }

// objectOf reads one YAML document, and sets its managed fields.
func objectOf(t *testing.T, text string, by ...entry) *unstructured.Unstructured {
	t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var entries []any
	for _, e := range by {
		words := strings.Fields(e.who)
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(e.fields), &fields); err != nil {
			t.Fatalf("%v in %s", err, e.fields)
		}
		one := map[string]any{"manager": words[0], "operation": words[1], "apiVersion": obj.GetAPIVersion(), "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields}
		if len(words) > 2 && words[2] != "-" {
			one["subresource"] = words[2]
		}
		if len(words) > 3 {
			one["apiVersion"] = words[3]
		}
		entries = append(entries, one)
	}
	if entries != nil {
		if err := unstructured.SetNestedSlice(obj.Object, entries, "metadata", "managedFields"); err != nil {
			t.Fatal(err)
		}
	}
	return obj
}

// managersOf lists the entries of an object's managed fields, with their fields.
func managersOf(obj *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for _, e := range obj.GetManagedFields() {
		out[strings.TrimSpace(e.Manager+" "+string(e.Operation)+" "+e.Subresource)] = string(e.FieldsV1.GetRawBytes())
	}
	return out
}

// decoded reads a patch.
func decoded(t *testing.T, patch []byte) (out any) {
	t.Helper()
	if err := json.Unmarshal(patch, &out); err != nil {
		t.Fatalf("%v in %s", err, patch)
	}
	return out
}
