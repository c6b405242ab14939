package standin_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/syncerdev/syncer/internal/lab/standin"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

const soon = 20 * time.Second

func start(t *testing.T) (*standin.Servers, func(name string) *rest.Config) {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	s, err := standin.Start(standin.Options{Names: []string{"a", "b"}, CAFile: ca, Documents: standin.Documents{
		"/version": {ContentType: "application/json", Content: []byte(`{"gitVersion":"v1.36.3"}`)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s, func(name string) *rest.Config {
		return &rest.Config{Host: s.Address + "/" + name, BearerToken: standin.Token(name), TLSClientConfig: rest.TLSClientConfig{CAFile: ca}, QPS: -1}
	}
}

func client(t *testing.T, config *rest.Config) dynamic.ResourceInterface {
	t.Helper()
	c, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c.Resource(configMaps).Namespace("etl")
}

func settings(version, value string) *unstructured.Unstructured {
	meta := map[string]any{"name": "settings", "namespace": "etl", "labels": map[string]any{"team": "etl"}}
	if version != "" {
		meta["resourceVersion"] = version
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"BUCKET": value},
	}}
}

var force = metav1.ApplyOptions{FieldManager: "syncer", Force: true}

// An apply is stored with the fields of its manager, and one that changes nothing writes nothing.
func TestApply(t *testing.T) {
	t.Parallel()
	_, config := start(t)
	c := client(t, config("a"))
	dry := force
	dry.DryRun = []string{metav1.DryRunAll}
	tried, err := c.Apply(t.Context(), "settings", settings("", "lake"), dry)
	if err != nil || tried.GetUID() == "" {
		t.Fatalf("%v: %v", tried, err)
	}
	if _, err := c.Get(t.Context(), "settings", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Fatalf("after a dry run: %v", err)
	}
	first, err := c.Apply(t.Context(), "settings", settings("1", "lake"), force)
	if err != nil {
		t.Fatal(err)
	}
	fields := first.GetManagedFields()
	if len(fields) != 1 || fields[0].Manager != "syncer" || fields[0].Operation != "Apply" ||
		fields[0].FieldsV1.GetRawString() != `{"f:data":{"f:BUCKET":{}},"f:metadata":{"f:labels":{"f:team":{}}}}` {
		t.Errorf("the managed fields are %v", fields)
	}
	again, err := c.Apply(t.Context(), "settings", settings("", "lake"), force)
	if err != nil || again.GetResourceVersion() != first.GetResourceVersion() {
		t.Errorf("an apply of the same is version %s after %s: %v", again.GetResourceVersion(), first.GetResourceVersion(), err)
	}
	for _, version := range []string{"1", "7"} {
		if _, err := c.Apply(t.Context(), "settings", settings(version, "pond"), force); !apierrors.IsConflict(err) {
			t.Errorf("a write that requires version %s: %v", version, err)
		}
	}
	next, err := c.Apply(t.Context(), "settings", settings(first.GetResourceVersion(), "pond"), force)
	if err != nil || next.GetUID() != first.GetUID() || next.GetResourceVersion() == first.GetResourceVersion() {
		t.Errorf("%v: %v", next, err)
	}
	status := settings("", "")
	delete(status.Object, "data")
	status.Object["status"] = map[string]any{"state": "done"}
	last, err := c.Apply(t.Context(), "settings", status, force, "status")
	if err != nil || len(last.GetManagedFields()) != 2 {
		t.Fatalf("%v: %v", last, err)
	}
	if value, _, _ := unstructured.NestedString(last.Object, "data", "BUCKET"); value != "pond" {
		t.Errorf("a write of the status leaves %q", value)
	}
}

// seen is what a reflector has of a server.
type seen struct {
	mu     sync.Mutex
	events []string
}

func (s *seen) note(what string, obj any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, what+" "+obj.(metav1.Object).GetName())
	return nil
}

func (s *seen) Add(obj any) error    { return s.note("add", obj) }
func (s *seen) Update(obj any) error { return s.note("update", obj) }
func (s *seen) Delete(obj any) error { return s.note("delete", obj) }
func (s *seen) Resync() error        { return nil }
func (s *seen) Replace(list []any, _ string) error {
	for _, obj := range list {
		_ = s.note("first", obj)
	}
	return nil
}

func (s *seen) await(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for {
		s.mu.Lock()
		got := slices.Clone(s.events)
		s.mu.Unlock()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the reflector has seen %q, want %q", got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A reflector of client-go follows the objects of a selection: by one watch that begins with what is there.
func TestReflectorsFollowObjects(t *testing.T) {
	t.Parallel()
	s, config := start(t)
	c := client(t, config("a"))
	if _, err := c.Apply(t.Context(), "settings", settings("", "lake"), force); err != nil {
		t.Fatal(err)
	}
	meta, err := metadata.NewForConfig(config("a"))
	if err != nil {
		t.Fatal(err)
	}
	watches := map[string]func(context.Context, metav1.ListOptions) (watch.Interface, error){
		"objects": c.Watch, "metadata": meta.Resource(configMaps).Namespace("etl").Watch,
	}
	lists := map[string]func(context.Context, metav1.ListOptions) (runtime.Object, error){
		"objects": func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return c.List(ctx, o) },
		"metadata": func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return meta.Resource(configMaps).List(ctx, o)
		},
	}
	examples := map[string]runtime.Object{"objects": &unstructured.Unstructured{}, "metadata": &metav1.PartialObjectMetadata{}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	of := map[string]*seen{}
	for name := range watches {
		of[name] = &seen{}
		lister := &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				o.LabelSelector = "team"
				return lists[name](ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.LabelSelector = "team"
				return watches[name](ctx, o)
			},
		}
		go cache.NewReflectorWithOptions(lister, examples[name], of[name], cache.ReflectorOptions{}).RunWithContext(ctx)
	}
	for _, s := range of {
		s.await(t, "first settings")
	}
	if _, err := c.Apply(t.Context(), "settings", settings("", "pond"), force); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Patch(t.Context(), "settings", types.MergePatchType, []byte(`{"metadata":{"labels":{"team":null}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range of {
		s.await(t, "first settings", "update settings", "delete settings")
	}
	asked := s.Requests()
	if asked["list configmaps"] != 0 || asked["watch configmaps"] != 2 || s.Watches() != 2 {
		t.Errorf("%v, and %d open watches", asked, s.Watches())
	}
}

// A watch goes on after the version that the client has, as long as the server remembers what came after it.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	_, config := start(t)
	c := client(t, config("a"))
	first, err := c.Apply(t.Context(), "settings", settings("", "lake"), force)
	if err != nil {
		t.Fatal(err)
	}
	since := metav1.ListOptions{ResourceVersion: first.GetResourceVersion()}
	for n := range 3 {
		if _, err := c.Apply(t.Context(), "settings", settings("", fmt.Sprint(n)), force); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Watch(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for n := range 3 {
		e := <-w.ResultChan()
		if value, _, _ := unstructured.NestedString(e.Object.(*unstructured.Unstructured).Object, "data", "BUCKET"); e.Type != watch.Modified || value != fmt.Sprint(n) {
			t.Fatalf("event %d: %s %s", n, e.Type, value)
		}
	}
	for n := range 2100 {
		if _, err := c.Apply(t.Context(), "settings", settings("", fmt.Sprint("more ", n)), force); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Watch(t.Context(), since); !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from an old version: %v", err)
	}
}

// A silent server takes requests and answers when its silence ends. The others answer.
func TestSilence(t *testing.T) {
	t.Parallel()
	s, config := start(t)
	end := s.Silence("a")
	answered := make(chan error, 1)
	go func() {
		_, err := client(t, config("a")).List(t.Context(), metav1.ListOptions{})
		answered <- err
	}()
	if _, err := client(t, config("b")).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	select {
	case err := <-answered:
		t.Fatalf("a silent server answers: %v", err)
	default:
	}
	end()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// A typed client holds a Lease: it sends protobuf.
func TestLeases(t *testing.T) {
	t.Parallel()
	_, config := start(t)
	c, err := coordination.NewForConfig(config("a"))
	if err != nil {
		t.Fatal(err)
	}
	who, leases := "one", c.Leases("syncer-system")
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "syncer"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &who}}
	if lease, err = leases.Create(t.Context(), lease, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Create(t.Context(), lease, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("a second one: %v", err)
	}
	old := lease.DeepCopy()
	who = "two"
	lease.Spec.HolderIdentity = &who
	if lease, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil || *lease.Spec.HolderIdentity != who {
		t.Fatalf("%v: %v", lease, err)
	}
	if _, err := leases.Update(t.Context(), old, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of an old version: %v", err)
	}
}

// Credentials are those of one server, and a request that no stand-in knows is counted as such.
func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	s, config := start(t)
	of := config("a")
	of.BearerToken = standin.Token("b")
	if _, err := client(t, of).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("with the token of another server: %v", err)
	}
	s.Requests()
	if err := client(t, config("a")).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err == nil {
		t.Error("a request that the stand-in does not know succeeds")
	}
	if got := s.Requests(); len(got) != 1 || got["unknown DELETE configmaps application/json"] != 1 {
		t.Errorf("%v", got)
	}
}
