package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/syncerdev/syncer/internal/lab"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Bench is one deployment target on the shared control plane, with a namespace for its objects and another one for its
// records. Its functions fail the test.
type Bench struct {
	T         *testing.T
	Ctx       context.Context // ends before the test would wait for too long
	Plane     *lab.ControlPlane
	Admin     dynamic.Interface // another client
	Cluster   *cluster.Cluster  // the connection of syncer
	Agent     string            // the user agent of the requests of Cluster in the audit log
	Target    v1alpha1.Target
	Namespace string
	Records   string
}

// patience is the maximum time of every wait in one test, also on a busy machine.
const patience = 5 * time.Minute

var counter atomic.Int32

// New returns a target for a test that runs in parallel with others.
func New(t *testing.T) *Bench {
	t.Helper()
	t.Parallel()
	return NewAlone(t)
}

// NewAlone returns a target for a test that does not run in parallel with others.
func NewAlone(t *testing.T) *Bench {
	t.Helper()
	plane, err := shared.start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	config := plane.Config()
	config.UserAgent, config.QPS = "somebody", -1
	admin, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	n := counter.Add(1)
	b := &Bench{
		T: t, Ctx: ctx, Plane: plane, Admin: admin, Target: v1alpha1.Target{Pipeline: "orders", Environment: "prod"},
		Namespace: fmt.Sprintf("team-%d", n), Records: fmt.Sprintf("records-%d", n),
	}
	b.CreateNamespace(b.Namespace)
	b.CreateNamespace(b.Records)
	b.Agent, b.Cluster = b.Connect(plane.Kubeconfig)
	return b
}

// Connect opens a new connection, as a newly started syncer does.
func (b *Bench) Connect(kubeconfig string) (agent string, server *cluster.Cluster) {
	b.T.Helper()
	agent = fmt.Sprintf("syncer-test-%d", counter.Add(1))
	server, err := cluster.Connect(cluster.Options{Kubeconfig: kubeconfig, Namespace: b.Records, UserAgent: agent})
	if err != nil {
		b.T.Fatal(err)
	}
	return agent, server
}

// ConnectThrough replaces Cluster by a connection whose requests go through a function.
func (b *Bench) ConnectThrough(limits connect.Limits, through Through) {
	b.T.Helper()
	b.Cluster = connectWith(b, limits, func(config *rest.Config) {
		config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return wrapped{inner, through} })
	})
}

// ConnectBy opens a new connection with a configuration that a function changes.
func (b *Bench) ConnectBy(change func(*rest.Config)) *cluster.Cluster {
	b.T.Helper()
	return connectWith(b, connect.DefaultLimits, change)
}

func connectWith(b *Bench, limits connect.Limits, change func(*rest.Config)) *cluster.Cluster {
	b.T.Helper()
	config := b.Plane.Config()
	config.QPS = -1
	change(config)
	server, err := cluster.With(config, limits, cluster.Options{Namespace: b.Records})
	if err != nil {
		b.T.Fatal(err)
	}
	return server
}

// Before calls a function right before each request of Cluster with a method.
func (b *Bench) Before(method string, happen func()) {
	b.T.Helper()
	b.ConnectThrough(connect.DefaultLimits, func(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if req.Method == method {
			happen()
		}
		return inner.RoundTrip(req)
	})
}

// Through sends a request by inner, or answers it in another way.
type Through func(req *http.Request, inner http.RoundTripper) (*http.Response, error)

type wrapped struct {
	inner   http.RoundTripper
	through Through
}

func (w wrapped) RoundTrip(req *http.Request) (*http.Response, error) { return w.through(req, w.inner) }

// Restart replaces Cluster by a new one without any state.
func (b *Bench) Restart() { b.Agent, b.Cluster = b.Connect(b.Plane.Kubeconfig) }

// Other is a second target in the same cluster and namespaces.
func (b *Bench) Other(pipeline string) *Bench {
	other := *b
	other.Target.Pipeline = pipeline
	return &other
}

// Set reads YAML documents in the form that pkg/reconcile passes: without the fields of the API server, with the member
// label. $NS is the namespace of the target. A text may have several documents.
func (b *Bench) Set(texts ...string) manifest.Set {
	b.T.Helper()
	var set manifest.Set
	for doc := range strings.SplitSeq(Join(texts...), separator) {
		if doc != "" {
			set = append(set, b.Object(doc))
		}
	}
	key, value := v1alpha1.MemberLabel(b.Records, b.Target)
	return set.Applicable().Label(key, value)
}

// separator stands between the YAML documents of a text.
const separator = "\n---\n"

// Join writes YAML documents as one text.
func Join(docs ...string) string { return strings.Join(docs, separator) }

// Object reads one YAML document. It reads numbers as pkg/render does.
func (b *Bench) Object(text string) *unstructured.Unstructured {
	b.T.Helper()
	obj := &unstructured.Unstructured{}
	content, err := yaml.YAMLToJSON([]byte(strings.ReplaceAll(text, "$NS", b.Namespace)))
	if err == nil {
		err = obj.UnmarshalJSON(content)
	}
	if err != nil {
		b.T.Fatalf("%v in\n%s", err, text)
	}
	return obj
}

// Settings is a ConfigMap with one value.
func Settings(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: $NS}\ndata: {key: %q}\n", name, value)
}

// Eventually polls until done. It fails the test after the time of patience.
func (b *Bench) Eventually(what string, done func() bool) {
	b.T.Helper()
	err := wait.PollUntilContextCancel(b.Ctx, 50*time.Millisecond, true, func(context.Context) (bool, error) { return done(), nil })
	if err != nil {
		b.T.Fatalf("waiting until %s: %v", what, err)
	}
}

// WantError checks that an error contains each part.
func WantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// Value follows a path of map keys through an object.
func Value(obj *unstructured.Unstructured, path ...string) any {
	if obj == nil {
		return nil
	}
	value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, path...)
	return value
}

// CreateNamespace creates a namespace.
func (b *Bench) CreateNamespace(name string) {
	b.T.Helper()
	namespace := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
	if _, err := b.Admin.Resource(Namespaces).Create(b.Ctx, namespace, metav1.CreateOptions{}); err != nil {
		b.T.Fatal(err)
	}
}

// RoundTripper is a transport that is one function.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f RoundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Refusing is a transport that fails for the writes of a method to paths with an ending.
type Refusing struct {
	Inner        http.RoundTripper
	Method, Path string
}

// RoundTrip sends a request, or fails.
func (r Refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == r.Method && strings.HasSuffix(req.URL.Path, r.Path) && req.URL.Query().Get("dryRun") == "" {
		return nil, errors.New("the network says no")
	}
	return r.Inner.RoundTrip(req)
}
