package apply_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/plan"
)

// bench is one deployment target on the shared control plane, with a namespace for its objects and another for its records.
type bench struct {
	t         *testing.T
	ctx       context.Context
	plane     *lab.ControlPlane
	admin     dynamic.Interface // another client
	cluster   *cluster.Cluster
	agent     string // the user agent of the cluster's requests in the audit log
	target    v1alpha1.Target
	namespace string
	records   string
}

// patience is the maximum time of every wait in one test, also on a busy machine.
const patience = 5 * time.Minute

var benches atomic.Int32

func newBench(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	return newBenchAlone(t)
}

// newBenchAlone is for tests that must not run in parallel with others.
func newBenchAlone(t *testing.T) *bench {
	t.Helper()
	p, err := plane()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	config := p.Config()
	config.UserAgent, config.QPS = "somebody", -1
	admin, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	n := benches.Add(1)
	b := &bench{
		t: t, ctx: ctx, plane: p, admin: admin, target: v1alpha1.Target{Pipeline: "orders", Environment: "prod"},
		namespace: fmt.Sprintf("team-%d", n), records: fmt.Sprintf("records-%d", n),
	}
	b.createNamespace(b.namespace)
	b.createNamespace(b.records)
	b.agent, b.cluster = b.connect(p.Kubeconfig)
	return b
}

// connect opens a new connection, as a newly started syncer does.
func (b *bench) connect(kubeconfig string) (agent string, server *cluster.Cluster) {
	b.t.Helper()
	agent = fmt.Sprintf("syncer-test-%d", benches.Add(1))
	server, err := cluster.Connect(cluster.Options{Kubeconfig: kubeconfig, Namespace: b.records, UserAgent: agent})
	if err != nil {
		b.t.Fatal(err)
	}
	return agent, server
}

// connectBy is connect with a transport that the test wraps.
func (b *bench) connectBy(through func(*rest.Config)) *cluster.Cluster {
	b.t.Helper()
	config := b.plane.Config()
	config.QPS = -1
	through(config)
	cluster, err := cluster.With(config, connect.DefaultLimits, cluster.Options{Namespace: b.records})
	if err != nil {
		b.t.Fatal(err)
	}
	return cluster
}

// meddle calls a function right before each of the cluster's requests of a method.
func (b *bench) meddle(method string, happen func()) {
	b.cluster = b.connectBy(func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return meddling{inner, method, happen} })
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

type meddling struct {
	inner  http.RoundTripper
	method string
	happen func()
}

func (m meddling) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == m.method {
		m.happen()
	}
	return m.inner.RoundTrip(req)
}

// restart replaces the cluster by a new one without any state.
func (b *bench) restart() { b.agent, b.cluster = b.connect(b.plane.Kubeconfig) }

// other is a second target in the same cluster and namespaces.
func (b *bench) other(pipeline string) *bench {
	o := *b
	o.target.Pipeline = pipeline
	return &o
}

func (b *bench) createNamespace(name string) {
	b.t.Helper()
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
	if _, err := b.admin.Resource(namespaces).Create(b.ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		b.t.Fatal(err)
	}
}

// Resources that tests read without pkg/apply.
var (
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets         = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services        = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	quotas          = schema.GroupVersionResource{Version: "v1", Resource: "resourcequotas"}
	jobs            = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	sparkApps       = schema.GroupVersionResource{Group: "sparkoperator.k8s.io", Version: "v1beta2", Resource: "sparkapplications"}
	crds            = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	apiServices     = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	records         = schema.GroupVersionResource{Group: v1alpha1.Group, Version: v1alpha1.Version, Resource: "pipelinesyncs"}
)

// set reads YAML documents in the form that pkg/reconcile passes: without the fields of the API server, with the member
// label. $NS is the bench's namespace.
func (b *bench) set(text string) manifest.Set {
	b.t.Helper()
	var set manifest.Set
	for doc := range strings.SplitSeq(text, "\n---\n") {
		set = append(set, b.object(doc))
	}
	key, value := v1alpha1.MemberLabel(b.records, b.target)
	return set.Applicable().Label(key, value)
}

