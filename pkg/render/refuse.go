package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// warmUpKind is a kind that kustomize's short list of built-in kinds does not have.
var warmUpKind = kyaml.TypeMeta{APIVersion: "render.syncer.dev/v1", Kind: "None"}

// remote matches whatever kustomize v0.21 would fetch: as a file (url.Parse finds http or https) or by running git
// (its RepoSpec knows these schemes, `git::`, `user@` and github.com). It is matched even where a folder of that name
// exists, since kustomize tries the remote form when the local one does not load.
var remote = regexp.MustCompile(`(?i)^\s*(git::|[a-z][a-z0-9+.-]*://|https?:|github\.com[/:]|[a-z][a-z0-9-]*@)`)

// root is what Build must know of an overlay's own kustomization before it starts.
type root struct {
	ownSchema bool // it has an `openapi` field
}

// overlayRoot reads the kustomization of an overlay and refuses the kinds that are none.
func (r *repository) overlayRoot(overlay string) (root, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(overlay, name)
		data, err := fs.ReadFile(r.files, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return root{}, err
		}
		docs, err := documents(file, data)
		if err != nil {
			return root{}, err
		}
		if len(docs) == 0 {
			return root{}, fmt.Errorf("%s: %w; list at least one resource", file, ErrEmpty)
		}
		apiVersion, kind := text(docs[0], "apiVersion"), text(docs[0], "kind")
		switch {
		case strings.HasPrefix(apiVersion, "kustomize.toolkit.fluxcd.io/"):
			return root{}, fmt.Errorf("%s is Flux's own Kustomization object, not a kustomize file; point the layout at the folder that its spec.path names, or name the file otherwise", file)
		case kind == "Component":
			return root{}, fmt.Errorf("%s is a Component, which renders nothing by itself; list it under `components:` of an overlay", file)
		}
		return root{ownSchema: field(docs[0], "openapi") != nil}, nil
	}
	return root{}, ErrNoOverlay
}

// inspect refuses what kustomize would do with a file's content besides reading other files of the repository.
func (r *repository) inspect(name string, data []byte) error {
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
		docs, err := documents(name, data)
		if err != nil {
			return err
		}
		for _, doc := range docs {
			if err := r.inspectKustomization(name, doc); err != nil {
				return err
			}
		}
		return nil
	}
	// Parsing each resource a second time would double the cost of a build, so look before.
	if !bytes.Contains(data, []byte("generateName")) && !bytes.Contains(data, []byte("builtin")) && !bytes.Contains(data, []byte("config.kubernetes.io/function")) {
		return nil
	}
	docs, err := documents(name, data)
	if err != nil {
		return nil // not YAML, or YAML with an error that kustomize will name
	}
	for _, doc := range docs {
		if err := inspectResource(name, doc); err != nil {
			return err
		}
	}
	return nil
}

// inspectKustomization checks each field by which a kustomization loads something.
func (r *repository) inspectKustomization(file string, doc *yaml.Node) error {
	k := kustomization{repo: r, file: file}
	for _, key := range []string{"resources", "bases", "components", "crds", "configurations"} {
		k.each(doc, key, k.reference)
	}
	for _, key := range []string{"generators", "transformers", "validators"} {
		k.each(doc, key, k.plugin)
	}
	for _, key := range []string{"patches", "patchesStrategicMerge", "patchesJson6902", "replacements"} {
		k.each(doc, key, k.patch)
	}
	for _, key := range []string{"configMapGenerator", "secretGenerator"} {
		k.each(doc, key, k.generator)
	}
	if schema := field(doc, "openapi"); schema != nil {
		if file := field(schema, "path"); file != nil {
			k.reference("openapi", file)
		}
	}
	for _, key := range []string{"helmCharts", "helmChartInflationGenerator"} {
		if node := field(doc, key); node != nil {
			k.refuse(node, "%s: syncer does not inflate Helm charts; run `helm template` in CI and commit the result", key)
		}
	}
	return k.err
}

// kustomization inspects one file and keeps the first refusal.
type kustomization struct {
	repo *repository
	file string
	err  error
}

func (k *kustomization) refuse(node *yaml.Node, format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("%s:%d: %s", k.file, node.Line, fmt.Sprintf(format, args...))
	}
}

// each calls check for every item of a list field.
func (k *kustomization) each(doc *yaml.Node, key string, check func(string, *yaml.Node)) {
	list := field(doc, key)
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	for _, item := range list.Content {
		check(key, resolve(item))
	}
}

// reference checks a path that must lie in the repository.
func (k *kustomization) reference(key string, node *yaml.Node) {
	if node.Kind != yaml.ScalarNode || k.err != nil {
		return
	}
	if remote.MatchString(node.Value) {
		k.refuse(node, "%s: %s is remote; syncer renders only what the commit holds, so copy it into the repository", key, node.Value)
		return
	}
	if path.IsAbs(node.Value) || node.Value == "" {
		return // kustomize has its own error for it
	}
	if _, err := k.repo.stat(path.Join(path.Dir(k.file), node.Value)); errors.Is(err, fs.ErrNotExist) {
		k.refuse(node, "%s: there is no file or folder %s in the repository", key, path.Join(path.Dir(k.file), node.Value))
	} else if err != nil {
		k.refuse(node, "%s: %v", key, err)
	}
}

