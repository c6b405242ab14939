package image

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Field is a field of one kind that holds an image reference.
type Field struct {
	Group, Kind string
	Path        manifest.Path
}

// NewField reads a field path such as spec.workers[*].image.
func NewField(group, kind, path string) (Field, error) {
	parsed, err := manifest.ParsePath(path)
	if err != nil {
		return Field{}, err
	}
	if health.KindOf(schema.GroupKind{Group: group, Kind: kind}).IsPushTarget(parsed.String()) {
		return Field{}, fmt.Errorf("%s of %s names where an image is pushed to, not one that runs; syncer never rewrites it", path, kind)
	}
	return Field{Group: group, Kind: kind, Path: parsed}, nil
}

// known has the patterns of each kind's image fields.
var known = func() map[schema.GroupKind][]manifest.Path {
	table := map[schema.GroupKind][]manifest.Path{}
	for _, kind := range health.Kinds() {
		if paths := kind.ImagePaths(); len(paths) > 0 {
			table[kind.GVK.GroupKind()] = paths
		}
	}
	return table
}()

// named returns the patterns that the user added for a kind.
func named(id manifest.ID, extra []Field) []manifest.Path {
	kind := id.GroupKind()
	var patterns []manifest.Path
	for _, field := range extra {
		if field.Kind == kind.Kind && strings.EqualFold(field.Group, kind.Group) {
			patterns = append(patterns, field.Path)
		}
	}
	return patterns
}
