package apply_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/watch"
)

// watching follows the objects of a bench, and keeps the notices.
type watching struct {
	*bench
	watches *watch.Watches
	end     context.CancelFunc

	mu      sync.Mutex
	notices []watch.Notice
	failed  []string
}

func (b *bench) watch() *watching {
	ctx, cancel := context.WithCancel(b.ctx)
	w := &watching{bench: b, end: cancel}
	w.watches = watch.NewWatches(ctx, b.cluster, func(n watch.Notice) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notices = append(w.notices, n)
	}, func(kind string, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failed = append(w.failed, kind+": "+err.Error())
	})
	b.t.Cleanup(func() {
		cancel()
		w.watches.Wait()
	})
	return w
}

// judged passes the present state of the objects to the watches.
func (w *watching) judged() {
	w.t.Helper()
	record := w.record()
	live, err := inventory.Find(w.ctx, w.cluster, w.target, record)
	if err != nil {
		w.t.Fatal(err)
	}
	w.watches.Judged(w.cluster, w.target, record, live)
	w.eventually("every kind is watched", func() bool { return w.watches.Follows(w.target) })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notices = nil
}

// told returns the number of notices of changed fields, and the number of notices of statuses.
func (w *watching) told() (fields, statuses int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.notices {
		if n.Target != w.target {
			w.t.Errorf("a notice for %s", n.Target)
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
	w.t.Helper()
	w.eventually("a notice of "+what, func() bool { fields, _ := w.told(); return fields > 0 })
	if !w.watches.Differs(w.target) {
		w.t.Errorf("%s: the target does not differ", what)
	}
}

func TestWatchNoticesWhatSomebodyDoes(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("a", "1"), settings("b", "1"), service("")))
	b.sync(set)
	w := b.watch()
	for what, do := range map[string]func(){
		"a changed field":  func() { b.edit(configMaps, "a", `{"data":{"key":"2"}}`) },
		"the next value":   func() { b.edit(configMaps, "a", `{"data":{"key":"3"}}`) },
		"an added key":     func() { b.edit(configMaps, "a", `{"data":{"other":"x"}}`) },
		"a removed key":    func() { b.edit(configMaps, "a", `{"data":{"key":null}}`) },
		"an annotation":    func() { b.edit(configMaps, "a", `{"metadata":{"annotations":{"a":"b"}}}`) },
		"a lost label":     func() { b.edit(configMaps, "b", `{"metadata":{"labels":{"applyset.kubernetes.io/part-of":null}}}`) },
		"another kind":     func() { b.edit(deployments, "web", `{"spec":{"replicas":2}}`) },
		"a deleted object": func() { b.delete(configMaps, b.namespace, "a") },
	} {
		w.judged()
		if w.watches.Differs(w.target) {
			t.Fatalf("before %s the target differs", what)
		}
		do()
		w.noticed(what)
		b.sync(set, full)
	}
	if len(w.failed) > 0 {
		t.Errorf("failures: %v", w.failed)
	}
}

// syncer's own writes, and changes that it has judged already, are not new.
func TestWatchIsQuietAboutSyncerItself(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("a", "1")))
	w := b.watch()
	w.judged()
	b.sync(b.set(join(settings("a", "2"), settings("b", "1"))))
	live, err := inventory.Find(b.ctx, b.cluster, b.target, b.record())
	if err != nil {
		t.Fatal(err)
	}
	w.watches.Judged(b.cluster, b.target, b.record(), live)
	w.eventually("it is at rest", func() bool { return !w.watches.Differs(w.target) && w.watches.Follows(w.target) })

	w.judged()
	b.create(configMaps, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: foreign, namespace: $NS}\n")
	b.edit(configMaps, "a", `{"metadata":{"annotations":{"a":"b"}}}`)
	w.noticed("the one change")
	if fields, statuses := w.told(); fields != 1 || statuses != 0 {
		t.Errorf("%d notices and %d of statuses", fields, statuses)
	}
}

// While nothing changes, no request is sent.
func TestWatchAsksNothingWhileNothingChanges(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(join(settings("a", "1"), service(""))))
	w := b.watch()
	w.judged()
	requests := b.requests(func() {
		for i := range 20 { // events of others
			b.create(configMaps, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other-%d, namespace: $NS}\n", i))
		}
		b.edit(configMaps, "a", `{"data":{"key":"2"}}`)
		w.noticed("the change after them")
	})
	if len(requests) > 0 {
		t.Errorf("requests: %s", shortly(requests))
	}
}

// severing is a transport whose watches can be cut off.
type severing struct {
	mu   sync.Mutex
	open []io.Closer
	down error // for every request; nil: the server is up
}

