package cluster_test

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// A kind is noticed without a restart when it is installed, in its versions, and when it goes.
func TestServedKindsAreNoticedWithoutARestart(t *testing.T) {
	b := bench.New(t)
	group := b.Namespace + ".example.com"
	widget := schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Widget"}
	beta := schema.GroupVersionKind{Group: group, Version: "v1beta1", Kind: "Widget"}
	if cluster.Serves(b.Cluster, widget) {
		t.Error("it is served before it is installed")
	}
	b.Create(bench.CRDs, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.`+group+`}
spec:
  group: `+group+`
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`)
	b.Eventually("the kind is noticed", func() bool { _, err := b.Cluster.Mapping(widget); return err == nil })
	if _, err := b.Cluster.Mapping(beta); !meta.IsNoMatchError(err) {
		t.Errorf("a version that is not served: %v", err)
	}
	if mapping, err := b.Cluster.AnyMapping(beta); err != nil || mapping.GroupVersionKind.Version != "v1" {
		t.Errorf("in any version: %v, %v", mapping, err)
	}
	named, err := cluster.Audited(b.Cluster, manifest.ID{APIVersion: group + "/v1beta1", Kind: "Widget", Namespace: "a", Name: "b"})
	if want := (audit.Object{Group: group, Resource: "widgets", Namespace: "a", Name: "b"}); err != nil || named != want {
		t.Errorf("the audit log names it %+v, %v", named, err)
	}
	b.Create(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}, "apiVersion: "+group+"/v1\nkind: Widget\nmetadata: {name: a, namespace: $NS}\n")
	list := func(options metav1.ListOptions) int {
		objects, err := b.Cluster.List(b.Ctx, beta, b.Namespace, options)
		if err != nil {
			t.Error(err)
		}
		return len(objects)
	}
	if n := list(metav1.ListOptions{}); n != 1 {
		t.Errorf("%d objects of another version", n)
	}
	b.Delete(bench.CRDs, "", "widgets."+group)
	b.Eventually("the objects are gone with their kind", func() bool { return list(metav1.ListOptions{}) == 0 })
	b.Eventually("it is not served", func() bool {
		list(metav1.ListOptions{}) // discovery may name the kind for a moment, and a refused request has it read again
		return !cluster.Serves(b.Cluster, widget)
	})
	if _, err := cluster.Audited(b.Cluster, manifest.ID{APIVersion: group + "/v1", Kind: "Widget"}); !meta.IsNoMatchError(err) {
		t.Errorf("a kind that is gone has a name: %v", err)
	}
}

// Discovery is partial while the server of an aggregated API does not answer. The kinds of this API are not gone, and those
// of the others are known.
func TestKindWhoseServerDoesNotAnswerIsNotGone(t *testing.T) {
	b := bench.NewAlone(t) // the others list all kinds
	group := b.Namespace + ".example.com"
	services := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	b.Create(services, fmt.Sprintf(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.%[1]s}
spec:
  group: %[1]s
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 10
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: $NS}
`, group))
	t.Cleanup(func() {
		if err := b.Admin.Resource(services).Delete(context.Background(), "v1."+group, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	var err error
	b.Eventually("discovery is partial", func() bool {
		b.Restart()
		_, err = b.Cluster.Mapping(schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Widget"})
		return err != nil && !meta.IsNoMatchError(err)
	})
	bench.WantError(t, err, "the API server cannot say what "+group+"/v1 serves")
	if _, err := b.Cluster.Mapping(configMap); err != nil {
		t.Errorf("another kind: %v", err)
	}
}
