package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/connect"
	"github.com/syncerdev/syncer/pkg/pin"
	"github.com/syncerdev/syncer/pkg/reconcile"
	"github.com/syncerdev/syncer/pkg/source"
	"github.com/syncerdev/syncer/pkg/target"
)

// repository is a source that a test answers for.
type repository struct {
	fetch   func(context.Context) (source.Snapshot, error)
	commits []source.Commit
}

func (r repository) Fetch(ctx context.Context) (source.Snapshot, error) { return r.fetch(ctx) }

func (r repository) Log(context.Context, string, int) ([]source.Commit, error) { return r.commits, nil }

func (r repository) Since(context.Context, string, string) ([]source.Commit, error) {
	return r.commits, nil
}

// At makes it a repository for a Planner, too.
func (r repository) At(context.Context, string) (source.Snapshot, error) {
	return r.fetch(context.Background())
}

// newTestDaemon is a daemon without a cluster and without elections, and what it logs.
func newTestDaemon(edit ...func(*v1alpha1.Config)) (*Daemon, *bytes.Buffer) {
	var said bytes.Buffer
	log, elects := slog.New(slog.NewTextHandler(&said, nil)), false
	config := &v1alpha1.Config{Name: "test", Source: v1alpha1.Source{URL: "/repo"}, LeaderElection: &elects, Environments: []v1alpha1.Environment{{Name: "dev"}}}
	config.Source.Interval.Duration = time.Minute
	for _, change := range edit {
		change(config)
	}
	metrics := NewMetrics(time.Now)
	dates, guard := target.Dates{Now: time.Now, Wall: time.Now}, target.Guard{Log: log, Count: metrics.Panicked}
	clusters := target.NewClusters(cluster.Options{})
	planner := &target.Planner{Config: config, Clusters: clusters, Renderings: &target.Renderings{}, Guard: guard.Call, Log: log}
	parts := Parts{
		Config: config, Clusters: clusters, Planner: planner, Metrics: metrics, Log: log,
		Source: repository{fetch: func(context.Context) (source.Snapshot, error) { return source.Snapshot{}, nil }},
		Reconciler: &reconcile.Reconciler{
			Config: config, Planner: planner, Dates: dates, Guard: guard, Log: log,
			Pins: &pin.Resolver{Config: config, Checks: pin.NewChecks(config, time.Now), Dates: dates, Log: log},
		},
	}
	return New(parts, Options{Identity: "me"}), &said
}

// away is a cluster that does not answer.
func away(t *testing.T) *cluster.Cluster {
	t.Helper()
	server, err := cluster.With(&rest.Config{Host: "http://127.0.0.1:1"}, connect.Limits{}, cluster.Options{Namespace: "syncer-system"})
	if err != nil {
		t.Fatal(err)
	}
	return server
}
