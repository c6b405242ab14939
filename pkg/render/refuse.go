package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

var (
	// remoteFile matches what kustomize v0.21 downloads in place of a file: url.Parse finds http or https.
	remoteFile = regexp.MustCompile(`(?i)^\s*([a-z][a-z0-9+.-]*://|https?:)`)
	// remoteBase matches what kustomize hands to git in place of a folder: its RepoSpec knows schemes, `git::`, github.com,
	// and `user@host:` before a path of at least two parts. It is matched even where a file or folder of that name exists,
	// since kustomize tries the remote form when the local one does not load.
	remoteBase = regexp.MustCompile(`(?is)^\s*(git::|[a-z][a-z0-9+.-]*://|https?:|github\.com[/:]|[a-z][a-z0-9-]*@[^/:]*[/:](.*(\.git|_git/|//)|[^/]*/))`)
)

// overlayRoot makes sure that an overlay can be rendered at all.
func (r *repository) overlayRoot(overlay string) error {
	file, kind, err := r.kustomizationOf(overlay)
	if err != nil {
		return err
	}
	if kind == types.ComponentKind {
		return fmt.Errorf("%s is a Component, which renders nothing by itself; list it under `components:` of an overlay", file)
	}
	return nil
}

// kustomizationOf finds the kustomization of a folder and tells its kind, refusing files that are none.
func (r *repository) kustomizationOf(folder string) (file, kind string, err error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(folder, name)
		data, err := fs.ReadFile(r.files, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", "", err
		}
		docs, err := documents(file, data)
		if err != nil {
			return "", "", err
		}
		if len(docs) == 0 {
			return "", "", fmt.Errorf("%s: %w; list at least one resource", file, ErrEmpty)
		}
		if strings.HasPrefix(text(docs[0], "apiVersion"), "kustomize.toolkit.fluxcd.io/") {
			return "", "", fmt.Errorf("%s is Flux's own Kustomization object, not a kustomize file; point to the folder that its spec.path names, or name the file otherwise", file)
		}
		return file, text(docs[0], "kind"), nil
	}
	return "", "", ErrNoOverlay
}

// inspect refuses what kustomize would do with a file's content besides reading other files of the repository.
func (r *repository) inspect(name string, data []byte) error {
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
		docs, err := documents(name, data)
		if err != nil {
			return err
		}
		if len(docs) > 0 && !isResource(docs[0]) {
			return r.inspectKustomization(name, data, docs[0])
		}
	}
	// Parsing each file a second time would double the cost of a build, so look before.
	if bytes.Contains(data, []byte("generateName")) {
		r.noteNameless(name, data)
	}
	return nil
}

// isResource tells an object whose file happens to be called kustomization.yaml, such as Flux's, from a kustomization.
// kustomize loads nothing for a kustomization of another group.
func isResource(doc *yaml.Node) bool {
	group, _, _ := strings.Cut(text(doc, "apiVersion"), "/")
	return group != "" && group != "kustomize.config.k8s.io"
}

// noteNameless keeps an explanation for the case that kustomize cannot load an object without a name. It is no refusal:
// the same text may be data of a generated ConfigMap.
func (r *repository) noteNameless(name string, data []byte) {
	docs, err := documents(name, data)
	if err != nil {
		return // not YAML, or YAML with an error that kustomize names
	}
	for _, doc := range docs {
		objects := []*yaml.Node{doc}
		if items := field(doc, "items"); items != nil {
			objects = append(objects, items.Content...)
		}
		for _, object := range objects {
			metadata := field(object, "metadata")
			if generate := field(metadata, "generateName"); generate != nil && field(metadata, "name") == nil {
				r.nameless = fmt.Errorf("%s:%d: metadata.generateName: kustomize matches objects by name and cannot load one without; give it a metadata.name (a new name for each run makes a new object, and syncer prunes the old one)", name, generate.Line)
			}
		}
	}
}

// errOwnSchema stops a build that would replace kustomize's schema while others read it.
var errOwnSchema = errors.New("the kustomization has an openapi field")

