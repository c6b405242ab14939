package render

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Origin is a place in the repository.
type Origin struct {
	File string
	Line int
}

// Origins knows where an overlay's kustomizations say what. It reads the same files as a build of the overlay, and is
// meant for an overlay that builds.
type Origins struct {
	layers []*layer // what is applied last comes first
}

// layer is one kustomization and the files that it names.
type layer struct {
	file      string
	doc       *yaml.Node
	patches   []patch
	resources []declared
}

// declared is an object that a file declares.
type declared struct {
	file string
	node *yaml.Node
}

// patch is a document of a patch, and what it is for.
type patch struct {
	declared
	target *yaml.Node // nil: the document names its object
	shift  int        // how many lines of the file stand before an inline patch
}

// NewOrigins reads an overlay's kustomizations and what they name. A file that cannot be read says nothing.
func NewOrigins(files fs.FS, overlay string) *Origins {
	o := &Origins{}
	o.read(files, overlay, map[string]bool{})
	return o
}

var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

func (o *Origins) read(files fs.FS, folder string, seen map[string]bool) {
	if seen[folder] {
		return
	}
	seen[folder] = true
	for _, name := range kustomizationNames {
		file := path.Join(folder, name)
		docs := documentsOf(files, file)
		if len(docs) != 1 {
			continue
		}
		l := &layer{file: file, doc: docs[0]}
		o.layers = append(o.layers, l)
		l.readPatches(files, folder)
		var below []string
		for _, key := range []string{"resources", "bases", "components", "crds"} {
			for _, entry := range items(field(l.doc, key)) {
				at := path.Join(folder, entry.Value)
				if info, err := fs.Stat(files, at); err == nil && info.IsDir() {
					below = append(below, at)
					continue
				}
				for _, doc := range documentsOf(files, at) {
					for _, node := range unlisted(doc) {
						l.resources = append(l.resources, declared{at, node})
					}
				}
			}
		}
		// Components come after the resources, and so change what they say.
		slices.Reverse(below)
		for _, at := range below {
			o.read(files, at, seen)
		}
		return
	}
}

func documentsOf(files fs.FS, file string) []*yaml.Node {
	data, err := fs.ReadFile(files, file)
	if err != nil {
		return nil
	}
	docs, err := documents(file, data)
	if err != nil {
		return nil
	}
	return docs
}

// unlisted are the objects of a document that may be a List.
func unlisted(doc *yaml.Node) []*yaml.Node {
	if strings.HasSuffix(text(doc, "kind"), "List") && field(doc, "items") != nil {
		return items(field(doc, "items"))
	}
	return []*yaml.Node{doc}
}

func (l *layer) readPatches(files fs.FS, folder string) {
	add := func(file string, shift int, target *yaml.Node, docs []*yaml.Node) {
		for _, doc := range docs {
			l.patches = append(l.patches, patch{declared{file, doc}, target, shift})
		}
	}
	inline := func(node, target *yaml.Node) {
		docs, err := documents(l.file, []byte(node.Value))
		if err != nil {
			return
		}
		shift := node.Line - 1
		if node.Style == yaml.LiteralStyle || node.Style == yaml.FoldedStyle {
			shift = node.Line // the text begins below its mark
		}
		add(l.file, shift, target, docs)
	}
	for _, key := range []string{"patchesStrategicMerge", "patchesJson6902", "patches"} {
		for _, entry := range items(field(l.doc, key)) {
			if entry.Kind == yaml.ScalarNode {
				if docs := documentsOf(files, path.Join(folder, entry.Value)); docs != nil {
					add(path.Join(folder, entry.Value), 0, nil, docs)
				} else {
					inline(entry, nil)
				}
				continue
			}
			target := field(entry, "target")
			if file := text(entry, "path"); file != "" {
				add(path.Join(folder, file), 0, target, documentsOf(files, path.Join(folder, file)))
			} else if node := field(entry, "patch"); node != nil {
				inline(node, target)
			}
		}
	}
	slices.Reverse(l.patches) // the last one wins
}

// Of finds where git sets a field of a rendered object to a value, or, with an empty path, where it declares the object.
// A nil value is any. Where the field itself is not found, it is the place of the object: of its declaration, or of the
// generator that makes it.
func (o *Origins) Of(id manifest.ID, at manifest.Path, value any) (Origin, bool) {
	name, ok := o.declaredName(id)
	if !ok {
		return Origin{}, false
	}
	var plain manifest.Path // of a Secret's key, as people write it
	if id.Kind == "Secret" && len(at) == 2 && at[0].Name == "data" {
		plain = manifest.Path{{Name: "stringData"}, at[1]}
	}
	var object *Origin
	for _, l := range o.layers {
		if place, found := l.find(id, name, at, value); found {
			return place, true
		}
		if place, found := l.find(id, name, plain, nil); found {
			return place, true
		}
		if place, found := l.object(id, name); found && object == nil {
			object = &place
		}
	}
	if object == nil {
		return Origin{}, false
	}
	return *object, true
}

