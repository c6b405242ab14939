package target

import (
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// Clusters are the connections to the clusters of a configuration. It is safe for concurrent use.
type Clusters struct {
	options cluster.Options // except for the options of an environment

	mu        sync.Mutex
	connected map[v1alpha1.Cluster]*cluster.Cluster
}

// NewClusters prepares the connections. The kubeconfig and the context of an environment replace those in the options.
func NewClusters(options cluster.Options) *Clusters {
	options.Shared = cluster.NewShared()
	return &Clusters{options: options, connected: map[v1alpha1.Cluster]*cluster.Cluster{}}
}

// Of returns the connection of an environment. Environments that name the same cluster share one.
func (c *Clusters) Of(environment *v1alpha1.Environment) (*cluster.Cluster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := ClusterKey(environment)
	if cluster, ok := c.connected[key]; ok {
		return cluster, nil
	}
	options := c.options
	options.Kubeconfig, options.Context, options.AllowExec = environment.Cluster.Kubeconfig, environment.Cluster.Context, environment.Cluster.AllowExec
	cluster, err := cluster.Connect(options)
	if err != nil {
		return nil, err
	}
	c.connected[key] = cluster
	return cluster, nil
}

// OfPod returns the connection to the cluster of the pod that this process runs in; nil outside of a pod.
func (c *Clusters) OfPod() (*cluster.Cluster, error) {
	options := c.options
	options.As = ""
	return cluster.ConnectPod(options)
}

// ClusterKey distinguishes clusters by their connection.
func ClusterKey(environment *v1alpha1.Environment) v1alpha1.Cluster {
	key := environment.Cluster
	key.AuditLog = "" // it does not make another cluster
	return key
}
