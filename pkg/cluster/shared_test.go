package cluster

import (
	"runtime"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/restmapper"
)

func servedKind(kind, resource string) []*restmapper.APIGroupResources {
	version := metav1.GroupVersionForDiscovery{GroupVersion: "example.com/v1", Version: "v1"}
	return []*restmapper.APIGroupResources{{
		Group:              metav1.APIGroup{Name: "example.com", Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version},
		VersionedResources: map[string][]metav1.APIResource{"v1": {{Name: resource, Kind: kind, Namespaced: true}}},
	}}
}

// API servers that serve the same kinds share a table, others have their own, and what no server uses is not kept.
func TestTablesOfKindsAreShared(t *testing.T) {
	s := NewShared()
	table := func(kind, resource string) *table {
		t.Helper()
		made, err := s.table(servedKind(kind, resource))
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	first, same, other := table("Widget", "widgets"), table("Widget", "widgets"), table("Gadget", "gadgets")
	if first != same || first == other {
		t.Error("the tables are not those of what is served")
	}
	mapping, err := other.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Gadget"})
	if err != nil || mapping.Resource.Resource != "gadgets" {
		t.Errorf("%v: %v", mapping, err)
	}
	runtime.KeepAlive(same)
	first, same, other, mapping = nil, nil, nil, nil
	runtime.GC()
	kept := table("Third", "thirds")
	if len(s.tables) != 1 {
		t.Errorf("%d tables are kept", len(s.tables))
	}
	runtime.KeepAlive(kept)
}
