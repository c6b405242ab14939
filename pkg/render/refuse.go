//lint:file-ignore SA1019 kustomize still loads what its deprecated fields name, so they are checked as well

package render

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/syncerdev/syncer/pkg/yamltext"
)

var (
	// remoteFile matches the names that kustomize v0.21 downloads in place of a file: url.Parse finds http or https.
	remoteFile = regexp.MustCompile(`(?i)^\s*([a-z][a-z0-9+.-]*://|https?:)`)
	// remoteBase matches the names that kustomize hands to git in place of a folder: its RepoSpec knows schemes, `git::`,
	// github.com, and `user@host:` before a path of at least two parts. It is matched even where a file or folder of that
	// name exists, since kustomize tries the remote form when the local one does not load.
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

// kustomizationOf finds the kustomization of a folder and its kind. It refuses files that are no kustomization.
func (r *repository) kustomizationOf(folder string) (file, kind string, err error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := path.Join(folder, name)
		data, err := r.read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return "", "", err
		}
		docs, err := r.documents(file, data)
		if err != nil {
			return "", "", err
		}
		if len(docs) == 0 {
			return "", "", fmt.Errorf("%s: %w; list at least one resource", file, ErrEmpty)
		}
		if strings.HasPrefix(yamltext.Text(docs[0], "apiVersion"), "kustomize.toolkit.fluxcd.io/") {
			return "", "", fmt.Errorf("%s is Flux's own Kustomization object, not a kustomize file; point to the folder that its spec.path names, or name the file otherwise", file)
		}
		return file, yamltext.Text(docs[0], "kind"), nil
	}
	return "", "", ErrNoOverlay
}

// documents parses a YAML text within the limits.
func (r *repository) documents(file string, data []byte) ([]*yaml.Node, error) {
	if err := r.limits.CheckYAML(file, data); err != nil {
		return nil, err
	}
	return yamltext.Documents(file, data)
}

// inspect refuses a file from which kustomize would do more than read other files of the repository.
func (r *repository) inspect(name string, data []byte) error {
	if !r.data[name] {
		if err := r.limits.CheckYAML(name, data); err != nil {
			return err
		}
	}
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
		docs, err := yamltext.Documents(name, data)
		if err != nil {
			return err
		}
		if len(docs) > 0 {
			// kustomize's own decoder, so that both see the same in spite of the case of keys, duplicates, anchors, merges
			// and tags.
			var content types.Kustomization
			switch err := content.Unmarshal(data); {
			case err == nil && !isResource(content.APIVersion):
				return r.inspectKustomization(name, content, docs[0])
			case err != nil && !isResource(yamltext.Text(docs[0], "apiVersion")):
				return unreadable(name, docs[0], err)
			}
		}
	}
	// Parsing each file a second time would double the cost of a build, so look before.
	if bytes.Contains(data, []byte("generateName")) {
		r.noteNameless(name, data)
	}
	return nil
}

// isResource reports whether a file named kustomization.yaml is an object, such as Flux's, and no kustomization.
// kustomize loads nothing for a kustomization of another group.
func isResource(apiVersion string) bool {
	group, _, _ := strings.Cut(apiVersion, "/")
	return group != "" && group != "kustomize.config.k8s.io"
}

// noteNameless keeps an explanation for the case that kustomize cannot load an object without a name. It is no refusal:
// the same text may be data of a generated ConfigMap.
func (r *repository) noteNameless(name string, data []byte) {
	docs, err := yamltext.Documents(name, data)
	if err != nil {
		return // not YAML, or YAML with an error that kustomize names
	}
	for _, doc := range docs {
		objects := []*yaml.Node{doc}
		if items := yamltext.Field(doc, "items"); items != nil {
			objects = append(objects, items.Content...)
		}
		for _, object := range objects {
			metadata := yamltext.Field(object, "metadata")
			if generate := yamltext.Field(metadata, "generateName"); generate != nil && yamltext.Field(metadata, "name") == nil {
				r.nameless = fmt.Errorf("%s:%d: metadata.generateName: kustomize matches objects by name and cannot load one without; give it a metadata.name (a new name for each run makes a new object, and syncer prunes the old one)", name, generate.Line)
			}
		}
	}
}

