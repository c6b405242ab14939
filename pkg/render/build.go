// Package render turns the files of a snapshot and the path of an overlay into the overlay's set of objects, with
// kustomize in process. It is a pure function of the bytes it is given: it touches no disk, network, clock or
// environment and starts no program. It refuses a file that needs one of these, and names the file and the line.
package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/provenance"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/panics"
)

var (
	// ErrNoOverlay says that there is no kustomization at the overlay's path.
	ErrNoOverlay = errors.New("no kustomization.yaml there")
	// ErrEmpty says that an overlay renders no object. kustomize takes that for success, and a prune would take it for
	// an order to delete everything.
	ErrEmpty = errors.New("the overlay renders no objects")
)

// panicError says that kustomize panicked, most often at a file that it does not expect. The value comes from git's files
// and may be shown.
type panicError struct{ caught *panics.Error }

func (e *panicError) Error() string {
	return fmt.Sprintf("panic in %s: %v", e.caught.Function, e.caught.Value)
}

func (e *panicError) Unwrap() error { return e.caught }

// Build renders the overlay at a slash-separated path of files. The objects keep the order in which kustomize declares
// them. The same files give the same set. Build may be called by many goroutines at once.
func Build(files fs.FS, overlay string) (manifest.Set, error) {
	return Limits{}.Build(files, overlay)
}

// Build is Build within other limits than the defaults.
func (l Limits) Build(files fs.FS, overlay string) (manifest.Set, error) {
	l = l.OrDefaults()
	set, err := l.build(files, overlay)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", overlay, l.shorten(err))
	}
	return set, nil
}

// build is Build with a panic turned into an error: one overlay must not end the process that serves all others.
func (l Limits) build(files fs.FS, overlay string) (rendered manifest.Set, err error) {
	if caught := panics.Catch(func() { rendered, err = l.buildOverlay(files, overlay) }); caught != nil {
		return nil, &panicError{caught}
	}
	return rendered, err
}

func (l Limits) buildOverlay(files fs.FS, overlay string) (manifest.Set, error) {
	if !fs.ValidPath(overlay) {
		return nil, fmt.Errorf("%q is not a path inside the repository", overlay)
	}
	if err := newRepository(files, l).overlayRoot(overlay); err != nil {
		return nil, err
	}
	resources, err := schema.build(files, l, overlay)
	if err != nil {
		return nil, err
	}
	set, err := l.objects(resources)
	if err != nil {
		return nil, err
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("%w; list at least one resource in its kustomization", ErrEmpty)
	}
	return set, nil
}

// schemaGuard keeps builds from disturbing each other through kustomize's package variables.
//
// kustomize (kyaml v0.21) parses its OpenAPI schema into package variables at first need, without a lock, so two first
// builds race: the schema is therefore parsed before the first of them. A kustomization with its own `openapi` field,
// be it a base's, replaces those variables for every later build: such a build runs alone, and the built-in schema is
// put back after it. All other builds share the parsed schema and run side by side, because parsing it anew costs more
// than most builds.
type schemaGuard struct {
	shared sync.RWMutex
	warm   sync.Once
}

var schema schemaGuard

func (g *schemaGuard) build(files fs.FS, l Limits, overlay string) (resmap.ResMap, error) {
	g.warm.Do(warmUp)
	resources, err := g.beside(files, l, overlay)
	if errors.Is(err, errOwnSchema) {
		return g.alone(files, l, overlay)
	}
	return resources, err
}

// beside builds while others do the same. It stops at the first kustomization with a schema of its own, before
// kustomize takes that over.
func (g *schemaGuard) beside(files fs.FS, l Limits, overlay string) (resmap.ResMap, error) {
	g.shared.RLock()
	defer g.shared.RUnlock()
	return run(newRepository(files, l), overlay)
}

func (g *schemaGuard) alone(files fs.FS, l Limits, overlay string) (resmap.ResMap, error) {
	g.shared.Lock()
	defer g.shared.Unlock()
	defer func() {
		openapi.ResetOpenAPI()
		warmUp()
	}()
	repo := newRepository(files, l)
	repo.alone = true
	return run(repo, overlay)
}

// warmUpKind is a kind that kustomize's short list of built-in kinds does not have.
var warmUpKind = kyaml.TypeMeta{APIVersion: "render.syncer.dev/v1", Kind: "None"}