// object reads one YAML document. It reads numbers as pkg/render does.
func (b *bench) object(text string) *unstructured.Unstructured {
	b.t.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(strings.ReplaceAll(text, "$NS", b.namespace)))
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		b.t.Fatalf("%v in\n%s", err, text)
	}
	return obj
}

// settings is a ConfigMap with one value.
func settings(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: $NS}\ndata: {key: %q}\n", name, value)
}

func join(docs ...string) string { return strings.Join(docs, "\n---\n") }

// record reads the target's record.
func (b *bench) record() *v1alpha1.PipelineSync {
	b.t.Helper()
	record, err := b.cluster.Records().Get(b.ctx, b.target)
	if err != nil {
		b.t.Fatal(err)
	}
	return record
}

func (b *bench) spec() v1alpha1.PipelineSyncSpec {
	return v1alpha1.PipelineSyncSpec{
		Owner: "test", Pipeline: b.target.Pipeline, Environment: b.target.Environment,
		Source: v1alpha1.RecordSource{URL: "https://git.example.com/pipelines.git", Commit: "c0ffee"},
	}
}

// tryPlan plans a set against the record as it is.
func (b *bench) tryPlan(set manifest.Set, change ...func(*plan.Request)) (*plan.Plan, error) {
	b.t.Helper()
	req := plan.Request{Target: b.target, Record: b.record(), Set: set}
	for _, f := range change {
		f(&req)
	}
	return plan.Make(b.ctx, b.cluster, req)
}

func full(req *plan.Request) { req.Full = true }

func (b *bench) plan(set manifest.Set, change ...func(*plan.Request)) *plan.Plan {
	b.t.Helper()
	planned, err := b.tryPlan(set, change...)
	if err != nil {
		b.t.Fatal(err)
	}
	return planned
}

// trySync applies a set as pkg/reconcile does, and saves the inventory at the end.
func (b *bench) trySync(set manifest.Set, change ...func(*plan.Request)) (apply.Applied, error) {
	b.t.Helper()
	planned, err := b.tryPlan(set, change...)
	if err != nil {
		return apply.Applied{}, err
	}
	applied := apply.Applied{Changes: planned.Pending(), Held: planned.Held(), Inventory: planned.Inventory(), Live: planned.Members}
	if len(planned.Pending()) > 0 || planned.Unfinished() || b.record() == nil {
		applied, err = apply.Carry(b.ctx, b.cluster, planned, apply.Options{Spec: b.spec()})
	}
	b.save(applied.Inventory)
	return applied, err
}

func (b *bench) sync(set manifest.Set, change ...func(*plan.Request)) apply.Applied {
	b.t.Helper()
	applied, err := b.trySync(set, change...)
	if err != nil {
		b.t.Fatal(err)
	}
	return applied
}

func (b *bench) save(inventory []v1alpha1.InventoryEntry) {
	b.t.Helper()
	status := v1alpha1.PipelineSyncStatus{LastAttemptedCommit: "c0ffee", Inventory: inventory}
	if record := b.record(); record != nil {
		status.ConfirmedApply = record.Status.ConfirmedApply
	}
	if _, err := b.cluster.Records().SaveStatus(b.ctx, b.target, status, ""); err != nil {
		b.t.Fatal(err)
	}
}

// get reads an object without pkg/apply. It returns nil if the object does not exist.
func (b *bench) get(resource schema.GroupVersionResource, namespace, name string) *unstructured.Unstructured {
	b.t.Helper()
	obj, err := b.admin.Resource(resource).Namespace(namespace).Get(b.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return obj
}

// edit writes an object as another field manager.
func (b *bench) edit(resource schema.GroupVersionResource, name, patch string) {
	b.t.Helper()
	_, err := b.admin.Resource(resource).Namespace(b.namespace).Patch(b.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "kubectl-edit"})
	if err != nil {
		b.t.Fatal(err)
	}
}

