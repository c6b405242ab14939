// Package origin finds the file and line where git sets a field of a rendered object, for findings and warnings. Like
// render it touches only the files it is given.
package origin

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/render"
)

// Place is a line of a file in the repository.
type Place struct {
	File string
	Line int // counted from 1
}

// Index holds the place of each field of an overlay's objects. It does not change, so that many goroutines may use it
// at once.
//
// kustomize decides which of many layers sets a field last, by rules that are not worth a second implementation. New
// therefore builds the overlay twice: as it stands, and with marks beside the values of its files. A mark holds the
// place of its value. It goes with the value through patches, merges and transformers, and a layer that replaces the
// value replaces the mark. Of believes a mark only if the text at its place gives the value of the first build.
// docs/decisions/0032-finding-the-line.md compares this with a look-up in the files that kustomize names.
type Index struct {
	objects map[manifest.Key]*traced
	marks   []mark
	spaces  []namespace
	names   map[string][]string // a rendered name to the names that git has for it
}

// traced is one object in both builds.
type traced struct {
	rendered map[string]any
	marked   map[string]any // nil: its marked object is not known
	declared Place
}

// New renders an overlay and indexes the places of its fields. The index of an overlay that does not build is empty:
// render.Build returns the error.
func New(files fs.FS, overlay string) *Index {
	index := &Index{objects: map[manifest.Key]*traced{}, names: map[string][]string{}}
	set, err := render.Build(files, overlay)
	if err != nil {
		return index
	}
	for _, obj := range set {
		index.objects[manifest.IDOf(obj).Key()] = &traced{rendered: obj.Object}
	}
	m := &marker{files: files, marked: map[string][]byte{}}
	m.overlay(overlay)
	// An error of a build with marks does not concern the user: the overlay as it stands builds. A report without places is
	// better than no report.
	if marked, err := render.Build(rewritten{files, m.marked}, overlay); err == nil && len(marked) == len(set) {
		index.marks, index.spaces = m.marks, m.spaces
		for i, obj := range set {
			index.add(manifest.IDOf(obj), marked[i])
		}
	}
	index.addNoted(files, overlay, set, m.noted)
	return index
}

// add takes the marks of an object, which has the same place in both builds. Marks in generated data change the hash in
// a name.
func (o *Index) add(id manifest.ID, marked *unstructured.Unstructured) {
	got, name := manifest.IDOf(marked), id.Name
	if i, j := strings.LastIndex(id.Name, "-"), strings.LastIndex(got.Name, "-"); i > 0 && j > 0 && id.Name != got.Name {
		got.Name, name = got.Name[:j], id.Name[:i]
	}
	if got != (manifest.ID{APIVersion: id.APIVersion, Kind: id.Kind, Namespace: id.Namespace, Name: name}) {
		return // the order of the builds differs
	}
	obj := o.objects[id.Key()]
	obj.marked = marked.Object
	if declaration, ok := o.declaration(obj.marked); ok {
		obj.declared = declaration.place
		o.names[id.Name] = append(o.names[id.Name], declaration.name)
	}
}

// addNoted finds declarations without a mark by kustomize's own notes on the files of objects. The notes cost kustomize
// the square of the number of patches, so that they are used only for overlays that need them.
func (o *Index) addNoted(files fs.FS, overlay string, set manifest.Set, kustomization map[string][]byte) {
	if !slices.ContainsFunc(set, func(obj *unstructured.Unstructured) bool {
		return o.objects[manifest.IDOf(obj).Key()].declared.File == ""
	}) {
		return
	}
	noted, err := render.Build(rewritten{files, kustomization}, overlay)
	if err != nil {
		return // as of a build with marks
	}
	for _, obj := range noted {
		known := o.objects[manifest.IDOf(obj).Key()]
		if known != nil && known.declared.File == "" {
			known.declared = declaredIn(files, overlay, obj.GetAnnotations()[originAnnotation], obj.GetKind(), obj.GetName())
		}
	}
}

// declaration is the mark of the document that the object was loaded from, or else of the generator that made it.
func (o *Index) declaration(marked map[string]any) (mark, bool) {
	for _, holder := range []any{marked, marked["data"]} {
		for _, m := range o.numbered(holder, markPrefix) {
			if m.declares {
				return m, true
			}
		}
	}
	return mark{}, false
}

// Of finds the place where git sets a field of a rendered object: that of the last layer that sets it. With an empty
// path, or where the field has no sure place, Of returns the place of the object's declaration or generator. A value
// other than nil is the caller's desired value: if git renders another one, Of returns the object's place. The value may
// have an API server's additions, and the digest of an image that git names by its tag.
func (o *Index) Of(id manifest.ID, at manifest.Path, value any) (Place, bool) {
	obj, ok := o.objects[id.Key()]
	if !ok {
		return Place{}, false
	}
	if len(at) > 0 {
		if place, ok := o.field(obj, at, value); ok {
			return place, true
		}
	}
	return obj.declared, obj.declared.File != ""
}

