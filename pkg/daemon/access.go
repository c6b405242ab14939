package daemon

import (
	"context"
	"fmt"
	"sync"

	"github.com/syncerdev/syncer/pkg/access"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/audit"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
	"github.com/syncerdev/syncer/pkg/view"
)

// Access says who may read what a daemon serves, and receives what API servers post. It is safe for concurrent use.
type Access struct {
	config   *v1alpha1.Config
	clusters *target.Clusters

	mu     sync.Mutex
	users  *cluster.Cluster                // whose users may read; nil: not known yet
	posted map[v1alpha1.Cluster]*audit.Log // by target.ClusterKey
	files  map[string]*audit.Log
}

// NewAccess returns the access to a daemon.
func NewAccess(config *v1alpha1.Config, clusters *target.Clusters) *Access {
	return &Access{config: config, clusters: clusters, posted: map[v1alpha1.Cluster]*audit.Log{}, files: map[string]*audit.Log{}}
}

// Right is the right that access needs, in the words of the API server: "list pipelinesyncs.syncer.dev in the namespace
// syncer-system".
func (a *Access) Right(wanted view.Access) string {
	needed := a.attributes(wanted)
	if needed.Path != "" {
		return fmt.Sprintf("%s the path %s", needed.Verb, needed.Path)
	}
	return fmt.Sprintf("%s %s.%s in the namespace %s", needed.Verb, needed.Resource, needed.Group, needed.Namespace)
}

func (a *Access) attributes(wanted view.Access) access.Attributes {
	switch wanted {
	case view.AccessMetrics:
		return access.Attributes{Verb: "get", Path: "/metrics"}
	case view.AccessProfiles:
		return access.Attributes{Verb: "get", Path: "/debug/pprof"}
	}
	return access.Attributes{Verb: "list", Group: v1alpha1.Group, Resource: "pipelinesyncs", Namespace: a.config.Namespace}
}

// Allowed asks the API server whose a token is, and whether that user may read something. An empty user: no user has the
// token.
func (a *Access) Allowed(ctx context.Context, token string, wanted view.Access) (user string, allowed bool, err error) {
	server, err := a.userCluster()
	if err != nil {
		return "", false, err
	}
	return access.Allowed(ctx, server, token, a.attributes(wanted))
}

// userCluster is the cluster whose users may read what a daemon serves: that of its pod, else that of the first environment.
func (a *Access) userCluster() (*cluster.Cluster, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users != nil {
		return a.users, nil
	}
	users, err := a.clusters.OfPod()
	if users == nil && err == nil {
		users, err = a.clusters.Of(&a.config.Environments[0])
	}
	if err != nil {
		return nil, err
	}
	a.users = users
	return users, nil
}

// AuditLog is that of an environment's API server: its file, else what it posted; nil where there is neither.
func (a *Access) AuditLog(environment *v1alpha1.Environment) *audit.Log {
	a.mu.Lock()
	defer a.mu.Unlock()
	file := environment.Cluster.AuditLog
	if file == "" {
		return a.posted[target.ClusterKey(environment)]
	}
	if a.files[file] == nil {
		a.files[file] = audit.NewLog(file)
	}
	return a.files[file]
}

// TakeAudit receives a batch of audit events that the API server of an environment posted. Without an environment it is
// that of all, which must be one.
func (a *Access) TakeAudit(environment string, batch []byte) error {
	log, err := a.postedLog(environment)
	if err != nil {
		return err
	}
	return log.Take(batch)
}

func (a *Access) postedLog(name string) (*audit.Log, error) {
	clusters := map[v1alpha1.Cluster]bool{}
	var found *v1alpha1.Environment
	for i := range a.config.Environments {
		environment := &a.config.Environments[i]
		clusters[target.ClusterKey(environment)] = true
		if name == "" || environment.Name == name {
			found = environment
		}
	}
	switch {
	case found == nil:
		return nil, fmt.Errorf("%w: there is no environment %q in the configuration", view.ErrNoAudit, name)
	case name == "" && len(clusters) > 1:
		return nil, fmt.Errorf("%w: the environments have several clusters; name one of its environments, as in /hooks/audit/%s", view.ErrNoAudit, found.Name)
	case found.Cluster.AuditLog != "":
		return nil, fmt.Errorf("%w: that of %s is read from its file", view.ErrNoAudit, found.Name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	key := target.ClusterKey(found)
	if a.posted[key] == nil {
		a.posted[key] = audit.NewLog("")
	}
	return a.posted[key], nil
}
