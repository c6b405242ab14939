package origin

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/syncerdev/syncer/pkg/yamltext"
)

// Marks are fields that no overlay has and that mean nothing to kustomize:
//
//	schedule: "@daily"
//	schedule-syncer-place: "17"       beside a value: what replaces the value replaces the mark
//	args: [a, b]
//	args-syncer-place: "18"           beside a list, as for a value
//	args-syncer-place-18: .           and one for each layer, since lists are merged and added to
//	limits:
//	  memory: 1Gi
//	  syncer-place-19: .              in a map: one for each layer that has the map
//
// The numbers are the numbers of marks. They also replace the tags and counts that `images` and `replicas` set. Marks
// consist of letters and dashes, which keys of data, labels and the paths of replacements take as they are.
const (
	twinSuffix = "-syncer-place"
	markPrefix = "syncer-place-"
	markValue  = "."

	// replicaMark is added to the number of a mark that replaces a count. No real count is as large.
	replicaMark = int64(1) << 40
	// largestCopy stops the expansion of aliases in aliases, and deepestCopy at an anchor that holds its own alias.
	largestCopy = 1 << 18
	deepestCopy = 200
)

// mark describes a place of a file and its value.
type mark struct {
	number    int
	place     Place
	node      *yaml.Node             // the value there; nil: the value is computed
	beside    func(*yaml.Node) Place // the place of another node of the same text
	declares  bool                   // an object, of this name
	name      string
	generated bool // from a literal or a file, which kustomize may encode
}

var markedTag = regexp.MustCompile(markPrefix + `([0-9]+)(@|$)`)

// transformed reads the mark that replaces a value which a transformer computed.
func transformed(value any) (int, bool) {
	switch value := value.(type) {
	case string:
		if m := markedTag.FindStringSubmatch(value); m != nil {
			i, err := strconv.Atoi(m[1])
			return i, err == nil
		}
	case int64:
		return int(value - replicaMark), value >= replicaMark
	}
	return 0, false
}

// errUnmarked says that a text stays as it is. The place of its fields is then the declaration of the object.
var errUnmarked = errors.New("cannot be marked")

// copier copies one text with marks in it. Aliases and merges are written out.
type copier struct {
	marker *marker
	place  func(*yaml.Node) Place
	size   int
	depth  int
}

func (c *copier) enter() error {
	c.size++
	c.depth++
	if c.size > largestCopy || c.depth > deepestCopy {
		return errUnmarked
	}
	return nil
}

func (c *copier) leave() { c.depth-- }

// object copies an object, or the part of an object in a patch.
func (c *copier) object(node *yaml.Node, declares bool) (*yaml.Node, error) {
	out, err := c.copy(node, node)
	if err != nil || out.Kind != yaml.MappingNode {
		return nil, errUnmarked
	}
	root := &c.marker.marks[len(c.marker.marks)-1] // copyMap notes the map itself last
	root.declares, root.name = declares, yamltext.Text(yamltext.Field(node, "metadata"), "name")
	return out, nil
}

// copy copies a value. The mark of a map is inside the map, and from is the node where a reader sees the map begin.
func (c *copier) copy(node, from *yaml.Node) (*yaml.Node, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	node = yamltext.Resolve(node)
	out := &yaml.Node{Kind: node.Kind, Style: node.Style, Tag: node.Tag, Value: node.Value}
	if node.Kind == yaml.MappingNode {
		return out, c.copyMap(node, from, out)
	}
	for _, item := range node.Content {
		copied, err := c.copy(item, yamltext.Resolve(item))
		if err != nil {
			return nil, err
		}
		out.Content = append(out.Content, copied)
	}
	return out, nil
}

func (c *copier) copyMap(node, from, out *yaml.Node) error {
	entries, err := c.entries(node)
	if err != nil {
		return err
	}
	for _, e := range entries {
		value, err := c.copy(e.value, e.key)
		if err != nil {
			return err
		}
		key := &yaml.Node{Kind: yaml.ScalarNode, Style: e.key.Style, Tag: e.key.Tag, Value: e.key.Value}
		out.Content = append(out.Content, key, value)
		if !strings.HasPrefix(key.Value, "$") { // a directive of a strategic merge patch
			out.Content = append(out.Content, c.twin(e)...)
		}
	}
	number := c.marker.note(mark{place: c.place(from), node: node, beside: c.place})
	out.Content = append(out.Content, scalar(markPrefix+strconv.Itoa(number)), scalar(markValue))
	return nil
}