func (o *Index) field(obj *traced, path manifest.Path, value any) (Place, bool) {
	at, ok := walk(obj, path)
	if !ok || !at.secret && !agrees(at.rendered, value) {
		return Place{}, false
	}
	if i, ok := transformed(at.marked); ok {
		return o.place(i)
	}
	switch at.rendered.(type) {
	case map[string]any:
		return o.ofMap(at)
	case []any:
		return o.ofList(at)
	}
	if at.key == "" {
		return o.ofItem(at)
	}
	// The names and namespaces of objects are declared in one place and changed in others: the last change of a namespace
	// counts.
	switch path.String() {
	case "metadata.name":
		return Place{}, false
	case "metadata.namespace":
		return o.namespace(obj, at)
	}
	if at.identifies {
		return o.identity(at)
	}
	if m, ok := o.twin(at); ok && o.states(m, at) {
		return m.place, true
	}
	if at.key == "namespace" {
		return o.namespace(obj, at)
	}
	return Place{}, false
}

// identity is the place of a field that identifies the item of a list: later layers repeat it to name the item that they
// change.
func (o *Index) identity(at position) (Place, bool) {
	for _, m := range o.numbered(at.holder, markPrefix) {
		for i := 0; m.node != nil && i+1 < len(m.node.Content); i += 2 {
			if key := m.node.Content[i]; key.Value == at.key && o.states(mark{node: m.node.Content[i+1]}, at) {
				return m.beside(key), true
			}
		}
	}
	return Place{}, false
}

// position is a field in both builds.
type position struct {
	rendered, marked any
	holder           map[string]any // in the marked build: the map that holds the field, or the list of which it is an item
	key              string         // of the field; "" for an item of a list
	list             string         // the key of the list of which the field is an item
	index            int
	identifies       bool // an item of a list, as the path has it
	secret           bool
}

// walk goes down a path in both builds at once.
func walk(obj *traced, path manifest.Path) (position, bool) {
	at := position{rendered: obj.rendered, marked: obj.marked}
	for i, step := range path {
		switch rendered := at.rendered.(type) {
		case map[string]any:
			marked, ok := at.marked.(map[string]any)
			name := step.Name
			if i == 0 {
				name = dataOf(rendered, path)
			}
			value, found := rendered[name]
			if name == "" || !ok || !found {
				return at, false
			}
			at = position{rendered: value, marked: marked[name], holder: marked, key: name}
		case []any:
			marked, _ := at.marked.([]any)
			index, ok := itemOf(rendered, step)
			if !ok || len(marked) != len(rendered) {
				return at, false
			}
			holder := at.holder
			if at.key == "" {
				holder = nil // a list of lists has no key to set a mark beside
			}
			at = position{rendered: rendered[index], marked: marked[index], holder: holder, list: at.key, index: index}
		default:
			return at, false
		}
	}
	if len(path) == 2 && path[0].Name == "binaryData" && obj.marked != nil {
		// A generator puts a file that is no text there, and the mark, which is text, in data.
		if fields, ok := obj.marked["data"].(map[string]any); ok && at.holder[at.key+twinSuffix] == nil {
			at.holder = fields
		}
	}
	if last := len(path) - 1; last > 0 {
		at.identifies = slices.ContainsFunc(path[last-1].Keys, func(kv manifest.KeyValue) bool { return kv.Key == at.key })
	}
	at.secret = obj.rendered["kind"] == "Secret" && obj.rendered["apiVersion"] == "v1"
	return at, obj.marked != nil
}

// dataOf is the first key of a path. For data of a Secret that git has as text, it is stringData.
func dataOf(obj map[string]any, path manifest.Path) string {
	if path[0].Name == "data" && obj["kind"] == "Secret" && len(path) > 1 {
		if text, ok := obj["stringData"].(map[string]any); ok && text[path[1].Name] != nil {
			return "stringData" // an API server prefers it
		}
	}
	return path[0].Name
}

