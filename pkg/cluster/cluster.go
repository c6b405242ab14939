// Package cluster is one API server: requests for objects as an account, the records, the key of the hashes, and the
// clock of the server. It knows how to ask the API server. Other rooms decide which object is written, and when.
package cluster

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/health"
)

// Options say which cluster to connect to, and as whom. The zero value follows kubectl's rules: KUBECONFIG,
// ~/.kube/config, then the pod's own service account.
type Options struct {
	Kubeconfig string
	Context    string
	// Namespace holds the records.
	Namespace string
	UserAgent string
	// AllowExec lets the kubeconfig run a program for its credentials.
	AllowExec bool
	// As is the user to act as; empty: the one of the kubeconfig.
	As string
	// Requested is called for each request, with its verb, as RBAC names it, and the HTTP status, 0 where no answer came.
	// Optional.
	Requested func(verb string, code int)
	// Shared is that of the connections of a process; nil: this one shares nothing.
	Shared *Shared
	// Judge knows the kinds that the configuration describes; nil: the built-in ones.
	Judge *health.Judge
}

// Cluster is a connection to one API server, as one account. It is safe for concurrent use.
type Cluster struct {
	server  *server
	config  *rest.Config      // acts as the account
	client  dynamic.Interface // acts as the account
	account string            // NAMESPACE/NAME of a service account; empty: syncer itself
}

// server is the state that the connections of all accounts share.
type server struct {
	self      *Cluster // acts as syncer itself
	namespace string   // of the records
	kinds     *kinds
	key       hashKey
	judge     *health.Judge
	dates     *clock.Clock
	asked     questions
	followed  atomic.Pointer[followed] // nil: the records are not followed

	mu     sync.Mutex
	acting map[string]*Cluster // by account
}

// discoveryTimeout bounds the request for the served kinds. It is the first request to an API server, and no context can
// interrupt it.
const discoveryTimeout = 20 * time.Second

// Connect prepares a connection; it sends nothing.
func Connect(options Options) (*Cluster, error) {
	connection, err := connect.Open(options.login())
	if err != nil {
		return nil, err
	}
	return connected(connection, options)
}

// ConnectPod prepares a connection to the cluster of the pod in which syncer runs. nil without an error: syncer runs in
// no pod.
func ConnectPod(options Options) (*Cluster, error) {
	connection, err := connect.Pod(options.login())
	if connection == nil || err != nil {
		return nil, err
	}
	return connected(connection, options)
}

// With prepares a connection with a ready client configuration, whose transport may be wrapped, and with other limits to
// the silence of the API server.
func With(config *rest.Config, limits connect.Limits, options Options) (*Cluster, error) {
	connection, err := connect.With(config, limits, options.login())
	if err != nil {
		return nil, err
	}
	return connected(connection, options)
}

// login returns the options that the connection to the API server needs.
func (o Options) login() connect.Options {
	var files *connect.Files
	if o.Shared != nil {
		files = o.Shared.files
	}
	return connect.Options{
		Kubeconfig: o.Kubeconfig, Context: o.Context, UserAgent: o.UserAgent, AllowExec: o.AllowExec, As: o.As, Requested: o.Requested,
		Files: files,
	}
}

func connected(connection *connect.Server, options Options) (*Cluster, error) {
	config := connection.Config
	client, err := Dynamic(config)
	if err != nil {
		return nil, err
	}
	quick := rest.CopyConfig(config)
	quick.Timeout = discoveryTimeout
	discover, err := discovery.NewDiscoveryClientForConfig(quick)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	self := &Cluster{config: config, client: client}
	self.server = &server{
		self: self, namespace: options.Namespace, kinds: &kinds{client: discover, shared: cmp.Or(options.Shared, NewShared())}, judge: options.Judge, dates: connection.Dates,
		acting: map[string]*Cluster{},
	}
	return self, nil
}

// Judge judges the health and the runs of live objects.
func (c *Cluster) Judge() *health.Judge { return c.server.judge }

// Namespace is the namespace of the records.
func (c *Cluster) Namespace() string { return c.server.namespace }

// Records are the records of the namespace. Syncer itself reads and writes them.
func (c *Cluster) Records() *Records { return &Records{cluster: c.server.self} }

// Config is a copy of the configuration of the connection, for a client of its own.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client is a client for the objects of any kind.
func (c *Cluster) Client() dynamic.Interface { return c.client }

// Mapping is the resource of a kind in the given version. Without a version it is the resource in the version that the
// server prefers.
func (c *Cluster) Mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	return c.server.kinds.resource(kind)
}

// AnyMapping is the resource of a kind in the given version where the server serves it, and else in the version that the
// server prefers.
func (c *Cluster) AnyMapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	return c.server.kinds.anyVersion(kind)
}

// Serves reports whether the API server serves a kind in its version. If it does not, the next question reads the served
// kinds again.
func Serves(c *Cluster, kind schema.GroupVersionKind) bool {
	if _, err := c.server.kinds.resource(kind); err != nil {
		c.server.kinds.forget()
		return false
	}
	return true
}

// Ask creates an object that the API server answers and does not store, such as a review of access.
func (c *Cluster) Ask(ctx context.Context, resource schema.GroupVersionResource, question *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.client.Resource(resource).Create(ctx, question, metav1.CreateOptions{})
	})
}
