// Package yamltext reads YAML texts as nodes that know their lines, for errors and findings that name a line. It compares
// keys as kustomize does and touches nothing but the bytes it is given.
package yamltext

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Documents parses a file's YAML documents, leaving out the empty ones.
func Documents(file string, data []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var docs []*yaml.Node
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: not valid YAML: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
			docs = append(docs, doc.Content[0])
		}
	}
}

// LineOf finds the line of a value below a key of a document, or else the line of the key. An anchor may stand elsewhere.
func LineOf(doc *yaml.Node, key, value string) int {
	if value != "" {
		for _, below := range []*yaml.Node{Field(doc, key), doc} {
			if node := scalarOf(below, value); node != nil {
				return node.Line
			}
		}
	}
	return LineOfKey(doc, key)
}

// LineOfKey finds the line of a key of a document, or else the line of the document.
func LineOfKey(doc *yaml.Node, key string) int {
	if node := scalarOf(doc, key); node != nil {
		return node.Line
	}
	return doc.Line
}

// scalarOf finds a scalar of a value. It follows no alias: the target of an alias is in the document as well.
func scalarOf(node *yaml.Node, value string) *yaml.Node {
	if node == nil {
		return nil
	}
	if node.Kind == yaml.ScalarNode {
		var text string
		if node.Decode(&text) == nil && strings.EqualFold(text, value) {
			return node
		}
	}
	for _, child := range node.Content {
		if found := scalarOf(child, value); found != nil {
			return found
		}
	}
	return nil
}

// Field returns the value of a key of a map, or nil. Keys are compared as kustomize does, without regard to case.
func Field(node *yaml.Node, key string) *yaml.Node {
	if node == nil {
		return nil
	}
	node = Resolve(node)
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if strings.EqualFold(node.Content[i].Value, key) {
			return Resolve(node.Content[i+1])
		}
	}
	return nil
}

// Resolve returns the node that an alias refers to, and any other node as it is.
func Resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias // an anchor holds no alias
	}
	return node
}

// Text returns the text of a key of a map, or nothing.
func Text(node *yaml.Node, key string) string {
	if value := Field(node, key); value != nil {
		return value.Value
	}
	return ""
}

// Items lists the items of a list, and nothing of another node.
func Items(node *yaml.Node) []*yaml.Node {
	if node == nil || Resolve(node).Kind != yaml.SequenceNode {
		return nil
	}
	return Resolve(node).Content
}
