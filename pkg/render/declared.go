package render

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
)

// originAnnotation is where kustomize notes the file of an object, for `buildMetadata: [originAnnotations]`.
const originAnnotation = "config.kubernetes.io/origin"

// declaredIn follows kustomize's note on where an object comes from, for objects that have no mark: plugins made them,
// or a patch replaced all of them. The note names a file; the object in it is told by its kind, and by a name that the
// rendered one contains. Two of them leave a doubt, and so none.
func declaredIn(files fs.FS, overlay, note, kind, name string) Origin {
	var origin struct {
		Path         string `yaml:"path"`
		ConfiguredIn string `yaml:"configuredIn"`
		ConfiguredBy struct {
			Kind string `yaml:"kind"`
		} `yaml:"configuredBy"`
	}
	if note == "" || yaml.Unmarshal([]byte(note), &origin) != nil {
		return Origin{}
	}
	file := origin.Path
	if origin.ConfiguredIn != "" {
		file, kind = origin.ConfiguredIn, origin.ConfiguredBy.Kind
	}
	file = local(path.Join("/", realFolder(files, overlay), file))
	data, err := fs.ReadFile(files, file)
	if err != nil {
		return Origin{}
	}
	docs, err := documents(file, data)
	if err != nil {
		return Origin{}
	}
	isKustomization := slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(file))
	var exact, similar []*yaml.Node
	for _, doc := range docs {
		var declared []*yaml.Node
		if isKustomization {
			declared = items(field(doc, kind)) // kind ConfigMapGenerator, field configMapGenerator
		}
		for _, obj := range unlisted(doc) {
			if text(obj, "kind") == kind {
				declared = append(declared, obj)
			}
		}
		for _, entry := range declared {
			own := text(entry, "name")
			if metadata := field(entry, "metadata"); metadata != nil {
				own = text(metadata, "name")
			}
			if own == name {
				exact = append(exact, resolve(entry))
			}
			if own != "" && strings.Contains(name, own) {
				similar = append(similar, resolve(entry))
			}
		}
	}
	if len(exact) == 1 {
		return Origin{file, exact[0].Line}
	}
	if len(similar) == 1 {
		return Origin{file, similar[0].Line}
	}
	return Origin{}
}

// unlisted are the objects of a document that may be a List.
func unlisted(doc *yaml.Node) []*yaml.Node {
	if strings.HasSuffix(text(doc, "kind"), "List") && field(doc, "items") != nil {
		return items(field(doc, "items"))
	}
	return []*yaml.Node{doc}
}

func items(node *yaml.Node) []*yaml.Node {
	if node == nil || resolve(node).Kind != yaml.SequenceNode {
		return nil
	}
	return resolve(node).Content
}
