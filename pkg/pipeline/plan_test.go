package pipeline

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Of two targets that name one object, the one that has it keeps it, and neither gets one that nobody has.
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
		cluster := &apply.Cluster{}
		wanting := func(pipeline, namespace string) *work {
			obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": c.kind, "metadata": map[string]any{"name": "x"}}}
			obj.SetNamespace(namespace)
			return &work{target: v1alpha1.Target{Pipeline: pipeline, Environment: "prod"}, cluster: cluster, plain: manifest.Set{obj}}
		}
		owner, rival, third := wanting("owner", c.one), wanting("rival", c.other), wanting("third", c.other)
		owner.record = &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: []v1alpha1.InventoryEntry{{APIVersion: "v1", Kind: c.kind, Namespace: c.has, Name: "x"}}}}
		(&agenda{works: []*work{owner, rival}}).claim()
		if owner.err != nil || (rival.err != nil) != c.rivals {
			t.Errorf("%s: the owner: %v; the other: %v", name, owner.err, rival.err)
		}
		rival.err = nil
		rival.plain = append(rival.plain, rival.plain...)
		(&agenda{works: []*work{rival}}).claim()
		if rival.err != nil {
			t.Errorf("%s: alone: %v", name, rival.err)
		}
		(&agenda{works: []*work{rival, third}}).claim()
		if rival.err == nil || third.err == nil {
			t.Errorf("%s: without an owner: %v; %v", name, rival.err, third.err)
		}
	}
}
