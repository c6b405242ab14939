package cluster

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Promises are the entries that a record has of objects before they are applied.
type Promises struct {
	Kinds      []schema.GroupKind
	Namespaces []string
	Creating   string   // see annotationCreating
	Writes     []string // see annotationApplying; nil: nothing is applied
}

// annotations of the record that hold the promises; own is the record's namespace.
func (p Promises) annotations(own string) map[string]string {
	namespaces := slices.DeleteFunc(slices.Sorted(slices.Values(p.Namespaces)), func(name string) bool { return name == "" || name == own })
	out := map[string]string{v1alpha1.AnnotationTooling: v1alpha1.Tooling, v1alpha1.AnnotationKinds: v1alpha1.FormatKinds(p.Kinds)}
	if len(namespaces) > 0 {
		out[v1alpha1.AnnotationNamespaces] = strings.Join(slices.Compact(namespaces), ",")
	}
	if p.Creating != "" {
		out[v1alpha1.AnnotationCreating] = p.Creating
	}
	return out
}