// declaredName is the name that git gives an object before prefixes, suffixes and hashes: the longest declared one that
// the rendered name holds as words of its own. Two of one length leave a doubt, and so none.
func (o *Origins) declaredName(id manifest.ID) (string, bool) {
	var best string
	tie := false
	note := func(kind, name string) {
		switch {
		case kind != id.Kind || name == best || !holdsWords(id.Name, name):
		case len(name) > len(best):
			best, tie = name, false
		case len(name) == len(best):
			tie = true
		}
	}
	for _, l := range o.layers {
		for _, object := range l.resources {
			note(text(object.node, "kind"), text(field(object.node, "metadata"), "name"))
		}
		for _, generator := range l.generators(id.Kind) {
			note(id.Kind, text(generator, "name"))
		}
	}
	return best, best != "" && !tie
}

// holdsWords reports whether a name holds another one between dashes, dots or its ends.
func holdsWords(name, part string) bool {
	if part == "" {
		return false
	}
	word := regexp.MustCompile(`(^|[-.])` + regexp.QuoteMeta(part) + `($|[-.])`)
	return word.MatchString(name)
}

func (l *layer) generators(kind string) []*yaml.Node {
	switch kind {
	case "ConfigMap":
		return items(field(l.doc, "configMapGenerator"))
	case "Secret":
		return items(field(l.doc, "secretGenerator"))
	}
	return nil
}

// object finds where a layer declares an object.
func (l *layer) object(id manifest.ID, name string) (Origin, bool) {
	for _, object := range l.resources {
		if text(object.node, "kind") == id.Kind && text(field(object.node, "metadata"), "name") == name {
			return Origin{object.file, object.node.Line}, true
		}
	}
	for _, generator := range l.generators(id.Kind) {
		if text(generator, "name") == name {
			return Origin{l.file, generator.Line}, true
		}
	}
	return Origin{}, false
}

// find finds where a layer sets a field. What kustomize does last is looked at first: transformers, patches, generators,
// resources.
func (l *layer) find(id manifest.ID, name string, at manifest.Path, value any) (Origin, bool) {
	if len(at) == 0 {
		return Origin{}, false
	}
	if node := l.transformer(name, at, value); node != nil {
		return Origin{l.file, node.Line}, true
	}
	for _, p := range l.patches {
		if !p.isFor(id, name) {
			continue
		}
		if node := p.sets(at); node != nil && agrees(node, at, value) {
			return Origin{p.file, node.Line + p.shift}, true
		}
	}
	for _, generator := range l.generators(id.Kind) {
		if text(generator, "name") == name && at[0].Name == "data" && len(at) == 2 {
			if node := generated(generator, at[1].Name); node != nil {
				return Origin{l.file, node.Line}, true
			}
		}
	}
	for _, object := range l.resources {
		if text(object.node, "kind") != id.Kind || text(field(object.node, "metadata"), "name") != name {
			continue
		}
		if node := descend(object.node, at); node != nil && agrees(node, at, value) {
			return Origin{object.file, node.Line}, true
		}
	}
	return Origin{}, false
}

// transformer finds the entry of a kustomization's own fields that sets a field of any object.
func (l *layer) transformer(name string, at manifest.Path, value any) *yaml.Node {
	last := at[len(at)-1].Name
	reference, _ := value.(string)
	if reference != "" && last == "image" {
		repository, _, _ := strings.Cut(reference, "@")
		for _, entry := range items(field(l.doc, "images")) {
			renamed := text(entry, "newName")
			if renamed == "" {
				renamed = text(entry, "name")
			}
			if repository != renamed && !strings.HasPrefix(repository, renamed+":") {
				continue
			}
			for _, key := range []string{"digest", "newTag", "newName"} {
				if node := field(entry, key); node != nil {
					return node
				}
			}
		}
	}
	if at.String() == "spec.replicas" {
		for _, entry := range items(field(l.doc, "replicas")) {
			if text(entry, "name") == name {
				return field(entry, "count")
			}
		}
	}
	if len(at) < 2 {
		return nil
	}
	switch at[len(at)-2].Name {
	case "labels", "matchLabels":
		if node := exact(field(l.doc, "commonLabels"), last); node != nil {
			return node
		}
		for _, entry := range items(field(l.doc, "labels")) {
			if node := exact(field(entry, "pairs"), last); node != nil {
				return node
			}
		}
	case "annotations":
		return exact(field(l.doc, "commonAnnotations"), last)
	}
	return nil
}

