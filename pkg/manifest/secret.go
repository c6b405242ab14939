package manifest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// IsSecret reports whether an object is a core Secret, whose values appear nowhere.
func IsSecret(obj *unstructured.Unstructured) bool {
	return obj != nil && obj.GetKind() == "Secret" && obj.GetAPIVersion() == "v1"
}

// encodeStringData moves a Secret's stringData to data, as the API server does when it stores one. Applied as
// stringData, a key would be owned under that name only: another manager's write to it would go unnoticed, and a key
// that git drops would stay.
func encodeStringData(obj *unstructured.Unstructured) {
	plain, found, err := unstructured.NestedStringMap(obj.Object, "stringData")
	if !IsSecret(obj) || !found || err != nil {
		return // the API server judges values that are not text
	}
	data, ok := obj.Object["data"].(map[string]any)
	if !ok {
		data = map[string]any{}
		obj.Object["data"] = data
	}
	for key, value := range plain {
		data[key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	delete(obj.Object, "stringData")
}

// shortestSecret is the length from which on a value is cut out of a text: replacing shorter ones would garble any text
// and protect nothing.
const shortestSecret = 4

// longestFirst orders values so that none is left half replaced by a shorter one.
func longestFirst(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }

// quoted is a text as errors print it, less the quotation marks.
func quoted(text string) string {
	text = strconv.Quote(text)
	return text[1 : len(text)-1]
}

// secretValues lists the values of a Secret in every form in which an error could quote them.
func secretValues(obj *unstructured.Unstructured) []string {
	if !IsSecret(obj) {
		return nil
	}
	var out []string
	add := func(value string) {
		if len(value) >= shortestSecret {
			out = append(out, value)
		}
	}
	addForms := func(text string) {
		add(text)
		add(strings.TrimSpace(text))
		add(quoted(text))
	}
	for _, field := range []string{"data", "stringData"} {
		// Not NestedStringMap: an error may quote a value of a wrong type.
		values, _, _ := unstructured.NestedFieldNoCopy(obj.Object, field)
		for _, text := range leaves(values) {
			addForms(text)
			add(base64.StdEncoding.EncodeToString([]byte(text)))
			if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
				addForms(string(plain))
			}
		}
	}
	return out
}

// leaves lists the scalars below a value.
func leaves(value any) []string {
	var out []string
	switch v := value.(type) {
	case nil:
	case map[string]any:
		for _, item := range v {
			out = append(out, leaves(item)...)
		}
	case []any:
		for _, item := range v {
			out = append(out, leaves(item)...)
		}
	default:
		out = append(out, fmt.Sprint(v))
	}
	return out
}