// errOwnSchema stops a build that would replace kustomize's schema while others read it.
var errOwnSchema = errors.New("the kustomization has an openapi field")

// inspectKustomization checks each field by which a kustomization loads something.
func (r *repository) inspectKustomization(file string, content types.Kustomization, doc *yaml.Node) error {
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
			k.inline(field.key, value)
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

// unreadable names the file, and if possible the line, of a kustomization that kustomize cannot decode.
func unreadable(file string, doc *yaml.Node, err error) error {
	text := strings.TrimPrefix(err.Error(), "invalid Kustomization: ")
	if m := unknownField.FindStringSubmatch(text); m != nil {
		return fmt.Errorf("%s:%d: kustomize knows no field %q", file, yamltext.LineOfKey(doc, m[1]), m[1])
	}
	if err := missingQuotes(file, doc, err); err != nil {
		return err
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
		k.err = fmt.Errorf("%s:%d: %s: %w", k.file, yamltext.LineOf(k.doc, key, value), key, fmt.Errorf(format, args...))
	}
}

const isRemote = "%s is remote; syncer renders only what the commit holds, so copy it into the repository"

// find returns the target of a path of the kustomization, or refuses the path.
func (k *kustomization) find(key, value, name string) fs.FileInfo {
	if k.err != nil || name == "" {
		return nil // kustomize has its own error for an empty path
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		k.refuse(key, value, "the name %q has a control character; rename the file", name) // errors would show it to a terminal
		return nil
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

// content is the content of a file that the kustomization names, or nothing where kustomize cannot read it either.
func (k *kustomization) content(name string) []byte {
	data, err := k.repo.read(k.place(name))
	if err != nil || k.repo.limits.CheckYAML(name, data) != nil {
		return nil // the error is met again when kustomize reads it
	}
	return data
}

// place is the path in the repository of a path that the kustomization writes.
func (k *kustomization) place(name string) string {
	return Local(path.Join("/", path.Dir(k.file), name))
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
		k.inline("patches", patch.Patch)
	}
	for _, patch := range content.PatchesJson6902 {
		k.localFile("patchesJson6902", patch.Path)
		k.inline("patchesJson6902", patch.Patch)
	}
	for _, replacement := range content.Replacements {
		k.localFile("replacements", replacement.Path)
	}
	for _, patch := range content.PatchesStrategicMerge {
		k.inline("patchesStrategicMerge", string(patch))
		if remoteFile.MatchString(string(patch)) {
			k.refuse("patchesStrategicMerge", string(patch), isRemote, patch)
		} else if !IsInline(string(patch)) {
			k.find("patchesStrategicMerge", string(patch), string(patch))
		} else if !isPatch(string(patch)) {
			// kustomize would take it for a path, and show it in an error.
			k.refuse("patchesStrategicMerge", string(patch), "an inline patch is not valid YAML with apiVersion, kind and metadata.name")
		}
	}
}

// inline checks a value that may be YAML in YAML.
func (k *kustomization) inline(key, value string) {
	if err := k.repo.limits.CheckYAML("", []byte(value)); err != nil {
		k.refuse(key, "", "%w", err)
	}
}

// IsInline reports whether an entry in a list of paths is an object and not a path.
func IsInline(value string) bool {
	docs, err := yamltext.Documents("", []byte(value))
	return err != nil || slices.ContainsFunc(docs, func(doc *yaml.Node) bool { return doc.Kind != yaml.ScalarNode })
}

// isPatch reports whether kustomize can read an inline patch.
func isPatch(value string) bool {
	docs, err := yamltext.Documents("", []byte(value))
	return err == nil && !slices.ContainsFunc(docs, func(doc *yaml.Node) bool {
		return yamltext.Text(doc, "kind") == "" || yamltext.Field(yamltext.Field(doc, "metadata"), "name") == nil && !strings.HasSuffix(yamltext.Text(doc, "kind"), "List")
	})
}

// keyValues checks the files of a generator. An entry of `files` is `path` or `key=path`.
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
		k.repo.data[k.place(file)] = true
	}
	for _, source := range append(slices.Clone(sources.EnvSources), sources.EnvSource) {
		k.localFile(key, source)
	}
}
