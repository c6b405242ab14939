package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/syncerdev/syncer/pkg/yamltext"
)

// missingQuotes names the value of a kustomization that is a number or a truth value in YAML and has to be a text, as in
// `newTag: 1.10`; nil where the error is another one. YAML makes 1.1 of it, and only the author knows which was meant.
func missingQuotes(file string, doc *yaml.Node, err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok || wrong.Type.String() != "string" {
		return nil
	}
	kinds := map[string][]string{"number": {"!!int", "!!float"}, "bool": {"!!bool"}}[strings.Fields(wrong.Value)[0]]
	if kinds == nil {
		return nil
	}
	keys := slices.DeleteFunc(strings.Split(wrong.Field, "."), func(key string) bool {
		return key == "" || unicode.IsUpper([]rune(key)[0]) // an embedded struct, which has no key
	})
	what := map[string]string{"number": "a number", "bool": "true or false"}[strings.Fields(wrong.Value)[0]]
	node := scalarBelow(doc, keys, kinds)
	if node == nil {
		return fmt.Errorf("%s: %s: a value without quotes is %s in YAML; quote it", file, strings.Join(keys, "."), what)
	}
	if slices.Contains(keys, "secretGenerator") {
		return fmt.Errorf("%s:%d: %s: a value without quotes is %s in YAML; quote it", file, node.Line, strings.Join(keys, "."), what)
	}
	return fmt.Errorf("%s:%d: %s: %s without quotes is %s in YAML; quote it: \"%s\"", file, node.Line, strings.Join(keys, "."), node.Value, what, node.Value)
}

// scalarBelow finds the first value of some kind that a path of keys leads to, through the items of lists. Where the path ends
// at a map, its values are meant.
func scalarBelow(node *yaml.Node, keys, kinds []string) *yaml.Node {
	if node = yamltext.Resolve(node); node.Kind == yaml.SequenceNode {
		for _, item := range node.Content {
			if found := scalarBelow(item, keys, kinds); found != nil {
				return found
			}
		}
		return nil
	}
	if len(keys) > 0 {
		below := yamltext.Field(node, keys[0])
		if below == nil {
			return nil
		}
		return scalarBelow(below, keys[1:], kinds)
	}
	if node.Kind == yaml.MappingNode {
		for i := 1; i < len(node.Content); i += 2 {
			if value := yamltext.Resolve(node.Content[i]); value.Kind == yaml.ScalarNode && slices.Contains(kinds, value.ShortTag()) {
				return value
			}
		}
	}
	if node.Kind == yaml.ScalarNode && slices.Contains(kinds, node.ShortTag()) {
		return node
	}
	return nil
}
