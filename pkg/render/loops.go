package render

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// kustomize (v0.21) follows the references between the types of a `crds` file until the stack is used up, which ends
// the whole process. It follows an `openapi` definition that refers to itself without end. Neither can be recovered
// from, so such files are refused. kustomize itself reports a file that cannot be read here.

type schemaRef struct {
	Ref string `json:"$ref"`
}

// crdLoop finds a type of a `crds` file that contains itself.
func crdLoop(data []byte) (name string, found bool) {
	var types map[string]struct {
		Schema struct {
			Properties map[string]schemaRef `json:"properties"`
		}
	}
	if yaml.Unmarshal(data, &types) != nil {
		return "", false
	}
	refs := map[string][]string{}
	for name, spec := range types {
		for _, property := range spec.Schema.Properties {
			refs[name] = append(refs[name], normalised(property.Ref))
		}
	}
	return loop(refs)
}

// definitionLoop finds a definition of an `openapi` schema that contains itself.
func definitionLoop(data []byte) (name string, found bool) {
	var schema struct {
		Definitions map[string]schemaRef `json:"definitions"`
	}
	if yaml.Unmarshal(data, &schema) != nil {
		return "", false
	}
	refs := map[string][]string{}
	for name, definition := range schema.Definitions {
		if definition.Ref != "" {
			refs[name] = []string{strings.TrimPrefix(normalised(definition.Ref), "#/definitions/")}
		}
	}
	return loop(refs)
}

func normalised(ref string) string {
	if parsed, err := url.Parse(ref); err == nil {
		return parsed.String()
	}
	return ref
}

// loop finds the first name, in their order, from which the references lead back to it.
func loop(refs map[string][]string) (string, bool) {
	for _, start := range slices.Sorted(maps.Keys(refs)) {
		seen := map[string]bool{}
		next := refs[start]
		for len(next) > 0 {
			name := next[0]
			next = next[1:]
			if name == start {
				return start, true
			}
			if !seen[name] {
				seen[name] = true
				next = append(next[:len(next):len(next)], refs[name]...)
			}
		}
	}
	return "", false
}
