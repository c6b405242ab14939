package apply_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/internal/lab/bench/pass"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// forgetKinds has a cluster read the served kinds again, as it does when another target waits for a kind.
func forgetKinds(c *cluster.Cluster) {
	cluster.Serves(c, schema.GroupVersionKind{Group: "nowhere.example.com", Version: "v1", Kind: "Nothing"})
}

// Between the deletion of an object and its creation, another target may have the kinds read again. An API server that does
// not list its kinds then is asked for the object all the same.
func TestReplacementNeedsNoDiscoveryBetweenDeletionAndCreation(t *testing.T) {
	b := bench.New(t)
	doc := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: it, namespace: $NS, annotations: {syncer.dev/force: enabled}}\nimmutable: true\ndata: {key: one}\n"
	pass.Sync(b, b.Set(doc))
	before := b.Get(bench.ConfigMaps, b.Namespace, "it")
	var fails atomic.Bool
	b.Cluster = b.ConnectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return bench.RoundTripper(func(req *http.Request) (*http.Response, error) {
				if fails.Load() && strings.Count(req.URL.Path, "/") == 1 { // /api or /apis
					return nil, errors.New("discovery fails")
				}
				if req.Method == http.MethodDelete {
					fails.Store(true)
					forgetKinds(b.Cluster)
				}
				return inner.RoundTrip(req)
			})
		})
	})
	pass.Sync(b, b.Set(strings.Replace(doc, "one", "two", 1)))
	if !fails.Load() {
		t.Error("nothing was deleted")
	}
	if after := b.Get(bench.ConfigMaps, b.Namespace, "it"); after == nil || after.GetUID() == before.GetUID() {
		t.Error("it was not created again")
	}
	if _, err := b.Cluster.Scope(manifest.ID{APIVersion: "apps/v1", Kind: "Deployment", Name: "any"}); err != nil {
		t.Errorf("a kind that was served before: %v", err)
	}
	if _, err := b.Cluster.Scope(manifest.ID{APIVersion: "nowhere.example.com/v1", Kind: "Nothing", Name: "any"}); err == nil || meta.IsNoMatchError(err) {
		t.Errorf("a kind that is not known counts as gone: %v", err)
	}
	if _, err := b.Cluster.List(b.Ctx, schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, b.Namespace, metav1.ListOptions{}); err == nil {
		t.Error("a list is trusted without the kinds")
	}
}

// A kind that goes away while one of its objects is replaced takes the object with it: the error names the kind, and the record
// does not trust the object.
func TestKindThatGoesAwayWhileItsObjectIsReplacedIsNamed(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.CRDs, bench.Definition(b.Group(), "Widget", "Namespaced", "v1 size: {type: integer, x-kubernetes-validations: [{rule: self == oldSelf}]}"))
	kind := schema.GroupVersionKind{Group: b.Group(), Version: "v1", Kind: "Widget"}
	widget := func(size string) string {
		return strings.Replace(bench.Custom(b.Group(), "v1", "Widget", b.Namespace, "it", "size: "+size), "metadata: {", "metadata: {annotations: {syncer.dev/force: enabled}, ", 1)
	}
	b.Eventually("the kind is served", func() bool { return cluster.Serves(b.Cluster, kind) })
	pass.Sync(b, b.Set(widget("1")))
	var once sync.Once
	b.Before(http.MethodDelete, func() {
		once.Do(func() {
			b.Delete(schema.GroupVersionResource{Group: b.Group(), Version: "v1", Resource: "widgets"}, b.Namespace, "it")
			b.Delete(bench.CRDs, "", "widgets."+b.Group())
			b.Eventually("the kind is gone", func() bool {
				forgetKinds(b.Cluster)
				return !cluster.Serves(b.Cluster, kind)
			})
		})
	})
	_, err := pass.TrySync(b, b.Set(widget("2")))
	bench.WantError(t, err, "Widget/"+b.Namespace+"/it", "the cluster serves no kind Widget")
	if entry := inventory.ByKey(b.Record())[manifest.Key{Group: b.Group(), Kind: "Widget", Namespace: b.Namespace, Name: "it"}]; !entry.Unconfirmed {
		t.Errorf("the record trusts it: %+v", entry)
	}
}
