package pipeline

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

// Right is what somebody must be allowed to, in the words of the API server: "list pipelinesyncs.syncer.dev in the
// namespace syncer-system".
func (r *Runner) Right(wanted view.Access) string {
	a := r.attributes(wanted)
	if a.Path != "" {
		return fmt.Sprintf("%s the path %s", a.Verb, a.Path)
	}
	return fmt.Sprintf("%s %s.%s in the namespace %s", a.Verb, a.Resource, a.Group, a.Namespace)
}

func (r *Runner) attributes(wanted view.Access) access.Attributes {
	switch wanted {
	case view.AccessMetrics:
		return access.Attributes{Verb: "get", Path: "/metrics"}
	case view.AccessProfiles:
		return access.Attributes{Verb: "get", Path: "/debug/pprof"}
	}
	return access.Attributes{Verb: "list", Group: v1alpha1.Group, Resource: "pipelinesyncs", Namespace: r.Config.Namespace}
}

// Allowed asks the API server whose a token is, and whether that user may see something. An empty user: the token is
// nobody's. It may be called by many goroutines.
func (r *Runner) Allowed(ctx context.Context, token string, wanted view.Access) (user string, allowed bool, err error) {
	cluster, err := r.keeper()
	if err != nil {
		return "", false, err
	}
	return access.Allowed(ctx, cluster, token, r.attributes(wanted))
}

// gate is what a server needs of a runner to let somebody in. Its zero value is ready to use.
type gate struct {
	mu     sync.Mutex
	users  *cluster.Cluster                // whose users may come in; nil: not known yet
	posted map[v1alpha1.Cluster]*audit.Log // what API servers post, by clusterKey
}

// keeper is the cluster whose users may see what a daemon serves: that of its pod, else that of the first environment.
func (r *Runner) keeper() (*cluster.Cluster, error) {
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	if r.gate.users != nil {
		return r.gate.users, nil
	}
	users, err := r.clusters.OfPod()
	if users == nil && err == nil {
		users, err = r.clusters.Of(&r.Config.Environments[0])
	}
	if err != nil {
		return nil, err
	}
	r.gate.users = users
	return users, nil
}

// TakeAudit takes in a batch of audit events that the API server of an environment posted. Without an environment it is
// that of all, which must be one.
func (r *Runner) TakeAudit(environment string, batch []byte) error {
	log, err := r.postedLog(environment)
	if err != nil {
		return err
	}
	return log.Take(batch)
}

func (r *Runner) postedLog(name string) (*audit.Log, error) {
	clusters := map[v1alpha1.Cluster]bool{}
	var found *v1alpha1.Environment
	for i := range r.Config.Environments {
		environment := &r.Config.Environments[i]
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
	r.gate.mu.Lock()
	defer r.gate.mu.Unlock()
	key := target.ClusterKey(found)
	if r.gate.posted == nil {
		r.gate.posted = map[v1alpha1.Cluster]*audit.Log{}
	}
	if r.gate.posted[key] == nil {
		r.gate.posted[key] = audit.NewLog("")
	}
	return r.gate.posted[key], nil
}
