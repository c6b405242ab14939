package v1alpha1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decode reads one strict YAML document into a struct with yaml tags and returns its nodes for later error messages.
func decode(file string, data []byte, kind string, into any) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file is empty; it needs `apiVersion: %s` and `kind: %s`", file, APIVersion, kind)
	} else if err != nil {
		return nil, wrongValues(file, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: it holds more than one YAML document; keep one", file)
	}
	root := doc.Content[0]
	if root.Tag == "!!null" {
		return nil, fmt.Errorf("%s: the file is empty; it needs `apiVersion: %s` and `kind: %s`", file, APIVersion, kind)
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: the document is not a map of keys and values", file, root.Line)
	}
	p := &problems{file: file, doc: root}
	unknownKeys(root, reflect.TypeOf(into), "", p)
	if got := scalar(root, "apiVersion"); got != APIVersion {
		p.add("apiVersion", "%q is not known; this syncer reads %s", got, APIVersion)
	}
	if got := scalar(root, "kind"); got != kind {
		p.add("kind", "%q stands where %s is expected", got, kind)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	if err := root.Decode(into); err != nil {
		return nil, wrongValues(file, err)
	}
	return root, nil
}

// yamlText is one of yaml's errors without its prefix and the names of Go packages.
func yamlText(text string) string {
	return goTypes.ReplaceAllString(strings.TrimPrefix(text, "yaml: "), "$1")
}

var (
	goTypes  = regexp.MustCompile(`(into )\[?\]?\*?v1alpha1\.`)
	lineText = regexp.MustCompile(`^line (\d+): `)
)

// wrongValues gives an error for each value of a wrong type, or for a text that is not YAML, with its place as in every
// other error.
func wrongValues(file string, err error) error {
	texts := []string{err.Error()}
	if typeErr, ok := errors.AsType[*yaml.TypeError](err); ok {
		texts = typeErr.Errors
	}
	var errs []error
	for _, text := range texts {
		text = yamlText(text)
		if m := lineText.FindStringSubmatch(text); m != nil {
			errs = append(errs, fmt.Errorf("%s:%s: %s", file, m[1], text[len(m[0]):]))
		} else {
			errs = append(errs, fmt.Errorf("%s: %s", file, text))
		}
	}
	return errors.Join(errs...)
}

func scalar(root *yaml.Node, key string) string {
	if value := child(root, key); value != nil {
		return value.Value
	}
	return ""
}

// child returns the value of a key in a mapping, or nil.
func child(node *yaml.Node, key string) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// unknownKeys reports each key of a node that the type does not have. yaml's own strict mode names Go types and not
// the nearest key, and users meet this error more than any other.
func unknownKeys(node *yaml.Node, t reflect.Type, at string, p *problems) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode:
		for i, item := range node.Content {
			unknownKeys(item, t.Elem(), fmt.Sprintf("%s[%d]", at, i), p)
		}
	case t.Kind() == reflect.Map && node.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			unknownKeys(node.Content[i+1], t.Elem(), join(at, node.Content[i].Value), p)
		}
	case t.Kind() == reflect.Struct && node.Kind == yaml.MappingNode:
		if t == reflect.TypeFor[Duration]() {
			return
		}
		known := keysOf(t)
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if field, ok := known[key.Value]; ok {
				unknownKeys(value, field, join(at, key.Value), p)
				continue
			}
			p.addAt(key.Line, join(at, key.Value), "unknown key%s", nearest(key.Value, known))
		}
	}
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func keysOf(t reflect.Type) map[string]reflect.Type {
	keys := make(map[string]reflect.Type, t.NumField())
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		if options == "inline" {
			maps.Copy(keys, keysOf(field.Type))
			continue
		}
		keys[name] = field.Type
	}
	return keys
}

// nearest suggests the known key that a typing error most likely stands for.
func nearest(key string, known map[string]reflect.Type) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	best, distance := "", len(key)/2+2
	for _, name := range names {
		if d := edits(strings.ToLower(key), strings.ToLower(name)); d < distance {
			best, distance = name, d
		}
	}
	if best == "" {
		return " (known here: " + strings.Join(names, ", ") + ")"
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// edits is the Levenshtein distance of two short words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// problems collects all errors of one file, so that a user can fix them at once.
type problems struct {
	file string
	doc  *yaml.Node
	errs []error
}

func (p *problems) add(path, format string, args ...any) {
	p.addAt(p.line(path), path, format, args...)
}

func (p *problems) addAt(line int, path, format string, args ...any) {
	where := p.file
	if line > 0 {
		where += ":" + strconv.Itoa(line)
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %s: %s", where, path, fmt.Sprintf(format, args...)))
}

var pathPart = regexp.MustCompile(`[^.\[\]]+`)

// line finds the line of a path such as environments[1].prune.maxPercent, or of the nearest parent that stands in the
// file.
func (p *problems) line(path string) int {
	node, line := p.doc, p.doc.Line
	for _, part := range pathPart.FindAllString(path, -1) {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if n, err := strconv.Atoi(part); err == nil && node.Kind == yaml.SequenceNode && n < len(node.Content) {
			node = node.Content[n]
		} else {
			node = child(node, part)
		}
		if node == nil {
			break
		}
		line = node.Line
	}
	return line
}

func (p *problems) err() error { return errors.Join(p.errs...) }
