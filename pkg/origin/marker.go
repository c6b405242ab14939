//lint:file-ignore SA1019 kustomize still applies its deprecated fields, so they are marked as well

package origin

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigyaml "sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/yamltext"
)

// marker writes marks into the files of an overlay.
type marker struct {
	files  fs.FS
	marked map[string][]byte // the files that have marks, in the place of git's
	noted  map[string][]byte // the overlay's kustomization without marks, but with kustomize's own notes on files
	marks  []mark
	spaces []namespace
}

// namespace is the namespace that a kustomization sets for all objects between its first mark and its last.
type namespace struct {
	name       string
	place      Place
	outermost  bool
	first, end int
}

// rewritten is a repository with some files in the place of those in git.
type rewritten struct {
	fs.FS
	instead map[string][]byte
}

// ReadFile implements fs.ReadFileFS.
func (r rewritten) ReadFile(name string) ([]byte, error) {
	if data, ok := r.instead[name]; ok {
		return slices.Clone(data), nil
	}
	return fs.ReadFile(r.FS, name)
}

// Stat implements fs.StatFS.
func (r rewritten) Stat(name string) (fs.FileInfo, error) { return fs.Stat(r.FS, name) }

// RealPath implements linked.
func (r rewritten) RealPath(name string) (string, error) { return render.RealPath(r.FS, name) }

// ReadDir implements fs.ReadDirFS.
func (r rewritten) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(r.FS, name) }

// note keeps a mark and returns its number.
func (m *marker) note(noted mark) int {
	noted.number = len(m.marks)
	m.marks = append(m.marks, noted)
	return noted.number
}

// overlay marks all files of an overlay. The overlay is known to build. A file that cannot be read here is thus a file
// that kustomize does not read, such as one that kustomize takes for an inline patch.
func (m *marker) overlay(overlay string) {
	file := m.folder(overlay, 0, true)
	var content types.Kustomization
	if file == "" || content.Unmarshal(m.read(file)) != nil {
		return
	}
	const note = "originAnnotations"
	if !slices.Contains(content.BuildMetadata, note) {
		content.BuildMetadata = append(content.BuildMetadata, note)
	}
	if data, err := json.Marshal(content); err == nil {
		m.noted = map[string][]byte{file: data}
	}
}

func (m *marker) read(file string) []byte {
	data, err := fs.ReadFile(m.files, file)
	if err != nil {
		return nil
	}
	return data
}

func (m *marker) docs(file string) []*yaml.Node {
	docs, err := yamltext.Documents(file, m.read(file))
	if err != nil {
		return nil
	}
	return docs
}

// folder marks the kustomization in a folder and its files; first is the first mark of the objects it is applied to.
func (m *marker) folder(folder string, first int, outermost bool) string {
	folder = render.RealFolder(m.files, folder)
	file := m.kustomizationIn(folder)
	if file == "" || m.marked[file] != nil {
		return file
	}
	data := m.read(file)
	content := &types.Kustomization{}
	docs := m.docs(file)
	if len(docs) == 0 || content.Unmarshal(data) != nil {
		return file
	}
	m.marked[file] = data
	k := &layer{marker: m, file: file, doc: docs[0]}
	for _, name := range slices.Concat(content.Resources, content.Bases) {
		k.resource(render.Local(path.Join("/", folder, name)))
	}
	k.generators("configMapGenerator", content.GeneratorOptions, content.ConfigMapGenerator)
	secrets := make([]*types.GeneratorArgs, len(content.SecretGenerator))
	for i := range secrets {
		secrets[i] = &content.SecretGenerator[i].GeneratorArgs
	}
	k.entries("secretGenerator", secrets)
	for _, name := range content.Components {
		m.folder(render.Local(path.Join("/", folder, name)), first, false)
	}
	k.patches(content)
	k.transformers(content)
	if content.Namespace != "" {
		m.spaces = append(m.spaces, namespace{content.Namespace, k.at(k.doc, "namespace"), outermost, first, len(m.marks)})
	}
	content.BuildMetadata = nil // kustomize's notes for it cost more than the rest of a build
	if data, err := json.Marshal(content); err == nil {
		m.marked[file] = data
	}
	return file
}