// warmUp makes kustomize parse its built-in schema: the look-up of a kind that its short list does not have needs all
// of it, and so does every strategic merge patch.
func warmUp() {
	openapi.SchemaForResourceType(warmUpKind)
	openapi.IsNamespaceScoped(warmUpKind)
}

// run is kustomize itself.
func run(repo *repository, overlay string) (resmap.ResMap, error) {
	options := krusty.MakeDefaultOptions()
	// A base may be anywhere in the repository; nothing outside of it can be named, because the file system ends there.
	options.LoadRestrictions = types.LoadRestrictionsNone
	options.PluginConfig = types.DisabledPluginConfig()
	resources, err := krusty.MakeKustomizer(options).Run(repo, filesys.Separator+overlay)
	if repo.refused != nil {
		// kustomize wraps an error of its file system in the errors of everything that it tried next.
		return nil, repo.refused
	}
	if err != nil {
		return nil, repo.explain(overlay, err)
	}
	return resources, nil
}

func (l Limits) objects(resources resmap.ResMap) (manifest.Set, error) {
	if n := int64(resources.Size()); n > l.Objects {
		return nil, &Limited{What: fmt.Sprintf("the overlay has %d objects", n), Setting: "render.objects", Limit: fmt.Sprint(l.Objects)}
	}
	set := make(manifest.Set, 0, resources.Size())
	var total int64
	for _, resource := range resources.Resources() {
		doc, err := resource.MarshalJSON()
		if err != nil && strings.Contains(err.Error(), "map[interface {}]interface {}") {
			return nil, fmt.Errorf("%s: a map has a key that YAML takes for a number, a date or a truth value; put the key in quotes", resource.CurId())
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resource.CurId(), err)
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(doc); err != nil {
			return nil, fmt.Errorf("%s: %w", resource.CurId(), err)
		}
		if total += int64(len(doc)); total > l.SetBytes {
			return nil, &Limited{What: "the objects of the overlay have more than " + Bytes(l.SetBytes) + " bytes together", Setting: "render.setBytes", Limit: Bytes(l.SetBytes)}
		}
		if size := int64(len(doc)); size > l.ObjectBytes {
			return nil, &Limited{Place: manifest.IDOf(obj).String(), What: "the object has " + Bytes(size) + " bytes, and an API server takes about 1.5Mi", Setting: "render.objectBytes", Limit: Bytes(l.ObjectBytes)}
		}
		if err := checkMetadata(obj); err != nil {
			return nil, err
		}
		if err := checkPointers(obj); err != nil {
			return nil, err
		}
		stableManager(obj)
		set = append(set, obj)
	}
	if id, ok := set.Duplicate(); ok {
		return nil, fmt.Errorf("%s stands twice in the overlay; keep one", id)
	}
	return set, nil
}

// managedBy is the label of `buildMetadata: [managedByLabel]`, as the kustomize command of the library's version writes
// it. The library itself writes the version of the program around it, which need not be a label value and makes the
// output depend on more than the files.
const managedBy = "kustomize-v5.8.2"

func stableManager(obj *unstructured.Unstructured) {
	labels := obj.GetLabels()
	if labels[konfig.ManagedbyLabelKey] == "kustomize-"+provenance.GetProvenance().Semver() {
		labels[konfig.ManagedbyLabelKey] = managedBy
		obj.SetLabels(labels)
	}
}

// checkMetadata refuses labels and annotations that are not text. YAML reads `version: 1.10` as a number; accessors of
// such a map see nothing at all, and the API server's own error does not name the key.
func checkMetadata(obj *unstructured.Unstructured) error {
	for _, field := range []string{"labels", "annotations"} {
		value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", field)
		if value == nil {
			unstructured.RemoveNestedField(obj.Object, "metadata", field)
			continue
		}
		entries, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: metadata.%s is not a map", manifest.IDOf(obj), field)
		}
		for key, entry := range entries {
			if _, ok := entry.(string); !ok {
				text, _ := json.Marshal(entry)
				return fmt.Errorf("%s: metadata.%s[%q] is %s, which is not text; put it in quotes", manifest.IDOf(obj), field, key, text)
			}
		}
	}
	return nil
}
