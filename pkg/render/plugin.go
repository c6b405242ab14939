package render

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

// plugin checks a generator, transformer or validator: a file, an inline object, or a folder of them.
func (k *kustomization) plugin(key, value string) {
	if remoteBase.MatchString(value) {
		k.refuse(key, value, isRemote, value)
		return
	}
	if IsInline(value) {
		k.plugins(key, value, k.file, []byte(value))
		return
	}
	if info := k.find(key, value, value); info == nil || k.err != nil {
		return
	}
	k.pluginFiles(key, value, k.place(value), 0)
}

const deepestPlugins = 16 // folders in folders; more is a loop

// pluginFiles checks the plugin file at a path, or the files of the folder there. A kustomization may compute paths that
// cannot be inspected here, so that the kustomization of such a folder may only list files.
func (k *kustomization) pluginFiles(key, value, name string, depth int) {
	data, err := k.repo.read(name)
	if _, limited := errors.AsType[*Limited](err); limited || errors.Is(err, ErrPointer) {
		k.refuse(key, value, "%w", err)
		return
	}
	if err == nil {
		k.plugins(key, value, name, data)
		return
	}
	name = RealFolder(k.repo.files, name)
	file, _, kerr := k.repo.kustomizationOf(name)
	if kerr != nil {
		k.refuse(key, value, "%w", kerr)
		return
	}
	if data, err = k.repo.read(file); err != nil {
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
			k.pluginFiles(key, value, Local(path.Join("/", name, resource)), depth+1)
		}
	}
}

// plugins checks the configuration of plugins: only those built into kustomize run no program.
func (k *kustomization) plugins(key, value, file string, content []byte) {
	docs, err := k.repo.documents(file, content)
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
		if config["kind"] == "ImageTagTransformer" {
			// kustomize takes the number, and deploys 1.1 where the author wrote 1.10.
			if tag := scalarBelow(doc, []string{"imageTag", "newTag"}, []string{"!!int", "!!float"}); tag != nil {
				k.refuse(key, value, "%s:%d: imageTag.newTag: %s without quotes is a number in YAML; quote it: \"%s\"", file, tag.Line, tag.Value, tag.Value)
			}
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
