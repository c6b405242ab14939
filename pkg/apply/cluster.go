// package apply carries a set of objects into a cluster: it plans with a server-side dry run, applies in order, prunes,
// judges health and keeps the PipelineSync record. It is the only room that writes to a cluster, and it touches nothing
// but the Kubernetes API.
package apply

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/clock"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
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
	// Requested is told of each request: its verb, as RBAC names it, and the HTTP status, 0 where no answer came. Optional.
	Requested func(verb string, code int)
	// Judge knows the kinds that the configuration describes; nil: the built-in ones.
	Judge *health.Judge
}

// Cluster is a connection to one API server. It is safe for concurrent use.
type Cluster struct {
	namespace string
	config    *rest.Config
	own       dynamic.Interface // acts as syncer: records and what belongs to them
	client    dynamic.Interface // acts as account: the objects of targets
	kinds     *kinds
	hashKey   *hashKey
	judge     *health.Judge
	dates     *clock.Clock // of the API server; nil: server has it

	server  *Cluster // whose account this one acts as; nil: it acts as syncer itself
	account string

	mu     sync.Mutex
	acting map[string]*Cluster // by account
	asked  questions
}

// discoveryTimeout bounds the question for the served kinds, which is the first that an API server is asked and which
// no context can interrupt.
const discoveryTimeout = 20 * time.Second

// Connect prepares a connection; it sends nothing.
func Connect(options Options) (*Cluster, error) {
	server, err := connect.Open(options.login())
	if err != nil {
		return nil, err
	}
	return connected(server, options)
}

// login is the part of the options that the way to the API server needs.
func (o Options) login() connect.Options {
	return connect.Options{
		Kubeconfig: o.Kubeconfig, Context: o.Context, UserAgent: o.UserAgent, AllowExec: o.AllowExec, As: o.As, Requested: o.Requested,
	}
}

func connected(server *connect.Server, options Options) (*Cluster, error) {
	config := server.Config
	client, err := dynamicClient(config)
	if err != nil {
		return nil, err
	}
	quick := rest.CopyConfig(config)
	quick.Timeout = discoveryTimeout
	discover, err := discovery.NewDiscoveryClientForConfig(quick)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	return &Cluster{
		namespace: options.Namespace, config: config, own: client, client: client, kinds: &kinds{client: discover},
		hashKey: &hashKey{}, judge: options.Judge, dates: server.Dates, acting: map[string]*Cluster{},
	}, nil
}

func dynamicClient(config *rest.Config) (dynamic.Interface, error) {
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	client, err := dynamic.NewForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("preparing the connection to %s: %w", config.Host, err)
	}
	return client, nil
}

// Health judges a live object.
func (c *Cluster) Health(obj *unstructured.Unstructured) health.Health { return c.judge.Health(obj) }

// Namespace is where the records are.
func (c *Cluster) Namespace() string { return c.namespace }

// resourceFor returns the client for an object and the object's ID with its namespace filled in.
func (c *Cluster) resourceFor(id manifest.ID) (dynamic.ResourceInterface, manifest.ID, error) {
	mapping, err := c.kinds.resource(id.GroupVersionKind())
	if err != nil {
		return nil, id, err
	}
	resource := c.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		id.Namespace = ""
		return resource, id, nil
	}
	if id.Namespace == "" {
		id.Namespace = manifest.DefaultNamespace
	}
	return resource.Namespace(id.Namespace), id, nil
}
