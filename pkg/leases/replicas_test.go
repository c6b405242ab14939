package leases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/syncerdev/syncer/internal/lab/bench"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/target"
)

// replica is a process that takes part in elections, and what it received.
type replica struct {
	*Leases
	gained, lost, nudged atomic.Int32
	end                  func()

	mu   sync.Mutex
	held []string
}

func (r *replica) holds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.held)
}

// start starts a replica of a configuration with the environment prod. It ends with the test, or by end.
func start(b *bench.Bench, identity, settings string) *replica {
	b.T.Helper()
	config, err := v1alpha1.DecodeConfig("syncer.yaml", fmt.Appendf(nil,
		"apiVersion: syncer.dev/v1alpha1\nkind: Config\nname: data\nnamespace: %s\nsource: {url: /repo}\nenvironments:\n- {name: prod, cluster: {kubeconfig: %q}}\n%s", b.Records, b.Plane.Kubeconfig, settings))
	if err != nil {
		b.T.Fatal(err)
	}
	r := &replica{}
	r.Leases = New(Parts{
		Config: config, Clusters: target.NewClusters(cluster.Options{Namespace: b.Records}), Identity: identity, Log: slog.New(slog.DiscardHandler),
		Gained: func() { r.gained.Add(1) }, Lost: func() { r.lost.Add(1) }, Nudged: func() { r.nudged.Add(1) },
		Changed: func(_ string, _ bool, all []string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.held = all
		},
	})
	r.Begin(b.Ctx)
	r.end = sync.OnceFunc(func() { r.Retire(); r.End() })
	b.T.Cleanup(r.end)
	return r
}

// desired is the target of the bench, as a replica has it.
func (r *replica) desired(b *bench.Bench) *target.Desired {
	b.T.Helper()
	environment := &r.parts.Config.Environments[0]
	server, err := r.parts.Clusters.Of(environment)
	if err != nil {
		b.T.Fatal(err)
	}
	return &target.Desired{Target: b.Target, Environment: environment, Cluster: server}
}

// One replica holds the Lease. It gives the Lease back when it ends, and not before what it writes is written.
func TestOneReplicaWritesATarget(t *testing.T) {
	b := bench.New(t)
	first := start(b, "first", "")
	d := first.desired(b)
	b.Eventually("the first replica holds the Lease", func() bool { return first.Has(d) && first.gained.Load() == 1 })
	if got := first.holds(); len(got) != 1 || got[0] != "syncer-data" {
		t.Errorf("it holds %q", got)
	}

	second := start(b, "second", "")
	theirs := second.desired(b)
	if second.Has(theirs) || len(second.Own([]*target.Desired{theirs})) > 0 {
		t.Error("both hold the Lease")
	}
	if ctx, _ := second.Begins(theirs); ctx != nil {
		t.Error("a replica writes without the Lease")
	}
	second.Nudge(b.Ctx)
	b.Eventually("the first replica polls the repository", func() bool { return first.nudged.Load() > 0 })

	writing, ended := first.Begins(d)
	if writing == nil || writing.Err() != nil || len(first.Own([]*target.Desired{d})) != 1 {
		t.Fatal("the first replica does not write")
	}
	first.Retire()
	if ctx, _ := first.Begins(d); ctx != nil {
		t.Error("a reconcile begins after the replica retired")
	}
	if writing.Err() != nil || second.Has(theirs) {
		t.Error("the Lease is given back while something is written under it")
	}
	ended()
	b.Eventually("the second replica holds the Lease", func() bool { return second.Has(theirs) })
	first.end()
	if first.lost.Load() != 1 || len(first.holds()) != 0 {
		t.Errorf("the first replica lost %d Leases, and holds %q", first.lost.Load(), first.holds())
	}
	if first.Has(d) {
		t.Error("a replica that has ended holds the Lease")
	}
}

func TestReplicasShareTheShards(t *testing.T) {
	b := bench.New(t)
	const shards = "shards: {by: Pipeline, count: 2}\n"
	first := start(b, "first", shards)
	b.Eventually("the first replica holds both Leases", func() bool { return len(first.holds()) == 2 })
	second := start(b, "second", shards)
	b.Eventually("each replica holds one", func() bool { return len(first.holds()) == 1 && len(second.holds()) == 1 })
	if first.holds()[0] == second.holds()[0] {
		t.Errorf("both hold %q", first.holds())
	}
	first.end()
	b.Eventually("the second replica holds both Leases", func() bool { return len(second.holds()) == 2 })
}

func TestWithoutElectionEveryTargetIsWritten(t *testing.T) {
	b := bench.New(t)
	r := start(b, "alone", "leaderElection: false\n")
	d := r.desired(b)
	if !r.Has(d) || strings.Join(r.holds(), " ") != "all" {
		t.Errorf("it holds %q", r.holds())
	}
	ctx, ended := r.Begins(d)
	r.Cut()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("what is written is not broken off")
	}
	ended()
}

// A cluster whose connection cannot be prepared holds up no other, and no start.
func TestAClusterThatIsAwayHoldsUpNoStart(t *testing.T) {
	b := bench.New(t)
	r := start(b, "me", "- {name: away, cluster: {kubeconfig: /there/is/none}}\n")
	b.Eventually("it holds the Lease of the other cluster", func() bool { return len(r.holds()) == 1 })
}
