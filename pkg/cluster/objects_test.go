package cluster_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/manifest"
)

var configMap = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// An object is written only in the state in which it was judged: a new one where there is none, an old one as it was read.
func TestObjectIsWrittenAsItWasJudged(t *testing.T) {
	b := bench.New(t)
	first := b.Set(bench.Settings("a", "1"))[0]
	id := manifest.IDOf(first)
	if live, err := b.Cluster.Get(b.Ctx, id); live != nil || err != nil {
		t.Errorf("an object that does not exist: %v, %v", live, err)
	}
	made, err := b.Cluster.Write(b.Ctx, first, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cluster.Write(b.Ctx, first, nil); !apierrors.IsConflict(err) {
		t.Errorf("an object that exists is written as a new one: %v", err)
	}
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	if _, err := b.Cluster.Write(b.Ctx, first, made); !apierrors.IsConflict(err) {
		t.Errorf("a later state is written over: %v", err)
	}
	if err := b.Cluster.Delete(b.Ctx, made, metav1.DeletePropagationBackground); !apierrors.IsConflict(err) {
		t.Errorf("a later state is deleted: %v", err)
	}
	live, err := cluster.Read(b.Ctx, b.Cluster, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Cluster.Write(b.Ctx, first, live); err != nil || bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "a"), "data", "key") != "1" {
		t.Errorf("the judged state is not written: %v", err)
	}
	if live, err = b.Cluster.Get(b.Ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := b.Cluster.Delete(b.Ctx, live, metav1.DeletePropagationBackground); err != nil || b.Get(bench.ConfigMaps, b.Namespace, "a") != nil {
		t.Errorf("the judged state is not deleted: %v", err)
	}
}

// What is tried is not written.
func TestDryRunsWriteNothing(t *testing.T) {
	b := bench.New(t)
	b.Create(bench.ConfigMaps, bench.Settings("a", "1"))
	version := b.Get(bench.ConfigMaps, b.Namespace, "a").GetResourceVersion()
	want := b.Set(bench.Settings("a", "2"))[0]
	if got, err := b.Cluster.DryRun(b.Ctx, want); err != nil || bench.Value(got, "data", "key") != "2" {
		t.Errorf("an apply would leave %v, %v", bench.Value(got, "data", "key"), err)
	}
	if got, err := b.Cluster.TryPatch(b.Ctx, manifest.IDOf(want), []byte(`{"data":{"key":"3"}}`)); err != nil || bench.Value(got, "data", "key") != "3" {
		t.Errorf("a patch would leave %v, %v", bench.Value(got, "data", "key"), err)
	}
	if err := b.Cluster.TryNew(b.Ctx, want); err != nil {
		t.Errorf("as a new object: %v", err)
	}
	bad := b.Object("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: $NS}\ndata: {a b: x}\n")
	if err := b.Cluster.TryNew(b.Ctx, bad); !apierrors.IsInvalid(err) {
		t.Errorf("as a new object that is invalid: %v", err)
	}
	list, err := b.Cluster.List(b.Ctx, configMap, b.Namespace, metav1.ListOptions{FieldSelector: "metadata.name!=kube-root-ca.crt"})
	if err != nil || len(list) != 1 || list[0].GetResourceVersion() != version {
		t.Errorf("%d objects, %v", len(list), err)
	}
	if _, err := b.Cluster.Patch(b.Ctx, manifest.IDOf(want), []byte(`[{"op":"replace","path":"/data/key","value":"4"}]`)); err != nil || bench.Value(b.Get(bench.ConfigMaps, b.Namespace, "a"), "data", "key") != "4" {
		t.Errorf("a patch that is no dry run: %v", err)
	}
}

// The API server reads each apply as YAML, which does not allow every character of JSON.
func TestEveryCharacterOfATextIsWritten(t *testing.T) {
	b := bench.New(t)
	obj := b.Set(bench.Settings("a", "1"))[0]
	for _, text := range []string{"\ufeffbegin", "a\u0085b\u009fc", "a\u2028b\u2029c", "\u007f", "plain ü"} {
		obj.Object["data"] = map[string]any{"key": text}
		live, err := b.Cluster.DryRun(b.Ctx, obj)
		if err != nil || bench.Value(live, "data", "key") != text {
			t.Errorf("%q became %q, %v", text, bench.Value(live, "data", "key"), err)
		}
	}
}

// The scope of a kind decides the namespace of an object.
func TestScopeFillsInTheNamespace(t *testing.T) {
	b := bench.New(t)
	for _, c := range []struct{ id, want manifest.ID }{
		{manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Name: "a"}, manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "default", Name: "a"}},
		{manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "b", Name: "a"}, manifest.ID{APIVersion: "v1", Kind: "ConfigMap", Namespace: "b", Name: "a"}},
		{manifest.ID{APIVersion: "v1", Kind: "Namespace", Namespace: "b", Name: "a"}, manifest.ID{APIVersion: "v1", Kind: "Namespace", Name: "a"}},
	} {
		if got, err := b.Cluster.Scope(c.id); err != nil || got != c.want {
			t.Errorf("%v became %v, %v", c.id, got, err)
		}
	}
	unknown := manifest.ID{APIVersion: "example.com/v1", Kind: "Widget", Namespace: b.Namespace, Name: "a"}
	obj := b.Object("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a, namespace: $NS}\n")
	_, errScope := b.Cluster.Scope(unknown)
	_, errGet := b.Cluster.Get(b.Ctx, unknown)
	_, errRead := cluster.Read(b.Ctx, b.Cluster, unknown)
	_, errDryRun := b.Cluster.DryRun(b.Ctx, obj)
	_, errPatch := b.Cluster.Patch(b.Ctx, unknown, []byte("[]"))
	for what, err := range map[string]error{
		"Scope": errScope, "Get": errGet, "Read": errRead, "DryRun": errDryRun, "Patch": errPatch, "TryNew": b.Cluster.TryNew(b.Ctx, obj),
		"Delete": b.Cluster.Delete(b.Ctx, obj, metav1.DeletePropagationBackground), "Erase": cluster.Erase(b.Ctx, b.Cluster, obj, false),
	} {
		if err == nil || !meta.IsNoMatchError(err) && what != "Read" && what != "Erase" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list, err := b.Cluster.List(b.Ctx, unknown.GroupVersionKind(), b.Namespace, metav1.ListOptions{}); len(list) > 0 || err != nil {
		t.Errorf("a kind that is not served has objects: %v", err)
	}
}

