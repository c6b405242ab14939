package neighbour

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Provides holds the namespaces and kinds that sets create.
type Provides struct {
	namespaces map[string]bool
	kinds      map[schema.GroupKind]bool
	clusterSet map[schema.GroupKind]bool // kinds without a namespace
}

// ProvidedBy collects the namespaces and kinds that sets create.
func ProvidedBy(sets ...manifest.Set) Provides {
	b := Provides{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]bool{}, clusterSet: map[schema.GroupKind]bool{}}
	for _, set := range sets {
		for _, obj := range set {
			switch manifest.IDOf(obj).GroupKind() {
			case manifest.NamespaceKind:
				b.namespaces[obj.GetName()] = true
			case manifest.CRDKind:
				group, _, _ := unstructured.NestedString(obj.Object, "spec", "group")
				kind, _, _ := unstructured.NestedString(obj.Object, "spec", "names", "kind")
				scope, _, _ := unstructured.NestedString(obj.Object, "spec", "scope")
				gk := schema.GroupKind{Group: group, Kind: kind}
				b.kinds[gk] = true
				b.clusterSet[gk] = scope == "Cluster"
			}
		}
	}
	return b
}

// Any reports whether the sets create any namespace or kind.
func (b Provides) Any() bool { return len(b.namespaces)+len(b.kinds) > 0 }

// And joins what sets provide. Neither side is changed.
func (b Provides) And(other Provides) Provides {
	out := ProvidedBy()
	for _, each := range []Provides{b, other} {
		for name := range each.namespaces {
			out.namespaces[name] = true
		}
		for kind := range each.kinds {
			out.kinds[kind] = true
			out.clusterSet[kind] = each.clusterSet[kind]
		}
	}
	return out
}

// Scoped fills in the namespace of an object whose kind is defined only by a CRD of the same pass.
func (b Provides) Scoped(id manifest.ID) manifest.ID {
	switch {
	case b.clusterSet[id.GroupKind()]:
		id.Namespace = ""
	case id.Namespace == "":
		id.Namespace = manifest.DefaultNamespace
	}
	return id
}

// Namespace reports whether the sets create a namespace.
func (b Provides) Namespace(name string) bool { return b.namespaces[name] }

// Kind reports whether the sets create a kind.
func (b Provides) Kind(kind schema.GroupKind) bool { return b.kinds[kind] }

// Kinds lists the kinds that the sets create.
func (b Provides) Kinds() []schema.GroupKind { return slices.Collect(maps.Keys(b.kinds)) }
