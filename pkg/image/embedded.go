package image

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Annotation names, on an object, more fields with images, besides the fields that syncer knows: field paths with
// commas between them.
const Annotation = v1alpha1.Group + "/images"

// Disabled is the value of the annotation for an object in which no image is looked for but in the fields of its kind.
const Disabled = "disabled"

func looksAway(obj *unstructured.Unstructured) bool {
	return strings.TrimSpace(obj.GetAnnotations()[Annotation]) == Disabled
}

// annotated reads the paths of an object's annotation.
func annotated(obj *unstructured.Unstructured) ([]manifest.Path, error) {
	if looksAway(obj) {
		return nil, nil
	}
	var paths []manifest.Path
	for _, text := range splitPaths(obj.GetAnnotations()[Annotation]) {
		path, err := manifest.ParsePath(text)
		if err != nil {
			return nil, fmt.Errorf("%s: annotation %s: %w", manifest.IDOf(obj), Annotation, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// absent names the fields of an annotation that its object does not have: most often they are spelled wrongly. A path
// with * may stand for nothing.
func absent(obj *unstructured.Unstructured, paths []manifest.Path) error {
	var errs []error
	for _, path := range paths {
		several := slices.ContainsFunc(path, func(step manifest.Step) bool { return step.Any })
		if !several && len(manifest.Find(obj.Object, path)) == 0 {
			errs = append(errs, fmt.Errorf("%s: annotation %s: there is no field %s; mend the path, or take it out", manifest.IDOf(obj), Annotation, path))
		}
	}
	return errors.Join(errs...)
}

// splitPaths cuts at the commas that stand outside of brackets.
func splitPaths(list string) []string {
	var paths []string
	depth, start := 0, 0
	for i, r := range list + "," {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case r == ',' && depth == 0:
			if path := strings.TrimSpace(list[start:i]); path != "" {
				paths = append(paths, path)
			}
			start = i + 1
		}
	}
	return paths
}

// place is a reference inside a value, and how to write another one there.
type place struct {
	value string
	set   func(string)
	err   error // why none can be written there
}

// placesIn finds the references in the value of a field. In the fields that syncer knows, the whole value is one. A field
// that the user named may hold more: in a YAML or JSON text, such as Airflow's pod template in a ConfigMap, the
// references stand under keys named image. A key or an environment variable that ends in _REPOSITORY is half of a
// reference, with a sibling that ends in _TAG, as Airflow's worker image. A named value without a reference is an error:
// without it the image would be deployed unpinned and unnoticed.
func placesIn(obj map[string]any, field manifest.Field, named bool) ([]place, error) {
	value, ok := field.Value.(string)
	if !ok && named && field.Value != nil {
		return nil, errNoText
	}
	if !ok || strings.TrimSpace(value) == "" {
		return nil, nil // the API server judges a wrong type; an empty image is inherited or set later
	}
	whole := place{value: value, set: func(pinned string) { field.Set(pinned) }}
	if !named {
		return []place{whole}, nil
	}
	if lines := strings.Contains(strings.TrimSpace(value), "\n"); lines || strings.Contains(value, "image") {
		places, err := placesInText(value, field)
		if len(places) > 0 || lines {
			return places, err
		}
	}
	if tag, ok := tagOfPair(obj, field.Path); ok {
		return []place{{value: value + ":" + tag.Value.(string), set: func(pinned string) {
			tag.Set(strings.TrimPrefix(pinned, value+":"))
		}}}, nil
	}
	if _, err := formOf(value); err != nil && !strings.ContainsAny(value, "\r\n") {
		if spans := wordsIn(value, "image"); len(spans) > 0 {
			return placesAt(value, spans, field), nil
		}
	}
	return []place{whole}, nil
}

// The errors of a named value without references.
var (
	errNoText      = errors.New("it is no text, and so no image reference; name the field below it")
	errNoYAML      = errors.New("this text is neither a reference nor YAML, so that the references in it cannot be found; mend it, or no longer name the field")
	errNoReference = errors.New("no image reference is found in this text; syncer looks for keys named image. Mend the text, or no longer name the field")
)

var repositoryKey = regexp.MustCompile(`(?i)^(.*[_.-])?repository$`)

// tagOfPair finds the field that holds the tag of a repository in a field of its own.
func tagOfPair(obj map[string]any, path manifest.Path) (manifest.Field, bool) {
	sibling := slices.Clone(path)
	last := len(path) - 1
	key := path[last].Name
	if isVariable(path) {
		key = path[last-1].Keys[0].Value
		sibling[last-1] = manifest.Step{Keys: []manifest.KeyValue{{Key: "name", Value: tagKey(key)}}}
	} else {
		sibling[last] = manifest.Step{Name: tagKey(key)}
	}
	if tagKey(key) == "" {
		return manifest.Field{}, false
	}
	for _, found := range manifest.Find(obj, sibling) {
		if _, ok := found.Value.(string); ok {
			return found, true
		}
	}
	return manifest.Field{}, false
}

// isVariable reports whether a path is the value of an environment variable, as env[name=X].value.
func isVariable(path manifest.Path) bool {
	if len(path) < 2 || path[len(path)-1].Name != "value" {
		return false
	}
	keys := path[len(path)-2].Keys
	return len(keys) == 1 && keys[0].Key == "name"
}

// tagKey is the key beside a repository's that holds the tag, in the same case; "" where the key is no repository's.
func tagKey(key string) string {
	m := repositoryKey.FindStringSubmatch(key)
	switch {
	case m == nil:
		return ""
	case key == strings.ToUpper(key):
		return m[1] + "TAG"
	}
	return m[1] + "tag"
}

// placesInText finds the values of keys named image in a YAML text.
func placesInText(text string, field manifest.Field) ([]place, error) {
	found, empty, err := imagesInYAML(text)
	if err != nil { // the error names only the place: the text may be a Secret's
		return nil, fmt.Errorf("%w (%s)", errNoYAML, cmp.Or(yamlLine.FindString(err.Error()), "no line is known"))
	}
	if len(found) == 0 && !empty {
		return nil, errNoReference
	}
	return placesAt(text, found, field), nil
}

var yamlLine = regexp.MustCompile(`line \d+`)

// errNotPlain is about a reference that is written otherwise than it reads: with escapes, as a block, by an alias.
var errNotPlain = errors.New("it cannot be replaced where it stands; write it on one line, without escapes or an alias")

// imagesInYAML finds the images of a text, and tells whether one is left empty, to be inherited or set later.
func imagesInYAML(text string) (found []span, empty bool, err error) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	lines := lineOffsets(text)
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return found, empty, nil
		}
		if err != nil {
			return nil, false, err
		}
		empty = collectImages(&doc, text, lines, &found) || empty
	}
}

