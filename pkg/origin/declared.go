package origin

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/syncerdev/syncer/pkg/render"
	"github.com/syncerdev/syncer/pkg/yamltext"
)

// originAnnotation is where kustomize notes the file of an object, for `buildMetadata: [originAnnotations]`.
const originAnnotation = "config.kubernetes.io/origin"

// declaredIn follows kustomize's note on the origin of an object, for objects that have no mark: plugins made them, or a
// patch replaced all of them. The note names a file. The object in the file is found by its kind, and by a name that the
// rendered one contains. Two such objects are ambiguous, and the result is none.
func declaredIn(files fs.FS, overlay, note, kind, name string) Place {
	var origin struct {
		Path         string `yaml:"path"`
		ConfiguredIn string `yaml:"configuredIn"`
		ConfiguredBy struct {
			Kind string `yaml:"kind"`
		} `yaml:"configuredBy"`
	}
	if note == "" || yaml.Unmarshal([]byte(note), &origin) != nil {
		return Place{}
	}
	file := origin.Path
	if origin.ConfiguredIn != "" {
		file, kind = origin.ConfiguredIn, origin.ConfiguredBy.Kind
	}
	file = render.Local(path.Join("/", render.RealFolder(files, overlay), file))
	data, err := fs.ReadFile(files, file)
	if err != nil {
		return Place{}
	}
	docs, err := yamltext.Documents(file, data)
	if err != nil {
		return Place{}
	}
	isKustomization := slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(file))
	var exact, similar []*yaml.Node
	for _, doc := range docs {
		var declared []*yaml.Node
		if isKustomization {
			declared = yamltext.Items(yamltext.Field(doc, kind)) // kind ConfigMapGenerator, field configMapGenerator
		}
		for _, obj := range unlisted(doc) {
			if yamltext.Text(obj, "kind") == kind {
				declared = append(declared, obj)
			}
		}
		for _, entry := range declared {
			own := yamltext.Text(entry, "name")
			if metadata := yamltext.Field(entry, "metadata"); metadata != nil {
				own = yamltext.Text(metadata, "name")
			}
			if own == name {
				exact = append(exact, yamltext.Resolve(entry))
			}
			if own != "" && strings.Contains(name, own) {
				similar = append(similar, yamltext.Resolve(entry))
			}
		}
	}
	if len(exact) == 1 {
		return Place{file, exact[0].Line}
	}
	if len(similar) == 1 {
		return Place{file, similar[0].Line}
	}
	return Place{}
}

// unlisted are the objects of a document that may be a List.
func unlisted(doc *yaml.Node) []*yaml.Node {
	if strings.HasSuffix(yamltext.Text(doc, "kind"), "List") && yamltext.Field(doc, "items") != nil {
		return yamltext.Items(yamltext.Field(doc, "items"))
	}
	return []*yaml.Node{doc}
}