// generated finds the literal, or the file, that gives a key of a generated object.
func generated(generator *yaml.Node, key string) *yaml.Node {
	for _, entry := range items(field(generator, "literals")) {
		if name, _, ok := strings.Cut(entry.Value, "="); ok && name == key {
			return entry
		}
	}
	for _, entry := range items(field(generator, "files")) {
		name, _, named := strings.Cut(entry.Value, "=")
		if !named {
			name = path.Base(entry.Value)
		}
		if name == key {
			return entry
		}
	}
	for _, list := range []string{"envs", "env"} {
		if node := field(generator, list); node != nil {
			return node
		}
	}
	return nil
}

// isFor reports whether a patch changes an object.
func (p patch) isFor(id manifest.ID, name string) bool {
	kind, selected := text(p.node, "kind"), text(field(p.node, "metadata"), "name")
	if p.target == nil {
		return kind == id.Kind && selected == name
	}
	for key, have := range map[string][]string{"kind": {id.Kind}, "group": {id.GroupVersionKind().Group}, "version": {id.GroupVersionKind().Version}, "name": {name, id.Name}} {
		want := text(p.target, key)
		if want == "" {
			continue
		}
		pattern, err := regexp.Compile("^(?:" + want + ")$")
		if err != nil || !slices.ContainsFunc(have, pattern.MatchString) {
			return false
		}
	}
	// Whether a label or an annotation selects the object is not known here.
	return field(p.target, "labelSelector") == nil && field(p.target, "annotationSelector") == nil
}

// sets finds where a patch sets a field, be it a part of an object or a list of operations (RFC 6902).
func (p patch) sets(at manifest.Path) *yaml.Node {
	if p.node.Kind != yaml.SequenceNode {
		return descend(p.node, at)
	}
	operations := items(p.node)
	slices.Reverse(operations)
	for _, operation := range operations {
		value := field(operation, "value")
		if value == nil {
			continue
		}
		rest, ok := beyond(text(operation, "path"), at)
		if !ok {
			continue
		}
		if len(rest) == 0 {
			return value
		}
		if node := descend(value, rest); node != nil {
			return node
		}
	}
	return nil
}

// beyond is what is left of a path below a JSON pointer. Which item of a list an index means is not known here: any.
func beyond(pointer string, at manifest.Path) (manifest.Path, bool) {
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	if len(parts) > len(at) {
		return nil, false
	}
	for i, part := range parts {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		_, err := strconv.Atoi(part)
		isIndex := err == nil || part == "-"
		if at[i].Name == "" && !isIndex || at[i].Name != "" && at[i].Name != part {
			return nil, false
		}
	}
	return at[len(parts):], true
}

// descend follows a path into a document. The line of what it finds is that of the value, or of its first part.
func descend(node *yaml.Node, at manifest.Path) *yaml.Node {
	for _, step := range at {
		node = resolve(node)
		switch {
		case step.Name != "":
			node = exact(node, step.Name)
		case node.Kind != yaml.SequenceNode:
			return nil
		case len(step.Keys) > 0:
			node = keyed(node, step.Keys)
		case step.Index < len(node.Content):
			node = node.Content[step.Index]
		default:
			node = nil
		}
		if node == nil {
			return nil
		}
	}
	return node
}

// keyed finds the item of a list that has all of the keys. One that says nothing of a key has its default.
func keyed(list *yaml.Node, keys []manifest.KeyValue) *yaml.Node {
	for _, item := range list.Content {
		matches := 0
		for _, kv := range keys {
			value := exact(resolve(item), kv.Key)
			switch {
			case value == nil:
			case value.Value == kv.Value:
				matches++
			default:
				matches = -len(keys)
			}
		}
		if matches > 0 {
			return item
		}
	}
	return nil
}

// exact returns the value of a key, whose case matters, unlike those of a kustomization.
func exact(node *yaml.Node, key string) *yaml.Node {
	if node == nil {
		return nil
	}
	node = resolve(node)
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
		if node.Content[i].Tag == "!!merge" {
			if found := exact(node.Content[i+1], key); found != nil {
				return found
			}
		}
	}
	return nil
}

func items(node *yaml.Node) []*yaml.Node {
	if node == nil || resolve(node).Kind != yaml.SequenceNode {
		return nil
	}
	return slices.Clone(resolve(node).Content)
}

// agrees reports whether what a file says may be the value that was rendered: another layer may have replaced it.
func agrees(node *yaml.Node, at manifest.Path, value any) bool {
	node = resolve(node)
	want, isText := value.(string)
	if !isText || node.Kind != yaml.ScalarNode || strings.HasPrefix(want, "(masked") {
		return true
	}
	if at[len(at)-1].Name == "image" {
		want, _, _ = strings.Cut(want, "@")
		said, _, _ := strings.Cut(node.Value, "@")
		return said == want
	}
	return node.Value == want
}
