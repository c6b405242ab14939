package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// documents parses a file's YAML documents, leaving out the empty ones.
func documents(file string, data []byte) ([]*yaml.Node, error) {
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

// lineOf finds the line of a value below a key of a document, or else that of the key. An anchor may stand elsewhere.
func lineOf(doc *yaml.Node, key, value string) int {
	if value != "" {
		for _, below := range []*yaml.Node{field(doc, key), doc} {
			if node := scalarOf(below, value); node != nil {
				return node.Line
			}
		}
	}
	return lineOfKey(doc, key)
}

func lineOfKey(doc *yaml.Node, key string) int {
	if node := scalarOf(doc, key); node != nil {
		return node.Line
	}
	return doc.Line
}

// scalarOf finds a scalar of a value. It follows no alias: what an alias stands for is in the document as well.
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

// field returns the value of a key of a map, or nil. Keys are compared as kustomize does, without regard to case.
func field(node *yaml.Node, key string) *yaml.Node {
	if node == nil {
		return nil
	}
	node = resolve(node)
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if strings.EqualFold(node.Content[i].Value, key) {
			return resolve(node.Content[i+1])
		}
	}
	return nil
}

func resolve(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias // an anchor holds no alias
	}
	return node
}

func text(node *yaml.Node, key string) string {
	if value := field(node, key); value != nil {
		return value.Value
	}
	return ""
}
