package target

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// claim plans targets by themselves, as far as the objects that they name.
func claim(targets ...*Desired) {
	c, n := &Commit{Targets: targets}, &names{}
	c.makeIndex()
	n.update(targets)
	n.claim(c)
}

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
		cluster := unreachable(t)
		wanting := func(pipeline, namespace string) *Desired {
			obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": c.kind, "metadata": map[string]any{"name": "x"}}}
			obj.SetNamespace(namespace)
			return &Desired{Target: v1alpha1.Target{Pipeline: pipeline, Environment: "prod"}, Cluster: cluster, Rendered: Rendered{Set: manifest.Pack(manifest.Set{obj})}}
		}
		owner, rival, third := wanting("owner", c.one), wanting("rival", c.other), wanting("third", c.other)
		owner.Record = &v1alpha1.PipelineSync{Status: v1alpha1.PipelineSyncStatus{Inventory: []v1alpha1.InventoryEntry{{APIVersion: "v1", Kind: c.kind, Namespace: c.has, Name: "x"}}}}
		claim(owner, rival)
		if owner.Err != nil || (rival.Err != nil) != c.rivals {
			t.Errorf("%s: the owner: %v; the other: %v", name, owner.Err, rival.Err)
		}
		rival.Err = nil
		rival.Rendered.Set = manifest.Pack(append(rival.Rendered.Set.Set(), rival.Rendered.Set.Set()...))
		claim(rival)
		if rival.Err != nil {
			t.Errorf("%s: alone: %v", name, rival.Err)
		}
		claim(rival, third)
		if rival.Err == nil || third.Err == nil {
			t.Errorf("%s: without an owner: %v; %v", name, rival.Err, third.Err)
		}
	}
}

// However targets come, go and change: what is kept from commit to commit is what the commit alone says, and what was published
// before stays as it was.
func TestNamesOfACommitDoNotDependOnTheCommitsBefore(t *testing.T) {
	servers := []*cluster.Cluster{unreachable(t), unreachable(t)}
	random := rand.New(rand.NewPCG(1, 2))
	kept := &names{}
	for range 300 {
		var all []*Desired
		for i := range 6 {
			if random.IntN(5) == 0 {
				continue
			}
			d := &Desired{Target: v1alpha1.Target{Pipeline: fmt.Sprint("p", i), Environment: "dev"}, Overlay: "o", Cluster: servers[i/3]}
			var set manifest.Set
			for n := range 4 {
				if random.IntN(3) > 0 {
					obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": fmt.Sprint("x", (i+n)%7)}}}
					obj.SetNamespace([]string{"", "default", "shop"}[random.IntN(3)])
					set = append(set, obj)
				}
			}
			d.Rendered.Set = manifest.Pack(set)
			if random.IntN(4) == 0 {
				d.Err = errors.New("an image has no name")
			}
			all = append(all, d)
		}
		plans := func(n *names) *Commit {
			c := &Commit{}
			for _, d := range all {
				again := *d
				c.Targets = append(c.Targets, &again)
			}
			c.makeIndex()
			n.update(c.All())
			n.claim(c)
			c.findNeighbours(n)
			return c
		}
		before := maps.Clone(kept.named)
		was := fmt.Sprint(before)
		one, other := plans(kept), plans(&names{})
		if fmt.Sprint(before) != was {
			t.Fatal("what was published before has changed")
		}
		for i, d := range one.Targets {
			if errorText(d.Err) != errorText(other.Targets[i].Err) {
				t.Fatalf("%s: %v; alone: %v", d.Target, d.Err, other.Targets[i].Err)
			}
		}
		for _, server := range servers {
			a, b := one.Neighbours[server], other.Neighbours[server]
			if len(a.Named)+len(b.Named) > 0 && !maps.Equal(a.Named, b.Named) || len(a.Sets)+len(b.Sets) > 0 && !maps.Equal(a.Sets, b.Sets) || len(a.Unknown) != len(b.Unknown) {
				t.Fatalf("the neighbours differ:\n%v\n%v", a, b)
			}
		}
	}
}