// twin is the mark beside a value that is not a map. A null removes the mark, as it removes the value.
func (c *copier) twin(e entry) []*yaml.Node {
	value := yamltext.Resolve(e.value)
	key := e.key.Value + twinSuffix
	switch {
	case value.Kind == yaml.MappingNode:
		return nil
	case value.Kind == yaml.ScalarNode && value.ShortTag() == "!!null":
		return []*yaml.Node{scalar(key), {Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}}
	}
	number := strconv.Itoa(c.marker.note(mark{place: c.place(e.key), node: value, beside: c.place}))
	twin := []*yaml.Node{scalar(key), scalar(number)}
	if value.Kind == yaml.SequenceNode {
		twin = append(twin, scalar(key+"-"+number), scalar(markValue))
	}
	return twin
}

func scalar(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Style: yaml.DoubleQuotedStyle}
}

type entry struct{ key, value *yaml.Node }

// entries lists the entries of a map, and those of the maps that it merges, for keys that the map itself does not have.
func (c *copier) entries(node *yaml.Node) ([]entry, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	var found []entry
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := yamltext.Resolve(node.Content[i]), yamltext.Resolve(node.Content[i+1])
		switch {
		case key.Kind != yaml.ScalarNode:
			return nil, errUnmarked
		case key.ShortTag() != "!!merge":
			found = append(found, entry{key, value})
		case value.Kind == yaml.SequenceNode:
			merged = append(merged, value.Content...)
		default:
			merged = append(merged, value)
		}
	}
	seen := make(map[string]bool, len(found))
	for _, e := range found {
		seen[e.key.Value] = true
	}
	for _, source := range merged {
		more, err := c.entries(yamltext.Resolve(source))
		if err != nil {
			return nil, err
		}
		for _, e := range more {
			if !seen[e.key.Value] {
				seen[e.key.Value] = true
				found = append(found, e)
			}
		}
	}
	return found, nil
}

// operations copies a JSON patch. After each operation that writes a value it adds one that writes the mark. It leaves
// out each `test`, which would find marks instead of values, and has passed without them.
func (c *copier) operations(list *yaml.Node) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	for _, item := range list.Content {
		if item = yamltext.Resolve(item); item.Kind != yaml.MappingNode {
			return nil, errUnmarked
		}
		entries, err := c.entries(item)
		if err != nil {
			return nil, err
		}
		noted := mark{place: c.place(item), beside: c.place}
		operation := &yaml.Node{Kind: yaml.MappingNode}
		var op, pointer string
		for _, e := range entries {
			value, err := c.copy(e.value, e.key)
			if err != nil {
				return nil, err
			}
			operation.Content = append(operation.Content, scalar(e.key.Value), value)
			switch e.key.Value {
			case "op":
				op = e.value.Value
			case "path":
				pointer = e.value.Value
			case "value":
				noted.place, noted.node = c.place(e.key), e.value
			}
		}
		if op == "test" {
			continue
		}
		out.Content = append(out.Content, operation)
		if op != "remove" {
			out.Content = append(out.Content, c.afterwards(pointer, noted)...)
		}
	}
	if len(out.Content) == 0 {
		out.Content = append(out.Content, addition("/"+markPrefix+"none", markValue)) // kustomize refuses an empty patch
	}
	return out, nil
}

var itemToken = regexp.MustCompile(`^(-|-?[0-9]+)$`)

// afterwards returns the operations that mark the result of an operation at a path. An item has no key to set a mark
// beside, so its list has the mark.
func (c *copier) afterwards(pointer string, noted mark) []*yaml.Node {
	parent, last := cutLast(pointer)
	if parent == "" && last == "" {
		return nil
	}
	if itemToken.MatchString(last) {
		if _, list := cutLast(parent); list == "" || itemToken.MatchString(list) {
			return nil
		}
		return []*yaml.Node{addition(parent+twinSuffix+"-"+strconv.Itoa(c.marker.note(noted)), markValue)}
	}
	if noted.node != nil && noted.node.Kind == yaml.MappingNode {
		return nil // the value has marks inside
	}
	number := strconv.Itoa(c.marker.note(noted))
	marks := []*yaml.Node{addition(pointer+twinSuffix, number)}
	if noted.node != nil && noted.node.Kind == yaml.SequenceNode {
		marks = append(marks, addition(pointer+twinSuffix+"-"+number, markValue))
	}
	return marks
}

func cutLast(pointer string) (parent, last string) {
	i := strings.LastIndex(pointer, "/")
	if i < 0 {
		return "", ""
	}
	return pointer[:i], pointer[i+1:]
}

func addition(pointer, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		scalar("op"), scalar("add"), scalar("path"), scalar(pointer), scalar("value"), scalar(value),
	}}
}