// kustomizationIn finds the kustomization of a folder, or nothing.
func (m *marker) kustomizationIn(folder string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(folder, name)
		if _, err := fs.Stat(m.files, file); err == nil {
			return file
		}
	}
	return ""
}

// layer marks one kustomization.
type layer struct {
	marker *marker
	file   string
	doc    *yaml.Node
}

// at is the place of a key, or else the place of the map without it.
func (k *layer) at(node *yaml.Node, key string) Place {
	if node == nil {
		node = k.doc
	}
	if node = yamltext.Resolve(node); node.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if strings.EqualFold(node.Content[i].Value, key) {
				return Place{k.file, node.Content[i].Line}
			}
		}
	}
	return Place{k.file, node.Line}
}

// nth is an entry of a list, or the list's holder where the entry is not found.
func nth(holder *yaml.Node, key string, i int) *yaml.Node {
	if entries := yamltext.Items(yamltext.Field(holder, key)); i < len(entries) {
		return yamltext.Resolve(entries[i])
	}
	return holder
}

func (k *layer) resource(name string) {
	if info, err := fs.Stat(k.marker.files, name); err == nil && info.IsDir() {
		k.marker.folder(name, len(k.marker.marks), false)
		return
	}
	k.documents(name, true)
}

// documents marks a file of objects or of patches.
func (k *layer) documents(file string, declares bool) {
	docs := k.marker.docs(file)
	if len(docs) == 0 || k.marker.marked[file] != nil {
		return
	}
	at := func(node *yaml.Node) Place { return Place{file, node.Line} }
	if data, ok := k.copies(docs, at, declares); ok {
		k.marker.marked[file] = data
	}
}

// copies are the marked documents of a text.
func (k *layer) copies(docs []*yaml.Node, at func(*yaml.Node) Place, declares bool) ([]byte, bool) {
	before := len(k.marker.marks)
	c := &copier{marker: k.marker, place: at}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for _, doc := range docs {
		copied, err := c.document(yamltext.Resolve(doc), declares)
		if err == nil {
			err = encoder.Encode(copied)
		}
		if err != nil {
			k.marker.marks = k.marker.marks[:before]
			return nil, false
		}
	}
	return out.Bytes(), encoder.Close() == nil
}

func (c *copier) document(doc *yaml.Node, declares bool) (*yaml.Node, error) {
	list := yamltext.Field(doc, "items")
	switch {
	case doc.Kind == yaml.SequenceNode && !declares:
		return c.operations(doc)
	case !strings.HasSuffix(yamltext.Text(doc, "kind"), "List") || list == nil || list.Kind != yaml.SequenceNode:
		return c.object(doc, declares)
	}
	objects := &yaml.Node{Kind: yaml.SequenceNode}
	for _, item := range list.Content {
		copied, err := c.object(yamltext.Resolve(item), declares)
		if err != nil {
			return nil, err
		}
		objects.Content = append(objects.Content, copied)
	}
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
		scalar("apiVersion"), scalar(yamltext.Text(doc, "apiVersion")), scalar("kind"), scalar(yamltext.Text(doc, "kind")), scalar("items"), objects,
	}}, nil
}

// inline marks a patch inside a kustomization. Only a literal block has the same lines as the file.
func (k *layer) inline(patch string, node *yaml.Node) string {
	docs, err := yamltext.Documents(k.file, []byte(patch))
	if err != nil || len(docs) == 0 {
		return patch
	}
	at := func(inner *yaml.Node) Place {
		if node.Kind == yaml.ScalarNode && node.Style&yaml.LiteralStyle != 0 {
			return Place{k.file, node.Line + inner.Line}
		}
		return Place{k.file, node.Line}
	}
	if data, ok := k.copies(docs, at, false); ok {
		return string(data)
	}
	return patch
}