// itemOf finds the one item of a list that a step selects. An API server names an item by all identifying fields, also
// the defaulted ones: an item without such a field fits as well.
func itemOf(list []any, step manifest.Step) (int, bool) {
	if step.Any || step.Name != "" {
		return 0, false
	}
	if len(step.Keys) == 0 {
		return step.Index, step.Index >= 0 && step.Index < len(list)
	}
	var found []int
	for i, item := range list {
		fields, _ := item.(map[string]any)
		matching, other := 0, false
		for _, kv := range step.Keys {
			if got, ok := fields[kv.Key]; ok && fmt.Sprint(got) == kv.Value {
				matching++
			} else if ok {
				other = true
			}
		}
		if matching > 0 && !other {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		return 0, false
	}
	return found[0], true
}

func (o *Index) place(i int) (Place, bool) {
	if i < 0 || i >= len(o.marks) {
		return Place{}, false
	}
	return o.marks[i].place, true
}

// twin is the mark beside a value.
func (o *Index) twin(at position) (mark, bool) {
	number, _ := at.holder[at.key+twinSuffix].(string)
	i, err := strconv.Atoi(number)
	if err != nil && at.secret {
		decoded, _ := base64.StdEncoding.DecodeString(number) // a text that is not a number is no mark
		i, err = strconv.Atoi(string(decoded))
	}
	if err != nil || i < 0 || i >= len(o.marks) {
		return mark{}, false
	}
	return o.marks[i], true
}

// numbered are the marks in the keys of a map, in the order of the layers.
func (o *Index) numbered(holder any, prefix string) []mark {
	fields, _ := holder.(map[string]any)
	var numbers []int
	for key := range fields {
		if number, ok := strings.CutPrefix(key, prefix); ok {
			if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(o.marks) {
				numbers = append(numbers, i)
			}
		}
	}
	slices.Sort(numbers)
	marks := make([]mark, len(numbers))
	for i, number := range numbers {
		marks[i] = o.marks[number]
	}
	return marks
}

// ofMap is the last layer that has a map if that layer has all of it, and else the first one that has the map.
func (o *Index) ofMap(at position) (Place, bool) {
	marks := o.numbered(at.marked, markPrefix)
	if len(marks) == 0 {
		return Place{}, false
	}
	if last := marks[len(marks)-1]; last.node != nil && o.states(last, at) {
		return last.place, true
	}
	return marks[0].place, true
}

// layers are the marks of the layers that have a list, or add items to it, the last one first.
func (o *Index) layers(holder map[string]any, key string) []mark {
	marks := o.numbered(holder, key+twinSuffix+"-")
	slices.Reverse(marks)
	if last, ok := o.twin(position{holder: holder, key: key}); ok {
		marks = slices.Insert(marks, 0, last)
	}
	return marks
}

// ofList is the last layer that has all of a list. If no layer has all of it, the first one began the list and the
// others added to it.
func (o *Index) ofList(at position) (Place, bool) {
	layers := o.layers(at.holder, at.key)
	if len(layers) == 0 {
		return Place{}, false
	}
	for _, m := range layers {
		if o.states(m, at) {
			return m.place, true
		}
	}
	return layers[len(layers)-1].place, true
}

// ofItem is the place of a scalar item: the place of the same text in the last layer that has it.
func (o *Index) ofItem(at position) (Place, bool) {
	for _, m := range o.layers(at.holder, at.list) {
		switch {
		case m.node == nil: // computed: any item may come from this mark
			return Place{}, false
		case m.node.Kind == yaml.SequenceNode:
			if item, ok := o.itemIn(m, at); ok {
				return m.beside(item), true
			}
		case o.states(m, at):
			return m.place, true
		}
	}
	return Place{}, false
}

func (o *Index) itemIn(m mark, at position) (*yaml.Node, bool) {
	var found []*yaml.Node
	for i, item := range m.node.Content {
		if !o.states(mark{node: item}, at) {
			continue
		}
		if found = append(found, item); i == at.index {
			return item, true
		}
	}
	if len(found) != 1 {
		return nil, false
	}
	return found[0], true
}

// namespace finds the kustomization that set the namespace of an object, or of an object that it refers to.
func (o *Index) namespace(obj *traced, at position) (Place, bool) {
	declaration, declared := o.declaration(obj.marked)
	var found []Place
	for _, space := range o.spaces {
		if space.name != at.rendered {
			continue
		}
		if space.outermost {
			return space.place, true
		}
		if declared && space.first <= declaration.number && declaration.number < space.end {
			found = append(found, space.place)
		}
	}
	if m, ok := o.twin(at); ok && len(found) == 0 && o.states(m, at) {
		return m.place, true
	}
	if len(found) != 1 {
		return Place{}, false
	}
	return found[0], true
}

// states reports whether the value at a mark is the rendered value. kustomize replaces the names of objects by new names
// wherever other objects refer to them.
func (o *Index) states(m mark, at position) bool {
	if m.node == nil || equal(m.node, at.rendered, 0) {
		return true
	}
	text, ok := at.rendered.(string)
	if !ok || m.node.Kind != yaml.ScalarNode {
		return false
	}
	if at.secret || m.generated {
		decoded, err := base64.StdEncoding.DecodeString(text)
		return err == nil && string(decoded) == m.node.Value
	}
	return slices.Contains(o.names[text], m.node.Value)
}
