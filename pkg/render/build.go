// Package render turns the files of a snapshot and the path of an overlay into the set of objects that the overlay
// stands for, with kustomize in process. It is a pure function of the bytes it is given: it touches no disk, network,
// clock or environment and starts no program; what would need one is refused, naming the file and the line.
package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"

	"github.com/syncerdev/syncer/pkg/manifest"
)

var (
	// ErrNoOverlay says that there is no kustomization at the overlay's path.
	ErrNoOverlay = errors.New("no kustomization.yaml there")
	// ErrEmpty says that an overlay renders no object. kustomize takes that for success, and a prune would take it for
	// an order to delete everything.
	ErrEmpty = errors.New("the overlay renders no objects")
)

// Build renders the overlay at a slash-separated path of files. The objects keep the order in which kustomize declares
// them. The same files give the same set. Build may be called by many goroutines at once.
func Build(files fs.FS, overlay string) (manifest.Set, error) {
	repo := &repository{files: files}
	root, err := repo.overlayRoot(overlay)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", overlay, err)
	}
	resources, err := schema.build(repo, overlay, root.ownSchema)
	if repo.refused != nil {
		// kustomize wraps an error of its file system in the errors of everything that it tried next.
		err = repo.refused
	}
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", overlay, readable(err))
	}
	set, err := objects(resources)
	if err != nil {
		return nil, fmt.Errorf("rendering %s: %w", overlay, err)
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("rendering %s: %w; list at least one resource in its kustomization", overlay, ErrEmpty)
	}
	return set, nil
}

// schemaGuard keeps builds from disturbing each other through kustomize's package variables.
//
// kustomize (kyaml v0.21) parses its OpenAPI schema into package variables at first need, without a lock, so two first
// builds race: the first build is therefore made alone. An overlay with its own `openapi` field replaces those
// variables for every later build: it runs alone, and the built-in schema is put back after it. All other builds share
// the parsed schema and run side by side, because parsing it anew costs more than most builds.
type schemaGuard struct {
	shared sync.RWMutex
	warm   sync.Once
}

var schema schemaGuard

func (g *schemaGuard) build(repo *repository, overlay string, ownSchema bool) (resmap.ResMap, error) {
	g.warm.Do(warmUp)
	if !ownSchema {
		g.shared.RLock()
		defer g.shared.RUnlock()
		return run(repo, overlay)
	}
	g.shared.Lock()
	defer g.shared.Unlock()
	defer func() {
		openapi.ResetOpenAPI()
		warmUp()
	}()
	return run(repo, overlay)
}

// warmUp makes kustomize parse its built-in schema: the look-up of a kind that its short list does not have needs all
// of it, and so does every strategic merge patch.
func warmUp() {
	openapi.SchemaForResourceType(warmUpKind)
	openapi.IsNamespaceScoped(warmUpKind)
}

// run is kustomize, with a panic turned into an error: one overlay must not end the process that serves all others.
func run(repo *repository, overlay string) (resources resmap.ResMap, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("kustomize panicked: %v\n%s", p, debug.Stack())
		}
	}()
	options := krusty.MakeDefaultOptions()
	// A base may be anywhere in the repository; nothing outside of it can be named, because the file system ends there.
	options.LoadRestrictions = types.LoadRestrictionsNone
	options.PluginConfig = types.DisabledPluginConfig()
	return krusty.MakeKustomizer(options).Run(repo, filesys.Separator+overlay)
}

func objects(resources resmap.ResMap) (manifest.Set, error) {
	set := make(manifest.Set, 0, resources.Size())
	for _, resource := range resources.Resources() {
		doc, err := resource.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", resource.CurId(), err)
		}
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(doc); err != nil {
			return nil, fmt.Errorf("%s: %w", resource.CurId(), err)
		}
		if err := checkMetadata(obj); err != nil {
			return nil, err
		}
		set = append(set, obj)
	}
	if id, ok := set.Duplicate(); ok {
		return nil, fmt.Errorf("%s stands twice in the overlay; keep one", id)
	}
	return set, nil
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

// readable shortens kustomize's errors: it says what went wrong first as a file and then as a folder, several times
// over. The innermost cause comes last.
func readable(err error) error {
	text := err.Error()
	if strings.HasPrefix(text, "kustomize panicked") {
		return err
	}
	if i := strings.LastIndex(text, "accumulation err='"); i >= 0 {
		text = strings.TrimPrefix(text[i:], "accumulation err='")
	}
	return errors.New(strings.TrimSpace(strings.ReplaceAll(text, "\n", " ")))
}