func (k *layer) patches(content *types.Kustomization) {
	each := func(key string, patches []types.Patch) {
		for i := range patches {
			patch := &patches[i]
			if patch.Path != "" {
				k.documents(k.beside(patch.Path), false)
			}
			if entry := nth(k.doc, key, i); patch.Patch != "" {
				node := yamltext.Field(entry, "patch")
				if node == nil {
					node = entry
				}
				patch.Patch = k.inline(patch.Patch, node)
			}
		}
	}
	for i, patch := range content.PatchesStrategicMerge {
		if render.IsInline(string(patch)) {
			content.PatchesStrategicMerge[i] = types.PatchStrategicMerge(k.inline(string(patch), nth(k.doc, "patchesStrategicMerge", i)))
			continue
		}
		k.documents(k.beside(string(patch)), false)
	}
	each("patches", content.Patches)
	each("patchesJson6902", content.PatchesJson6902)
}

// beside is the path in the repository for a path that the kustomization writes.
func (k *layer) beside(name string) string {
	return render.Local(path.Join("/", path.Dir(k.file), name))
}

// generators marks the data of generated objects: the mark of a key is a literal of its own.
func (k *layer) generators(key string, options *types.GeneratorOptions, args []types.ConfigMapArgs) {
	if options != nil {
		k.pairs(options.Labels, yamltext.Field(yamltext.Field(k.doc, "generatorOptions"), "labels"))
		k.pairs(options.Annotations, yamltext.Field(yamltext.Field(k.doc, "generatorOptions"), "annotations"))
	}
	generators := make([]*types.GeneratorArgs, len(args))
	for i := range args {
		generators[i] = &args[i].GeneratorArgs
	}
	k.entries(key, generators)
}

func (k *layer) entries(key string, generators []*types.GeneratorArgs) {
	for i, args := range generators {
		entry := nth(k.doc, key, i)
		var twins []string
		note := func(name, value string, place Place) {
			number := k.marker.note(mark{place: place, node: scalar(value), generated: true})
			twins = append(twins, name+twinSuffix+"="+strconv.Itoa(number))
		}
		for j, literal := range args.LiteralSources {
			name, value, _ := strings.Cut(literal, "=")
			note(name, unquoted(value), Place{k.file, nth(entry, "literals", j).Line})
		}
		for _, source := range args.FileSources {
			name, file, named := strings.Cut(source, "=")
			if !named {
				name, file = path.Base(source), source
			}
			file = k.beside(file)
			note(name, string(k.marker.read(file)), Place{file, 1})
		}
		for _, source := range append(slices.Clone(args.EnvSources), args.EnvSource) {
			if source != "" {
				k.environment(k.beside(source), note)
			}
		}
		creates := args.Behavior == "" || args.Behavior == "create"
		number := k.marker.note(mark{place: k.at(entry, "name"), declares: creates, name: args.Name})
		twins = append(twins, markPrefix+strconv.Itoa(number)+"="+markValue)
		args.LiteralSources = append(args.LiteralSources, twins...)
		if args.Options != nil {
			k.pairs(args.Options.Labels, yamltext.Field(yamltext.Field(entry, "options"), "labels"))
			k.pairs(args.Options.Annotations, yamltext.Field(yamltext.Field(entry, "options"), "annotations"))
		}
	}
}

// environment notes the lines of a file of variables, as kustomize reads it.
func (k *layer) environment(file string, note func(name, value string, place Place)) {
	for i, line := range strings.Split(strings.TrimPrefix(string(k.marker.read(file)), "\uFEFF"), "\n") {
		line = strings.TrimSuffix(strings.TrimLeftFunc(line, unicode.IsSpace), "\r")
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, _ := strings.Cut(line, "=")
		note(name, value, Place{file, i + 1})
	}
}

// unquoted is the value of a literal without the quotes around it, which kustomize drops.
func unquoted(value string) string {
	if n := len(value); n > 1 && value[0] == value[n-1] && (value[0] == '"' || value[0] == '\'') {
		return value[1 : n-1]
	}
	return value
}

