package apply

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Brings are the namespaces and kinds that sets create.
type Brings struct {
	namespaces map[string]bool
	kinds      map[schema.GroupKind]bool
	clusterSet map[schema.GroupKind]bool // kinds without a namespace
}

// BroughtBy collects the namespaces and the kinds that come with sets.
func BroughtBy(sets ...manifest.Set) Brings {
	b := Brings{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]bool{}, clusterSet: map[schema.GroupKind]bool{}}
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

// Any reports whether anything is brought.
func (b Brings) Any() bool { return len(b.namespaces)+len(b.kinds) > 0 }

func (b Brings) and(other Brings) Brings {
	out := BroughtBy()
	for _, each := range []Brings{b, other} {
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

// scoped fills in the namespace of an object whose kind only a CRD of the pass knows.
func (b Brings) scoped(id manifest.ID) manifest.ID {
	switch {
	case b.clusterSet[id.GroupKind()]:
		id.Namespace = ""
	case id.Namespace == "":
		id.Namespace = manifest.DefaultNamespace
	}
	return id
}
