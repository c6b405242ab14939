package target

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
)

func TestACommitWithOneTargetStillFindsTheOthers(t *testing.T) {
	a, b, c := wanted("a"), wanted("b"), wanted("c")
	all := NewCommit([]*Desired{a, b}, c)
	newer := wanted("a")
	one := all.Only(newer, Allowed{Prunes: map[v1alpha1.Target]bool{newer.Target: true}})
	if got := one.Find(a.Target); got != newer {
		t.Error("it finds its target as that was planned")
	}
	if one.Find(b.Target) != b || one.Find(c.Target) != c {
		t.Error("it does not find the others")
	}
	if one.Find(wanted("d").Target) != nil {
		t.Error("it finds a target that does not exist")
	}
	if got := one.All(); len(got) != 1 || got[0] != newer || !one.Allowed.Any(newer.Target) {
		t.Errorf("it has %s", namesOf(got))
	}
}

// The namespaces that the selected targets of a cluster create are known before any of them is reconciled.
func TestWhatACommitProvides(t *testing.T) {
	server := unreachable(t)
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "shop"}}}
	with, without, unread := wanted("with"), wanted("without"), wanted("unread")
	with.Cluster, with.Rendered.Provides = server, neighbour.ProvidedBy(manifest.Set{namespace})
	without.Cluster = server
	unread.Rendered.Provides = neighbour.ProvidedBy(manifest.Set{namespace})
	provides := NewCommit([]*Desired{without, with, unread}).Provides()
	if len(provides) != 1 || !provides[server].Any() {
		t.Errorf("%d clusters", len(provides))
	}
	if provides := NewCommit([]*Desired{without}, with).Provides(); provides[server].Any() {
		t.Error("a target that was not selected provides something")
	}
}