// A request is sent again while the API server refuses connections for a moment, and not for long.
func TestShortOutageIsNoError(t *testing.T) {
	b := bench.New(t)
	var refuse atomic.Int32
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if refuse.Add(-1) >= 0 {
			req = req.Clone(req.Context())
			req.URL.Host = "127.0.0.1:1" // no process listens here
		}
		return inner.RoundTrip(req)
	})
	list := func() error {
		_, err := b.Cluster.List(b.Ctx, configMap, b.Namespace, metav1.ListOptions{})
		return err
	}
	if err := list(); err != nil {
		t.Fatal(err)
	}
	refuse.Store(2)
	if err := list(); err != nil {
		t.Errorf("a short outage: %v", err)
	}
	refuse.Store(1000)
	began := time.Now()
	bench.WantError(t, list(), "connection refused")
	if took := time.Since(began); took > time.Minute { // some seconds, with ample time for a busy machine
		t.Errorf("that took %s", took)
	}
}

func TestAPIServerThatIsDownFromTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	content := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\ncontexts: [{name: c, context: {cluster: c}}]\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	down, err := cluster.Connect(cluster.Options{Kubeconfig: path, Namespace: "syncer-system"})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = down.Records().List(t.Context())
	bench.WantError(t, err, "asking the API server for its kinds", "connection refused")
	if took := time.Since(began); took > time.Minute { // a second, with ample time for a busy machine
		t.Errorf("that took %s", took)
	}
	if _, known := down.Date(); known || time.Since(down.Now()) > time.Minute {
		t.Error("the date of a server that is down is known")
	}
	if _, err := cluster.Connect(cluster.Options{Kubeconfig: path + "-missing"}); err == nil || !strings.Contains(err.Error(), "reading the kubeconfig") {
		t.Errorf("a kubeconfig that does not exist: %v", err)
	}
}