func (s *severing) through(inner http.RoundTripper, req *http.Request) (*http.Response, error) {
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

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (s *severing) cut(down error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range s.open {
		_ = body.Close() // it may have ended by itself
	}
	s.open, s.down = nil, down
}

// severed connects the cluster through a transport that can be cut.
func (b *bench) severed() *severing {
	line := &severing{}
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
			return roundTripper(func(req *http.Request) (*http.Response, error) { return line.through(inner, req) })
		})
	})
	return line
}

func TestWatchResumesAndTellsWhatItMissed(t *testing.T) {
	b := newBench(t)
	set := b.set(join(settings("a", "1"), settings("b", "1")))
	b.sync(set)
	line := b.severed()
	w := b.watch()
	w.judged()
	line.cut(io.ErrUnexpectedEOF)
	b.edit(configMaps, "a", `{"data":{"key":"2"}}`)
	b.delete(configMaps, b.namespace, "b")
	line.cut(nil)
	w.eventually("both are noticed", func() bool { fields, _ := w.told(); return fields == 2 })
	w.eventually("it follows again", func() bool { return w.watches.Follows(w.target) })
}

// A restarted API server refuses connections for a while. Then the watches continue from their last position, without a
// list, and follow as before.
func TestWatchFollowsAgainAfterRefusedConnections(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("a", "1")))
	line := b.severed()
	w := b.watch()
	w.judged()
	b.edit(configMaps, "a", `{"data":{"key":"3"}}`)
	w.noticed("that the watch is in use") // a watch without any event would start again
	line.cut(syscall.ECONNREFUSED)
	w.eventually("it notices", func() bool { return !w.watches.Follows(w.target) })
	line.cut(nil)
	w.eventually("it follows again", func() bool { return w.watches.Follows(w.target) })
	b.edit(configMaps, "a", `{"data":{"key":"2"}}`)
	w.eventually("a notice of a change", func() bool { fields, _ := w.told(); return fields > 1 })
}

// An account that may not watch a kind in the whole cluster watches it in the relevant namespaces.
func TestWatchNeedsNoMoreThanTheNamespaces(t *testing.T) {
	b := newBench(t)
	set := b.set(settings("a", "1"))
	b.sync(set)
	user := "watcher-" + b.namespace
	kubeconfig, err := b.plane.AddUser(user)
	if err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{b.namespace, b.records} {
		for _, doc := range []string{
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: watcher, namespace: $IN}\nrules:\n- {apiGroups: [\"\", syncer.dev], resources: [configmaps, pipelinesyncs], verbs: [get, list, watch]}\n",
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: watcher, namespace: $IN}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: watcher}\nsubjects: [{kind: User, name: " + user + ", apiGroup: rbac.authorization.k8s.io}]\n",
		} {
			resource := roles
			if strings.Contains(doc, "RoleBinding") {
				resource = roleBindings
			}
			obj := b.object(strings.ReplaceAll(doc, "$IN", namespace))
			if _, err := b.admin.Resource(resource).Namespace(namespace).Create(b.ctx, obj, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, b.cluster = b.connect(kubeconfig)
	b.eventually("the rights are in force", func() bool {
		_, err := b.cluster.Records().Get(b.ctx, b.target)
		return err == nil
	})
	live, err := inventory.Find(b.ctx, b.cluster, b.target, b.record())
	if err != nil {
		t.Fatal(err)
	}
	w := b.watch()
	w.watches.Judged(b.cluster, b.target, b.record(), live)
	w.eventually("it follows", func() bool { return w.watches.Follows(w.target) })
	if len(w.failed) > 0 {
		t.Errorf("failures: %v", w.failed)
	}
	b.edit(configMaps, "a", `{"data":{"key":"2"}}`)
	w.noticed("a change")
}

func TestWatchTellsOfRecords(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("a", "1")))
	w := b.watch()
	w.judged()
	patch := func(value string) {
		if _, err := b.admin.Resource(records).Namespace(b.records).Patch(b.ctx, b.target.RecordName(), "application/merge-patch+json",
			[]byte(`{"metadata":{"annotations":{"syncer.dev/reconcile":`+value+`}}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch(`"disabled"`)
	w.noticed("a suspended record")
	w.judged()
	patch(`null`)
	w.noticed("a record that goes on")
	w.judged()
	b.save(b.record().Status.Inventory) // syncer's own status
	b.delete(records, b.records, b.target.RecordName())
	w.noticed("a deleted record")
	if fields, statuses := w.told(); fields != 1 || statuses != 0 {
		t.Errorf("%d notices and %d of statuses", fields, statuses)
	}
}

func TestWatchForgets(t *testing.T) {
	b := newBench(t)
	b.sync(b.set(settings("a", "1")))
	w := b.watch()
	w.judged()
	w.watches.Forget(b.target)
	if w.watches.Follows(b.target) || w.watches.Differs(b.target) {
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
