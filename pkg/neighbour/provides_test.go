package neighbour

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/pkg/manifest"
)

func TestWhatSetsProvide(t *testing.T) {
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"}}}
	defines := func(kind, scope string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": kind},
			"spec": map[string]any{"group": "example.com", "scope": scope, "names": map[string]any{"kind": kind}},
		}}
	}
	one, other := ProvidedBy(manifest.Set{namespace, defines("Wide", "Cluster")}), ProvidedBy(manifest.Set{defines("Narrow", "Namespaced")})
	both := one.And(other)
	if !both.Namespace("shop") || both.Namespace("other") || len(both.Kinds()) != 2 || !both.Kind(schema.GroupKind{Group: "example.com", Kind: "Narrow"}) {
		t.Errorf("both provide %+v", both)
	}
	if other.Namespace("shop") || len(one.Kinds()) != 1 {
		t.Error("one of the two was changed")
	}
	if nothing := ProvidedBy(manifest.Set{{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}}); nothing.Any() || !both.Any() || (Provides{}).Any() {
		t.Error("a ConfigMap provides something")
	}
	for kind, want := range map[string]string{"Wide": "", "Narrow": manifest.DefaultNamespace} {
		if id := both.Scoped(manifest.ID{APIVersion: "example.com/v1", Kind: kind, Name: "x"}); id.Namespace != want {
			t.Errorf("%s stands in %q", kind, id.Namespace)
		}
	}
}
