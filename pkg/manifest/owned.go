package manifest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// OwnedState is a hash of the fields that a manager owns by server-side apply and of their values in the object. Another
// manager's write to one of them changes it, and so does a write of another value under the manager's own name. It is
// empty where the manager has applied nothing. The hash of a Secret is keyed as in Hash; without a key it is empty.
func OwnedState(obj *unstructured.Unstructured, manager string, key []byte) string {
	fields, applied := appliedFields(obj, manager)
	if !applied || IsSecret(obj) && len(key) == 0 {
		return ""
	}
	doc, err := json.Marshal(project(fields, obj.Object)) // map keys are sorted
	if err != nil {
		return "" // the object came as JSON
	}
	if IsSecret(obj) {
		mac := hmac.New(sha256.New, key)
		mac.Write(doc)
		return hex.EncodeToString(mac.Sum(nil)[:16])
	}
	sum := sha256.Sum256(doc)
	return hex.EncodeToString(sum[:16])
}

// appliedFields are the managed fields of a manager's server-side applies to an object itself.
func appliedFields(obj *unstructured.Unstructured, manager string) (map[string]any, bool) {
	for _, entry := range managedFields(obj) {
		if entry.Manager == manager && entry.Operation == "Apply" && entry.Subresource == "" {
			return entry.FieldsV1, true
		}
	}
	return nil, false
}

// project is the part of a value that a set of managed fields names, with the names that managed fields use. A set that
// ends is owned as a whole.
func project(set map[string]any, value any) any {
	if len(set) == 0 {
		return value
	}
	out := make(map[string]any, len(set))
	for element, below := range set {
		if element == "." {
			out[element] = true
			continue
		}
		inner, _ := below.(map[string]any)
		out[element] = nil // owned, and not there: the API server drops an empty list, for example
		if _, part, there := elementIn(value, element); there {
			out[element] = project(inner, part)
		}
	}
	return out
}
