package watch_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

// watching follows the objects of a bench, and keeps the notices.
type watching struct {
	*bench.Bench
	watches *watch.Watches
	end     context.CancelFunc

	mu      sync.Mutex
	notices []watch.Notice
	failed  []string
}

func follow(b *bench.Bench) *watching {
	ctx, cancel := context.WithCancel(b.Ctx)
	w := &watching{Bench: b, end: cancel}
	w.watches = watch.NewWatches(ctx, b.Cluster, func(n watch.Notice) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notices = append(w.notices, n)
	}, func(kind string, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failed = append(w.failed, kind+": "+err.Error())
	})
	b.T.Cleanup(func() {
		cancel()
		w.watches.Wait()
	})
	return w
}

// judged passes the present state of the objects to the watches.
func (w *watching) judged() {
	w.T.Helper()
	record := w.Record()
	live, err := inventory.Find(w.Ctx, w.Cluster, w.Target, record)
	if err != nil {
		w.T.Fatal(err)
	}
	w.watches.Judged(w.Cluster, w.Target, record, live)
	w.Eventually("every kind is watched", func() bool { return w.watches.Follows(w.Target) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = nil
}

// told returns the number of notices of changed fields, and the number of notices of statuses.
func (w *watching) told() (fields, statuses int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.notices {
		if n.Target != w.Target {
			w.T.Errorf("a notice for %s", n.Target)
		}
		if n.Status {
			statuses++
		} else {
			fields++
		}
	}
	return fields, statuses
}

func (w *watching) noticed(what string) {
	w.T.Helper()
	w.Eventually("a notice of "+what, func() bool { fields, _ := w.told(); return fields > 0 })
	if !w.watches.Differs(w.Target) {
		w.T.Errorf("%s: the target does not differ", what)
	}
}

// service is a Deployment.
const service = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: web:1}]}
`

func TestWatchNoticesWhatSomebodyDoes(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"), bench.Settings("b", "1"), service)
	b.Deploy(set)
	w := follow(b)
	for what, do := range map[string]func(){
		"a changed field": func() { b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`) },
		"the next value":  func() { b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"3"}}`) },
		"an added key":    func() { b.Edit(bench.ConfigMaps, "a", `{"data":{"other":"x"}}`) },
		"a removed key":   func() { b.Edit(bench.ConfigMaps, "a", `{"data":{"key":null}}`) },
		"an annotation":   func() { b.Edit(bench.ConfigMaps, "a", `{"metadata":{"annotations":{"a":"b"}}}`) },
		"a lost label": func() {
			b.Edit(bench.ConfigMaps, "b", `{"metadata":{"labels":{"applyset.kubernetes.io/part-of":null}}}`)
		},
		"another kind":     func() { b.Edit(bench.Deployments, "web", `{"spec":{"replicas":2}}`) },
		"a deleted object": func() { b.Delete(bench.ConfigMaps, b.Namespace, "a") },
	} {
		w.judged()
		if w.watches.Differs(w.Target) {
			t.Fatalf("before %s the target differs", what)
		}
		do()
		w.noticed(what)
		b.Deploy(set)
	}
	if len(w.failed) > 0 {
		t.Errorf("failures: %v", w.failed)
	}
}

// syncer's own writes, and changes that it has judged already, are not new.
func TestWatchIsQuietAboutSyncerItself(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	w := follow(b)
	w.judged()
	b.Deploy(b.Set(bench.Settings("a", "2"), bench.Settings("b", "1")))
	live, err := inventory.Find(b.Ctx, b.Cluster, b.Target, b.Record())
	if err != nil {
		t.Fatal(err)
	}
	w.watches.Judged(b.Cluster, b.Target, b.Record(), live)
	w.Eventually("it is at rest", func() bool { return !w.watches.Differs(w.Target) && w.watches.Follows(w.Target) })

	w.judged()
	b.Create(bench.ConfigMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: foreign, namespace: $NS}\n")
	b.Edit(bench.ConfigMaps, "a", `{"metadata":{"annotations":{"a":"b"}}}`)
	w.noticed("the one change")
	if fields, statuses := w.told(); fields != 1 || statuses != 0 {
		t.Errorf("%d notices and %d of statuses", fields, statuses)
	}
}

// While nothing changes, no request is sent.
func TestWatchAsksNothingWhileNothingChanges(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1"), service))
	w := follow(b)
	w.judged()
	requests := b.Requests(func() {
		for i := range 20 { // events of others
			b.Create(bench.ConfigMaps, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other-%d, namespace: $NS}\n", i))
		}
		b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
		w.noticed("the change after them")
	})
	if len(requests) > 0 {
		t.Errorf("requests: %s", bench.Shortly(requests))
	}
}

// severing is a transport whose watches can be cut off.
type severing struct {
	mu   sync.Mutex
	open []io.Closer
	down error // for every request; nil: the server is up
}

func (s *severing) through(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down != nil {
		return nil, down
	}
	response, err := inner.RoundTrip(req)
	if err == nil && req.URL.Query().Get("watch") != "" {
		s.mu.Lock()
		body := &endingBody{ReadCloser: response.Body}
		response.Body = body
		s.open = append(s.open, body)
		s.mu.Unlock()
	}
	return response, err
}

// endingBody ends, when it is closed, as the body of a stopped server does.
type endingBody struct {
	io.ReadCloser
	closed atomic.Bool
}

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && b.closed.Load() {
		err = io.EOF
	}
	return n, err
}

func (b *endingBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

func (s *severing) cut(down error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range s.open {
		_ = body.Close() // it may have ended by itself
	}
	s.open, s.down = nil, down
}

// severed connects the cluster through a transport that can be cut.
func severed(b *bench.Bench) *severing {
	line := &severing{}
	b.ConnectThrough(connect.DefaultLimits, line.through)
	return line
}

func TestWatchResumesAndTellsWhatItMissed(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"), bench.Settings("b", "1"))
	b.Deploy(set)
	line := severed(b)
	w := follow(b)
	w.judged()
	line.cut(io.ErrUnexpectedEOF)
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	b.Delete(bench.ConfigMaps, b.Namespace, "b")
	line.cut(nil)
	w.Eventually("both are noticed", func() bool { fields, _ := w.told(); return fields == 2 })
	w.Eventually("it follows again", func() bool { return w.watches.Follows(w.Target) })
}

// A restarted API server refuses connections for a while. Then the watches continue from their last position, without a
// list, and follow as before.
func TestWatchFollowsAgainAfterRefusedConnections(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	line := severed(b)
	w := follow(b)
	w.judged()
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"3"}}`)
	w.noticed("that the watch is in use") // a watch without any event would start again
	line.cut(syscall.ECONNREFUSED)
	w.Eventually("it notices", func() bool { return !w.watches.Follows(w.Target) })
	line.cut(nil)
	w.Eventually("it follows again", func() bool { return w.watches.Follows(w.Target) })
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	w.Eventually("a notice of a change", func() bool { fields, _ := w.told(); return fields > 1 })
}