// transformers marks the values that a kustomization's own fields set.
func (k *layer) transformers(content *types.Kustomization) {
	k.pairs(content.CommonLabels, yamltext.Field(k.doc, "commonLabels"))
	k.pairs(content.CommonAnnotations, yamltext.Field(k.doc, "commonAnnotations"))
	for i := range content.Labels {
		k.pairs(content.Labels[i].Pairs, yamltext.Field(nth(k.doc, "labels", i), "pairs"))
	}
	for i := range content.Replicas {
		number := k.marker.note(mark{place: k.at(nth(k.doc, "replicas", i), "count")})
		content.Replicas[i].Count = replicaMark + int64(number)
	}
	k.images("images", content.Images)
	k.images("imageTags", content.ImageTags)
	content.Replacements = k.replacements(content.Replacements)
}

// pairs marks labels or annotations: each object that gets a pair gets its mark.
func (k *layer) pairs(pairs map[string]string, node *yaml.Node) {
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		number := k.marker.note(mark{place: k.at(node, key), node: scalar(pairs[key])})
		pairs[key+twinSuffix] = strconv.Itoa(number)
	}
}

// images puts marks in the place of tags. An entry that sets a name alone gets a suffix to the tag that is there.
func (k *layer) images(key string, images []types.Image) {
	for i := range images {
		image, entry := &images[i], nth(k.doc, key, i)
		for _, set := range []struct{ key, value string }{
			{"digest", image.Digest}, {"newTag", image.NewTag}, {"newName", image.NewName}, {"tagSuffix", image.TagSuffix},
		} {
			if set.value == "" {
				continue
			}
			tag := markPrefix + strconv.Itoa(k.marker.note(mark{place: k.at(entry, set.key)}))
			if image.Digest != "" || image.NewTag != "" {
				image.Digest, image.NewTag = "", tag
			} else {
				image.TagSuffix = tag
			}
			break
		}
	}
}

// replacements adds, after each replacement, replacements that write the marks of its values.
func (k *layer) replacements(fields []types.ReplacementField) []types.ReplacementField {
	var out []types.ReplacementField
	for i, replacement := range fields {
		out = append(out, replacement)
		file, entry := k, nth(k.doc, "replacements", i)
		all, entries := []types.Replacement{replacement.Replacement}, []*yaml.Node{entry}
		if replacement.Path != "" {
			name := k.beside(replacement.Path)
			docs := k.marker.docs(name)
			if len(docs) != 1 {
				continue
			}
			file, entries = &layer{k.marker, name, docs[0]}, yamltext.Items(docs[0])
			if all = nil; docs[0].Kind == yaml.MappingNode {
				all, entries = []types.Replacement{{}}, docs
				if sigyaml.Unmarshal(k.marker.read(name), &all[0]) != nil {
					continue
				}
			} else if sigyaml.Unmarshal(k.marker.read(name), &all) != nil {
				continue
			}
		}
		for j := range all {
			if j < len(entries) {
				out = append(out, file.replaced(all[j], yamltext.Resolve(entries[j]))...)
			}
		}
	}
	return out
}

func (k *layer) replaced(replacement types.Replacement, entry *yaml.Node) []types.ReplacementField {
	var out []types.ReplacementField
	for i, target := range replacement.Targets {
		if target == nil {
			continue
		}
		for j, path := range target.FieldPaths {
			twin, ok := twinPath(path)
			if !ok {
				continue
			}
			number := strconv.Itoa(k.marker.note(mark{place: Place{k.file, nth(nth(entry, "targets", i), "fieldPaths", j).Line}}))
			out = append(out, types.ReplacementField{Replacement: types.Replacement{
				SourceValue: &number,
				Targets: []*types.TargetSelector{{
					Select: target.Select, Reject: target.Reject,
					FieldPaths: []string{twin}, Options: &types.FieldOptions{Create: true},
				}},
			}})
		}
	}
	return out
}

// twinPath is the path of the mark beside the field of a replacement. An item of a list has no such path.
func twinPath(path string) (string, bool) {
	last := path[strings.LastIndex(path, ".")+1:]
	open := strings.LastIndex(path, "[")
	switch {
	case path == "" || last == "*" || itemToken.MatchString(last):
		return "", false
	case !strings.HasSuffix(path, "]"):
		return path + twinSuffix, true
	case open < 0 || strings.Contains(path[open:], "="):
		return "", false
	}
	return strings.TrimSuffix(path, "]") + twinSuffix + "]", true
}