func collectImages(node *yaml.Node, text string, lines []int, found *[]span) (empty bool) {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 1 && node.Content[i-1].Value == "image" {
			if child.ShortTag() == "!!null" || child.Kind == yaml.ScalarNode && child.Value == "" {
				empty = true
			}
			if volume := valueOf(child, "reference"); volume != nil { // volumes[*].image.reference of a pod
				*found = append(*found, imageAt(volume, text, lines)...)
			}
			*found = append(*found, imageAt(child, text, lines)...)
		}
		empty = collectImages(child, text, lines, found) || empty
	}
	return empty
}

// valueOf is the value of a map's key; nil where it has none.
func valueOf(node *yaml.Node, key string) *yaml.Node {
	for i := 1; i < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
		if node.Content[i-1].Value == key {
			return node.Content[i]
		}
	}
	return nil
}

// properties are an anchor and a tag, which may stand before a value.
var properties = regexp.MustCompile(`^(?:[&!][^ \t\r\n]*[ \t]+)+`)

// imageAt locates the value of a key named image. It returns nothing if the value is not a text.
func imageAt(node *yaml.Node, text string, lines []int) []span {
	if node.Kind == yaml.AliasNode && node.Alias.ShortTag() == "!!str" {
		return []span{{value: node.Alias.Value, err: errNotPlain}}
	}
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" || node.Value == "" {
		return nil
	}
	found := span{value: node.Value, err: errNotPlain}
	if node.Line <= len(lines) {
		found.offset = byteOffset(text, lines[node.Line-1], node.Column)
		found.offset += len(properties.FindString(text[found.offset:]))
		if node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			found.offset++
		}
		if strings.HasPrefix(text[min(found.offset, len(text)):], node.Value) {
			found.err = nil
		}
	}
	return []span{found}
}

// byteOffset turns a column, which yaml counts in characters from 1, into an offset.
func byteOffset(text string, line, column int) int {
	offset := line
	for range column - 1 {
		if offset >= len(text) {
			return len(text)
		}
		_, size := utf8.DecodeRuneInString(text[offset:])
		offset += size
	}
	return offset
}

// lineBreak matches the end of a line in yaml's sense.
var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

func lineOffsets(text string) []int {
	offsets := []int{len(text) - len(strings.TrimPrefix(text, "\ufeff"))} // yaml does not count a byte order mark
	for _, at := range lineBreak.FindAllStringIndex(text, -1) {
		offsets = append(offsets, at[1])
	}
	return offsets
}