// inspectKustomization checks each field by which a kustomization loads something. It reads the file with kustomize's
// own decoder, so that both see the same in spite of the case of keys, duplicates, anchors, merges and tags.
func (r *repository) inspectKustomization(file string, data []byte, doc *yaml.Node) error {
	var content types.Kustomization
	if err := content.Unmarshal(data); err != nil {
		return unreadable(file, doc, err)
	}
	if content.CheckEmpty() != nil {
		return fmt.Errorf("%s: %w; list at least one resource", file, ErrEmpty)
	}
	k := &kustomization{repo: r, file: file, doc: doc}
	for _, field := range []struct {
		key    string
		values []string
		check  func(key, value string)
	}{
		{"resources", content.Resources, k.base},
		{"bases", content.Bases, k.base},
		{"components", content.Components, k.base},
		{"crds", content.Crds, k.types},
		{"configurations", content.Configurations, k.localFile},
		{"generators", content.Generators, k.plugin},
		{"transformers", content.Transformers, k.plugin},
		{"validators", content.Validators, k.plugin},
	} {
		for _, value := range field.values {
			field.check(field.key, value)
		}
	}
	k.patches(content)
	for _, args := range content.ConfigMapGenerator {
		k.keyValues("configMapGenerator", args.KvPairSources)
	}
	for _, args := range content.SecretGenerator {
		k.keyValues("secretGenerator", args.KvPairSources)
	}
	const noHelm = "syncer does not inflate Helm charts; run `helm template` in CI and commit the result"
	if len(content.HelmCharts) > 0 {
		k.refuse("helmCharts", "", noHelm)
	}
	if len(content.HelmChartInflationGenerator) > 0 {
		k.refuse("helmChartInflationGenerator", "", noHelm)
	}
	if schema, ok := content.OpenAPI["path"]; ok {
		k.schema("openapi", schema)
	}
	if k.err == nil && len(content.OpenAPI) > 0 && !r.alone {
		return errOwnSchema
	}
	return k.err
}

var unknownField = regexp.MustCompile(`unknown field "([^"]+)"`)

// unreadable names the file, and the line where it can be told, of a kustomization that kustomize cannot decode.
func unreadable(file string, doc *yaml.Node, err error) error {
	text := strings.TrimPrefix(err.Error(), "invalid Kustomization: ")
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%d: kustomize knows no field %q", file, lineOfKey(doc, m[1]), m[1])
	}
	return fmt.Errorf("%s: %s", file, strings.TrimPrefix(text, "json: "))
}

// kustomization inspects one file and keeps the first refusal.
type kustomization struct {
	repo *repository
	file string
	doc  *yaml.Node
	err  error
}

// refuse names the place of a value in the file. Without a value it names the place of the key.
func (k *kustomization) refuse(key, value, format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("%s:%d: %s: %w", k.file, lineOf(k.doc, key, value), key, fmt.Errorf(format, args...))
	}
}

const isRemote = "%s is remote; syncer renders only what the commit holds, so copy it into the repository"

// find returns what a path of the kustomization leads to, or refuses it.
func (k *kustomization) find(key, value, name string) fs.FileInfo {
	if k.err != nil || name == "" {
		return nil // kustomize has its own error for an empty path
	}
	if path.IsAbs(name) {
		k.refuse(key, value, "%s is absolute; write a path from the kustomization's own folder", name)
		return nil
	}
	if outside := path.Join(path.Dir(k.file), name); outside == ".." || strings.HasPrefix(outside, "../") {
		k.refuse(key, value, "%s leaves the repository", name)
		return nil
	}
	full := k.place(name)
	info, err := k.repo.stat(full)
	if errors.Is(err, fs.ErrNotExist) {
		k.refuse(key, value, "there is no file or folder %s in the repository", full)
	} else if err != nil {
		k.refuse(key, value, "%w", err)
	}
	return info
}

