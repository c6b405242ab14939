package origin

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/syncerdev/syncer/pkg/yamltext"
)

// equal reports whether a value in a file is the rendered one.
func equal(node *yaml.Node, rendered any, depth int) bool {
	node = yamltext.Resolve(node)
	if depth > deepestCopy {
		return false
	}
	switch rendered := rendered.(type) {
	case map[string]any:
		if node.Kind != yaml.MappingNode || len(node.Content) != 2*len(rendered) {
			return false
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			value, ok := rendered[yamltext.Resolve(node.Content[i]).Value]
			if !ok || !equal(node.Content[i+1], value, depth+1) {
				return false
			}
		}
		return true
	case []any:
		if node.Kind != yaml.SequenceNode || len(node.Content) != len(rendered) {
			return false
		}
		for i, item := range rendered {
			if !equal(node.Content[i], item, depth+1) {
				return false
			}
		}
		return true
	}
	return node.Kind == yaml.ScalarNode && equalScalar(node, rendered)
}

func equalScalar(node *yaml.Node, rendered any) bool {
	if rendered == nil {
		return node.ShortTag() == "!!null"
	}
	if node.Value == fmt.Sprint(rendered) {
		return true
	}
	if text, ok := rendered.(string); ok {
		var at time.Time
		if node.ShortTag() == "!!timestamp" && node.Decode(&at) == nil {
			full, ok := asRendered(at)
			return ok && full == text
		}
		decoded, err := base64.StdEncoding.DecodeString(node.Value)
		return node.ShortTag() == "!!binary" && err == nil && string(decoded) == text
	}
	var value any
	if node.Decode(&value) != nil {
		return false
	}
	a, isNumber := number(value)
	b, ok := number(rendered)
	return isNumber && ok && a == b || value == rendered
}

// agrees reports whether a caller's desired value is the value that git renders. An API server adds fields and writes
// quantities in its own way, syncer adds digests to images, and callers mask secret values.
func agrees(rendered, wanted any) bool {
	switch rendered := rendered.(type) {
	case map[string]any:
		fields, ok := wanted.(map[string]any)
		for key, value := range rendered {
			if ok && !agrees(value, fields[key]) {
				return false
			}
		}
		return ok || wanted == nil || masked(wanted)
	case []any:
		items, ok := wanted.([]any)
		if !ok || len(items) != len(rendered) {
			return wanted == nil || masked(wanted)
		}
		for i := range items {
			if !agrees(rendered[i], items[i]) {
				return false
			}
		}
		return true
	}
	if wanted == nil || masked(wanted) {
		return true
	}
	a, b := fmt.Sprint(rendered), fmt.Sprint(wanted)
	return a == b || strings.HasPrefix(b, a+"@sha256:") || sameNumber(rendered, wanted) || sameQuantity(a, b)
}

func masked(value any) bool {
	text, ok := value.(string)
	return ok && strings.Contains(text, "(masked")
}

func sameNumber(rendered, wanted any) bool {
	a, ok := number(rendered)
	b, isNumber := number(wanted)
	return ok && isNumber && a == b
}

func number(value any) (float64, bool) {
	switch value := value.(type) {
	case int:
		return float64(value), true
	case int32:
		return float64(value), true
	case int64:
		return float64(value), true
	case float64:
		return value, true
	}
	return 0, false
}

func sameQuantity(a, b string) bool {
	first, err := resource.ParseQuantity(a)
	if err != nil {
		return false
	}
	second, err := resource.ParseQuantity(b)
	return err == nil && first.Cmp(second) == 0
}