// An account that may not watch a kind in the whole cluster watches it in the relevant namespaces.
func TestWatchNeedsNoMoreThanTheNamespaces(t *testing.T) {
	b := bench.New(t)
	set := b.Set(bench.Settings("a", "1"))
	b.Deploy(set)
	user := "watcher-" + b.Namespace
	kubeconfig, err := b.Plane.AddUser(user)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{b.Namespace, b.Records} {
		b.Create(bench.Roles, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: watcher, namespace: "+namespace+"}\nrules:\n- {apiGroups: [\"\", syncer.dev], resources: [configmaps, pipelinesyncs], verbs: [get, list, watch]}\n")
		b.Create(bench.RoleBindings, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: watcher, namespace: "+namespace+"}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: watcher}\nsubjects: [{kind: User, name: "+user+", apiGroup: rbac.authorization.k8s.io}]\n")
	}
	_, b.Cluster = b.Connect(kubeconfig)
	b.Eventually("the rights are in force", func() bool {
		_, err := b.Cluster.Records().Get(b.Ctx, b.Target)
		return err == nil
	})
	live, err := inventory.Find(b.Ctx, b.Cluster, b.Target, b.Record())
	if err != nil {
		t.Fatal(err)
	}
	w := follow(b)
	w.watches.Judged(b.Cluster, b.Target, b.Record(), live)
	w.Eventually("it follows", func() bool { return w.watches.Follows(w.Target) })
	if len(w.failed) > 0 {
		t.Errorf("failures: %v", w.failed)
	}
	b.Edit(bench.ConfigMaps, "a", `{"data":{"key":"2"}}`)
	w.noticed("a change")
}

func TestWatchTellsOfRecords(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	w := follow(b)
	w.judged()
	b.EditRecord(`{"metadata":{"annotations":{"syncer.dev/reconcile":"disabled"}}}`)
	w.noticed("a suspended record")
	w.judged()
	b.EditRecord(`{"metadata":{"annotations":{"syncer.dev/reconcile":null}}}`)
	w.noticed("a record that goes on")
	w.judged()
	b.Save(b.Record().Status.Inventory) // syncer's own status
	b.Delete(bench.RecordResource, b.Records, b.Target.RecordName())
	w.noticed("a deleted record")
	if fields, statuses := w.told(); fields != 1 || statuses != 0 {
		t.Errorf("%d notices and %d of statuses", fields, statuses)
	}
}

func TestWatchForgets(t *testing.T) {
	b := bench.New(t)
	b.Deploy(b.Set(bench.Settings("a", "1")))
	w := follow(b)
	w.judged()
	w.watches.Forget(b.Target)
	if w.watches.Follows(b.Target) || w.watches.Differs(b.Target) {
		t.Error("it still follows")
	}
	w.end()
	w.watches.Wait() // no watch is left running
}

// BenchmarkWatchedObject measures the memory for a followed object.
func BenchmarkWatchedObject(b *testing.B) {
	const count = 10_000
	live := inventory.Members{}
	target := v1alpha1.Target{Pipeline: "many", Environment: "prod"}
	for i := range count {
		obj := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": fmt.Sprintf("settings-of-pipeline-%d", i), "namespace": "data-prod", "resourceVersion": fmt.Sprint(1_000_000 + i)},
		}}
		live[manifest.IDOf(obj).Key()] = obj
	}
	cluster, err := cluster.With(&rest.Config{Host: "http://127.0.0.1:1", Timeout: time.Second}, connect.DefaultLimits, cluster.Options{Namespace: "syncer-system"})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ctx, cancel := context.WithCancel(b.Context())
		before := heap()
		watches := watch.NewWatches(ctx, cluster, func(watch.Notice) {}, func(string, error) {})
		watches.Judged(cluster, target, nil, live)
		b.ReportMetric(float64(heap()-before)/count, "heap-B/object")
		cancel()
		watches.Wait()
		runtime.KeepAlive(watches)
	}
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