// localFile checks a file that must lie in the repository.
func (k *kustomization) localFile(key, value string) {
	if remoteFile.MatchString(value) {
		k.refuse(key, value, isRemote, value)
	}
	k.find(key, value, value)
}

// types checks a file of `crds`.
func (k *kustomization) types(key, value string) {
	k.localFile(key, value)
	if name, found := crdLoop(k.content(value)); found {
		k.refuse(key, value, "the type %s contains itself, which kustomize would follow for ever", name)
	}
}

// schema checks the file of `openapi`.
func (k *kustomization) schema(key, value string) {
	k.localFile(key, value)
	if name, found := definitionLoop(k.content(value)); found {
		k.refuse(key, value, "the definition %s refers to itself, which kustomize would follow for ever", name)
	}
}

// content is that of a file of the kustomization, or nothing where kustomize will not be able to read it either.
func (k *kustomization) content(name string) []byte {
	data, err := fs.ReadFile(k.repo.files, k.place(name))
	if err != nil {
		return nil
	}
	return data
}

// place is the path in the repository of a path that the kustomization writes.
func (k *kustomization) place(name string) string {
	return local(path.Join("/", path.Dir(k.file), name))
}

// base checks a file, or a folder with a kustomization, that must lie in the repository.
func (k *kustomization) base(key, value string) {
	if remoteBase.MatchString(value) {
		k.refuse(key, value, isRemote, value)
		return
	}
	info := k.find(key, value, value)
	if info == nil || !info.IsDir() || k.err != nil {
		return
	}
	folder := k.place(value)
	switch file, kind, err := k.repo.kustomizationOf(folder); {
	case errors.Is(err, ErrNoOverlay):
		k.refuse(key, value, "the folder %s has no kustomization.yaml", folder)
	case err != nil:
		k.refuse(key, value, "%w", err)
	case kind == types.ComponentKind && key != "components":
		k.refuse(key, value, "%s is a Component; list it under `components:`", file)
	case kind != types.ComponentKind && key == "components":
		k.refuse(key, value, "%s is not a Component; list it under `resources:`", file)
	}
}

func (k *kustomization) patches(content types.Kustomization) {
	for _, patch := range content.Patches {
		k.localFile("patches", patch.Path)
	}
	for _, patch := range content.PatchesJson6902 {
		k.localFile("patchesJson6902", patch.Path)
	}
	for _, replacement := range content.Replacements {
		k.localFile("replacements", replacement.Path)
	}
	for _, patch := range content.PatchesStrategicMerge {
		if remoteFile.MatchString(string(patch)) {
			k.refuse("patchesStrategicMerge", string(patch), isRemote, patch)
		} else if !isInline(string(patch)) {
			k.find("patchesStrategicMerge", string(patch), string(patch))
		} else if !isPatch(string(patch)) {
			// kustomize would take it for a path, and show it in an error.
			k.refuse("patchesStrategicMerge", string(patch), "an inline patch is not valid YAML with apiVersion, kind and metadata.name")
		}
	}
}

// isInline tells an object written into a list of paths from a path.
func isInline(value string) bool {
	docs, err := documents("", []byte(value))
	return err != nil || slices.ContainsFunc(docs, func(doc *yaml.Node) bool { return doc.Kind != yaml.ScalarNode })
}

// isPatch reports whether kustomize can read an inline patch.
func isPatch(value string) bool {
	docs, err := documents("", []byte(value))
	return err == nil && !slices.ContainsFunc(docs, func(doc *yaml.Node) bool {
		return text(doc, "kind") == "" || field(field(doc, "metadata"), "name") == nil && !strings.HasSuffix(text(doc, "kind"), "List")
	})
}

// keyValues checks the files of a generator; those of `files` are `path` or `key=path`.
func (k *kustomization) keyValues(key string, sources types.KvPairSources) {
	for _, source := range sources.FileSources {
		file := source
		if _, after, ok := strings.Cut(source, "="); ok {
			file = after
		}
		if remoteFile.MatchString(file) || remoteFile.MatchString(source) {
			k.refuse(key, source, isRemote, source)
		}
		k.find(key, source, file)
	}
	for _, source := range append(slices.Clone(sources.EnvSources), sources.EnvSource) {
		k.localFile(key, source)
	}
}