// patch checks an entry that is a path, an inline patch, or a map with a path.
func (k *kustomization) patch(key string, node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && !strings.Contains(node.Value, "\n") && !strings.Contains(node.Value, "{") {
		k.reference(key, node)
	}
	if file := field(node, "path"); file != nil {
		k.reference(key, file)
	}
}

// generator checks the files of a configMapGenerator or secretGenerator, each `path` or `key=path`.
func (k *kustomization) generator(key string, node *yaml.Node) {
	check := func(key string, item *yaml.Node) {
		file := *item
		if _, after, ok := strings.Cut(file.Value, "="); ok {
			file.Value = after
		}
		k.reference(key, &file)
	}
	for _, list := range []string{"files", "envs"} {
		k.each(node, list, func(_ string, item *yaml.Node) { check(key+" "+list, item) })
	}
	if env := field(node, "env"); env != nil {
		k.reference(key+" env", env)
	}
}

// plugin checks a generator, transformer or validator: only those built into kustomize run no program.
func (k *kustomization) plugin(key string, node *yaml.Node) {
	if node.Kind != yaml.ScalarNode {
		return
	}
	content := []byte(node.Value)
	if !strings.Contains(node.Value, "\n") {
		k.reference(key, node)
		file := local(path.Join(path.Dir(k.file), node.Value))
		info, err := k.repo.stat(file)
		if k.err != nil || err != nil || info.IsDir() {
			return // a folder's files are inspected when kustomize reads them
		}
		if content, err = fs.ReadFile(k.repo.files, file); err != nil {
			k.refuse(node, "%s: %v", key, err)
			return
		}
	}
	docs, err := documents(k.file, content)
	if err != nil {
		return // kustomize names the error
	}
	for _, doc := range docs {
		if text(doc, "apiVersion") != konfig.BuiltinPluginApiVersion {
			k.refuse(node, "%s: %s %s is a plugin that runs a program or a container; only kustomize's built-in ones (apiVersion: builtin) are allowed", key, text(doc, "kind"), text(doc, "apiVersion"))
			return
		}
		if err := inspectResource(k.file, doc); err != nil && k.err == nil {
			k.err = fmt.Errorf("%w (%s at line %d)", err, key, node.Line)
		}
	}
}

// inspectResource checks one document of a resource or of a plugin's configuration.
func inspectResource(file string, doc *yaml.Node) error {
	k := kustomization{file: file}
	metadata := field(doc, "metadata")
	if name := field(metadata, "generateName"); name != nil && field(metadata, "name") == nil {
		k.refuse(name, "metadata.generateName: kustomize matches objects by name and cannot load one without; give it a metadata.name (a new name for each run makes a new object, and syncer prunes the old one)")
	}
	if annotations := field(metadata, "annotations"); field(annotations, "config.kubernetes.io/function") != nil {
		k.refuse(annotations, "a function that runs a program or a container is not allowed")
	}
	if text(doc, "apiVersion") != konfig.BuiltinPluginApiVersion {
		return k.err
	}
	if text(doc, "kind") == "HelmChartInflationGenerator" {
		k.refuse(doc, "syncer does not inflate Helm charts; run `helm template` in CI and commit the result")
	}
	k.builtin(doc)
	return k.err
}

// builtin checks the fields by which kustomize's built-in plugins load files, at any depth.
func (k *kustomization) builtin(node *yaml.Node) {
	node = resolve(node)
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], resolve(node.Content[i+1])
		switch strings.ToLower(key.Value) {
		case "path", "paths", "files", "env", "envs", "targetfilepath", "valuesfile":
			for _, item := range append([]*yaml.Node{value}, value.Content...) {
				_, file, ok := strings.Cut(item.Value, "=")
				if item.Kind == yaml.ScalarNode && (remote.MatchString(item.Value) || ok && remote.MatchString(file)) {
					k.refuse(item, "%s: %s is remote; syncer renders only what the commit holds, so copy it into the repository", key.Value, item.Value)
				}
			}
		}
		k.builtin(value)
	}
	if node.Kind == yaml.SequenceNode {
		for _, item := range node.Content {
			k.builtin(item)
		}
	}
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
			return nil, fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) > 0 && doc.Content[0].Tag != "!!null" {
			docs = append(docs, doc.Content[0])
		}
	}
}

func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// field returns the value of a key of a map, or nil. Keys are compared as kustomize does, which decodes JSON without
// regard to case: `Resources:` loads just as `resources:` does.
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

func text(node *yaml.Node, key string) string {
	if value := field(node, key); value != nil {
		return value.Value
	}
	return ""
}
