package commands

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// refreshed sets environments.ENVIRONMENT.images.refresh.REFERENCE in a pipeline.yaml. It writes a line or a few where
// that says it, and the whole file anew where it does not, as in {flow: style}.
func refreshed(before []byte, environment, reference, value string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(before, &doc); err != nil {
		return "", err
	}
	if len(doc.Content) == 0 { // nothing, or comments
		if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
			before = append(before, '\n')
		}
		before = append(before, "apiVersion: "+v1alpha1.APIVersion+"\nkind: Pipeline\n"...)
		if err := yaml.Unmarshal(before, &doc); err != nil {
			return "", err
		}
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return "", errors.New("the document is not a map")
	}
	keys := []string{"environments", environment, "images", "refresh", reference}
	line := insertion(string(before), doc.Content[0], keys, value)
	if err := setBelow(doc.Content[0], keys, value); err != nil {
		return "", err
	}
	whole, err := encode(&doc)
	if err != nil || sameYAML(line, whole) {
		return line, err
	}
	return whole, nil
}

func encode(node *yaml.Node) (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(node)
	return out.String(), err
}

func sameYAML(a, b string) bool {
	var left, right any
	return yaml.Unmarshal([]byte(a), &left) == nil && yaml.Unmarshal([]byte(b), &right) == nil && reflect.DeepEqual(left, right)
}

// insertion is a text in which the keys that are not there follow the line of the last one that is, or the end of the
// text. What it gives may say something else in some style of writing; sameYAML tells.
func insertion(text string, node *yaml.Node, keys []string, value string) string {
	all := lines(text)
	at, indent := len(all), 0
	for len(keys) > 0 {
		key, below := childOf(node, keys[0])
		if key == nil {
			break
		}
		if max(key.Line, below.Line) > len(all) { // a lone carriage return ends a line for yaml
			return ""
		}
		if len(keys) == 1 {
			all[below.Line-1] = replaced(all[below.Line-1], below, value)
			return strings.Join(all, "")
		}
		at, indent = key.Line, key.Column+1
		if len(below.Content) > 0 {
			indent = below.Content[0].Column - 1
		}
		node, keys = below, keys[1:]
	}
	end := "\n"
	if strings.HasSuffix(all[0], "\r\n") {
		end = "\r\n" // the lines of a file end in one way
	}
	head := strings.Join(all[:at], "")
	if !strings.HasSuffix(head, "\n") {
		head += end
	}
	added := indented(strings.Repeat(" ", indent), keys, value)
	return head + strings.ReplaceAll(added, "\n", end) + strings.Join(all[at:], "")
}

// replaced is a line in which another value stands in a node's place, with what follows it, such as a comment.
func replaced(line string, node *yaml.Node, value string) string {
	characters := []rune(line)
	if node.Column > len(characters) {
		return ""
	}
	head, tail := string(characters[:node.Column-1]), string(characters[node.Column-1:])
	for _, written := range []string{strconv.Quote(node.Value), "'" + node.Value + "'", node.Value} {
		if rest, ok := strings.CutPrefix(tail, written); ok {
			return head + strconv.Quote(value) + rest
		}
	}
	return ""
}

// indented writes keys, each below the one before, and a value.
func indented(indent string, keys []string, value string) string {
	root := &yaml.Node{Kind: yaml.MappingNode}
	if setBelow(root, keys, value) != nil {
		return ""
	}
	text, err := encode(root)
	if err != nil {
		return ""
	}
	return indent + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+indent) + "\n"
}

// setBelow sets the value that a path of keys leads to, and makes the maps that are not there.
func setBelow(node *yaml.Node, keys []string, value string) error {
	key, below := childOf(node, keys[0])
	if key == nil {
		key, below = &yaml.Node{Kind: yaml.ScalarNode, Value: keys[0]}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
		node.Content = append(node.Content, key, below)
	}
	if len(keys) == 1 {
		*below = yaml.Node{Kind: yaml.ScalarNode, Value: value, Tag: "!!str", Style: yaml.DoubleQuotedStyle, LineComment: below.LineComment}
		return nil
	}
	if below.ShortTag() == "!!null" { // a key without a value
		*below = yaml.Node{Kind: yaml.MappingNode}
	}
	if below.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s is no map; write it out, since syncer cannot add to it", key.Line, key.Value)
	}
	return setBelow(below, keys[1:], value)
}

// childOf returns a key of a map and its value; nil where there is none.
func childOf(node *yaml.Node, key string) (at, value *yaml.Node) {
	for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i], node.Content[i+1]
		}
	}
	return nil, nil
}
