package target

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// If two targets name one object, the target that has the object keeps it. If no target has it, neither gets it.
func TestObjectOfTwoTargetsStaysWithItsOwner(t *testing.T) {
	for name, c := range map[string]struct {
		kind, has  string // the namespace by the owner's inventory
		one, other string // the namespaces as git writes them
		rivals     bool
	}{
		"in a namespace":                        {"ConfigMap", "shop", "shop", "shop", true},
		"without one":                           {"ConfigMap", "default", "", "", true},
		"in the default one, the other without": {"ConfigMap", "default", "default", "", true},
		"without, the other in the default one": {"ConfigMap", "default", "", "default", true},
		"of the whole cluster":                  {"Namespace", "", "", "", true},
		"in two namespaces":                     {"ConfigMap", "shop", "shop", "", false},
	} {
		cluster := &cluster.Cluster{}
		wanting := func(pipeline, namespace string) *Desired {
			obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": c.kind, "metadata": map[string]any{"name": "x"}}}
			obj.SetNamespace(namespace)
			return &Desired{Target: v1alpha1.Target{Pipeline: pipeline, Environment: "prod"}, Cluster: cluster, Rendered: Rendered{Set: manifest.Pack(manifest.Set{obj})}}
		}
		owner, rival, third := wanting("owner", c.one), wanting("rival", c.other), wanting("third", c.other)
		owner.Record = &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: []v1alpha1.InventoryEntry{{APIVersion: "v1", Kind: c.kind, Namespace: c.has, Name: "x"}}}}
		(&Commit{Targets: []*Desired{owner, rival}}).claim()
		if owner.Err != nil || (rival.Err != nil) != c.rivals {
			t.Errorf("%s: the owner: %v; the other: %v", name, owner.Err, rival.Err)
		}
		rival.Err = nil
		rival.Rendered.Set = manifest.Pack(append(rival.Rendered.Set.Set(), rival.Rendered.Set.Set()...))
		(&Commit{Targets: []*Desired{rival}}).claim()
		if rival.Err != nil {
			t.Errorf("%s: alone: %v", name, rival.Err)
		}
		(&Commit{Targets: []*Desired{rival, third}}).claim()
		if rival.Err == nil || third.Err == nil {
			t.Errorf("%s: without an owner: %v; %v", name, rival.Err, third.Err)
		}
	}
}