// plugin checks a generator, transformer or validator: a file, an inline object, or a folder of them.
func (k *kustomization) plugin(key, value string) {
	if remoteBase.MatchString(value) {
		k.refuse(key, value, isRemote, value)
		return
	}
	if isInline(value) {
		k.plugins(key, value, k.file, []byte(value))
		return
	}
	if info := k.find(key, value, value); info == nil || k.err != nil {
		return
	}
	k.pluginFiles(key, value, k.place(value), 0)
}

const deepestPlugins = 16 // folders in folders; more is a loop

// pluginFiles checks the plugin file at a path, or those of the folder there. A kustomization may compute paths that
// nobody could inspect here, so that of such a folder may only list files.
func (k *kustomization) pluginFiles(key, value, name string, depth int) {
	data, err := fs.ReadFile(k.repo.files, name)
	if err == nil {
		k.plugins(key, value, name, data)
		return
	}
	file, _, kerr := k.repo.kustomizationOf(name)
	if kerr != nil {
		k.refuse(key, value, "%w", kerr)
		return
	}
	if data, err = fs.ReadFile(k.repo.files, file); err != nil {
		k.refuse(key, value, "%w", err)
		return
	}
	var content types.Kustomization
	if err := content.Unmarshal(data); err != nil || depth == deepestPlugins {
		k.refuse(key, value, "%s cannot be read: %v", file, err)
		return
	}
	resources := content.Resources
	content.Resources, content.TypeMeta, content.MetaData = nil, types.TypeMeta{}, nil
	if content.CheckEmpty() == nil {
		k.refuse(key, value, "%s is a folder of plugins, whose kustomization may only have `resources`", file)
	}
	for _, resource := range resources {
		if remoteBase.MatchString(resource) {
			k.refuse(key, value, isRemote, resource)
		}
		if k.err == nil {
			k.pluginFiles(key, value, local(path.Join("/", name, resource)), depth+1)
		}
	}
}

// plugins checks the configuration of plugins: only those built into kustomize run no program.
func (k *kustomization) plugins(key, value, file string, content []byte) {
	docs, err := documents(file, content)
	if err != nil {
		k.refuse(key, value, "%w", err)
		return
	}
	for _, doc := range docs {
		var config map[string]any
		if err := doc.Decode(&config); err != nil {
			k.refuse(key, value, "%s: %v", file, err)
			return
		}
		if config["apiVersion"] != konfig.BuiltinPluginApiVersion {
			k.refuse(key, value, "%v %v is a plugin that runs a program or a container; only kustomize's built-in ones (apiVersion: builtin) are allowed", config["kind"], config["apiVersion"])
		}
		if config["kind"] == "HelmChartInflationGenerator" {
			k.refuse(key, value, "syncer does not inflate Helm charts; run `helm template` in CI and commit the result")
		}
		if found := remoteIn(config, false); found != "" {
			k.refuse(key, value, "in %s: "+isRemote, file, found)
		}
	}
}

// pluginFields are the fields by which kustomize's built-in plugins load files.
var pluginFields = []string{"path", "paths", "files", "env", "envs", "targetFilePath", "valuesFile"}

// remoteIn finds a remote file in a plugin's configuration, at any depth.
func remoteIn(config any, loads bool) string {
	switch value := config.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			isField := func(name string) bool { return strings.EqualFold(name, key) }
			if found := remoteIn(value[key], slices.ContainsFunc(pluginFields, isField)); found != "" {
				return found
			}
		}
	case []any:
		for _, item := range value {
			if found := remoteIn(item, loads); found != "" {
				return found
			}
		}
	case string:
		_, file, _ := strings.Cut(value, "=")
		if loads && (remoteFile.MatchString(value) || remoteFile.MatchString(file)) {
			return value
		}
	}
	return ""
}

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
