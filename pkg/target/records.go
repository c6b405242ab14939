package target

import (
	"context"
	"sync"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// recordLists read the records of each cluster once, also where several environments are in it. The zero value is ready. It is
// safe for concurrent use.
type recordLists struct {
	mu        sync.Mutex
	byCluster map[*cluster.Cluster]func() ([]*v1alpha1.PipelineSync, error)
}

// of returns the records of a cluster. The context of the first caller counts.
func (l *recordLists) of(ctx context.Context, c *cluster.Cluster) ([]*v1alpha1.PipelineSync, error) {
	l.mu.Lock()
	read := l.byCluster[c.Server()]
	if read == nil {
		read = sync.OnceValues(func() ([]*v1alpha1.PipelineSync, error) { return c.Records().LatestList(ctx) })
		if l.byCluster == nil {
			l.byCluster = map[*cluster.Cluster]func() ([]*v1alpha1.PipelineSync, error){}
		}
		l.byCluster[c.Server()] = read
	}
	l.mu.Unlock()
	return read()
}

// fewPipelines is the number of selected pipelines up to which a read of each record is cheaper than a list of all of them.
const fewPipelines = 10

// selected returns the records of an environment that a selection may name, by name where it names few.
func (l *recordLists) selected(ctx context.Context, c *cluster.Cluster, environment string, selection v1alpha1.Selection) ([]*v1alpha1.PipelineSync, error) {
	if n := len(selection.Pipelines); n == 0 || n > fewPipelines {
		return l.of(ctx, c)
	}
	var out []*v1alpha1.PipelineSync
	for _, name := range selection.Pipelines {
		if !v1alpha1.ValidPipelineName(name) {
			continue // it cannot have a record
		}
		record, err := c.Records().Latest(ctx, v1alpha1.Target{Pipeline: name, Environment: environment})
		if err != nil {
			return nil, err
		}
		if record != nil {
			out = append(out, record)
		}
	}
	return out, nil
}