// status writes an object's status as its operator does.
func (b *bench) status(resource schema.GroupVersionResource, name, patch string) {
	b.t.Helper()
	_, err := b.admin.Resource(resource).Namespace(b.namespace).Patch(b.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "operator"}, "status")
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) delete(resource schema.GroupVersionResource, namespace, name string) {
	b.t.Helper()
	background := metav1.DeletePropagationBackground
	if err := b.admin.Resource(resource).Namespace(namespace).Delete(b.ctx, name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		b.t.Fatal(err)
	}
}

// create creates an object as another client, without the member label.
func (b *bench) create(resource schema.GroupVersionResource, text string) *unstructured.Unstructured {
	b.t.Helper()
	obj := b.object(text)
	made, err := b.admin.Resource(resource).Namespace(obj.GetNamespace()).Create(b.ctx, obj, metav1.CreateOptions{FieldManager: "somebody"})
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

// eventually polls until done. It fails the test after the time of patience.
func (b *bench) eventually(what string, done func() bool) {
	b.t.Helper()
	err := wait.PollUntilContextCancel(b.ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		b.t.Fatalf("waiting until %s: %v", what, err)
	}
}

// requests returns the cluster's requests to the API server while f ran.
func (b *bench) requests(f func()) []lab.AuditEvent {
	b.t.Helper()
	before := len(b.audited())
	f()
	return b.audited()[before:]
}

// audited returns every request of the cluster so far. The API server logs a request after it has answered it, so a last
// request marks the end of the log.
func (b *bench) audited() []lab.AuditEvent {
	b.t.Helper()
	config := b.plane.Config()
	mark := fmt.Sprintf("mark-%d", benches.Add(1))
	config.UserAgent = mark
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := client.Resource(namespaces).Get(b.ctx, b.namespace, metav1.GetOptions{}); err != nil {
		b.t.Fatal(err)
	}
	var own []lab.AuditEvent
	b.eventually("the audit log has come to "+mark, func() bool {
		own = nil
		events, err := lab.ReadAudit(auditLog())
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			b.t.Fatal(err)
		}
		for _, e := range events {
			if e.UserAgent == b.agent {
				own = append(own, e)
			}
		}
		return slices.ContainsFunc(events, func(e lab.AuditEvent) bool { return e.UserAgent == mark })
	})
	return own
}

// isWrite reports whether a request changes something: it is neither a dry run nor a read.
func isWrite(e lab.AuditEvent) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb) && !isDryRun(e)
}

func isDryRun(e lab.AuditEvent) bool { return strings.Contains(e.RequestURI, "dryRun=All") }

// shortly writes events for a test's message.
func shortly(events []lab.AuditEvent) string {
	var out strings.Builder
	for _, e := range events {
		fmt.Fprintf(&out, "\n  %s %s -> %d", e.Verb, e.RequestURI, e.Response.Code)
	}
	return out.String()
}

// actions describes the actions of changes. It leaves out changes without an action.
func actions(changes []manifest.Change) string {
	var out []string
	for _, change := range changes {
		if change.Action != manifest.None {
			name := fmt.Sprintf("%s %s/%s", change.Action, change.ID.Kind, change.ID.Name)
			if change.Drifted {
				name += " (drifted)"
			}
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func inventoryNames(entries []v1alpha1.InventoryEntry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Kind+"/"+e.Name)
	}
	return strings.Join(out, ", ")
}

// value follows a path of map keys through an object.
func value(obj *unstructured.Unstructured, path ...string) any {
	if obj == nil {
		return nil
	}
	v, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	return v
}

// wantError checks that an error contains each part.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	t.Logf("error: %v", err)
}

func requestOf(b *bench, set manifest.Set, record *v1alpha1.PipelineSync) plan.Request {
	return plan.Request{Target: b.target, Record: record, Set: set}
}

// letGo removes an object's finalizers when a test is over.
func (b *bench) letGo(resource schema.GroupVersionResource, name string) {
	_, err := b.admin.Resource(resource).Namespace(b.namespace).Patch(context.Background(), name, types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err != nil {
		b.t.Error(err)
	}
}
