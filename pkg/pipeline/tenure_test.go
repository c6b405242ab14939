package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/apply"
)

func TestParts(t *testing.T) {
	config := &v1alpha1.Config{Name: "data", Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod"}}}
	server := &apply.Cluster{}
	of := func(shards v1alpha1.Shards, pipeline string) string {
		tn := &tenure{daemon: &daemon{Runner: &Runner{Config: config}}, shards: shards}
		at := tn.part(server, &config.Environments[1], pipeline)
		found := false
		for _, p := range tn.parts(server, &config.Environments[1]) {
			found = found || p == at
		}
		if !found {
			t.Errorf("%s belongs to %s, which nobody stands for", pipeline, at.lease)
		}
		return at.lease
	}
	if got := of(v1alpha1.Shards{}, "etl"); got != "syncer-data" {
		t.Errorf("without shards: %s", got)
	}
	if got := of(v1alpha1.Shards{By: v1alpha1.ByEnvironment}, "etl"); got != "syncer-data.prod" {
		t.Errorf("by environment: %s", got)
	}
	byLease := map[string]int{}
	for i := range 200 {
		byLease[of(v1alpha1.Shards{By: v1alpha1.ByPipeline, Count: 4}, fmt.Sprintf("pipeline-%d", i))]++
	}
	for i := range 4 {
		if n := byLease[fmt.Sprintf("syncer-data.%d-of-4", i+1)]; n < 25 {
			t.Errorf("shard %d has %d of 200 pipelines: %v", i+1, n, byLease)
		}
	}
}

func TestShardsGoRoundAmongReplicas(t *testing.T) {
	server := &apply.Cluster{}
	count := func(identity string, present ...string) int {
		tn := &tenure{identity: identity, shards: v1alpha1.Shards{By: v1alpha1.ByPipeline, Count: 4}, present: map[*apply.Cluster][]string{server: present}}
		n := 0
		for i := range 4 {
			if tn.meant(part{server: server, index: i}) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		identity string
		present  []string
		want     int
	}{
		{"a", nil, 4}, // nobody is known yet: somebody has to do it
		{"a", []string{"a"}, 4},
		{"a", []string{"a", "b"}, 2},
		{"b", []string{"a", "b"}, 2},
		{"a", []string{"a", "b", "c"}, 2},
		{"c", []string{"a", "b", "c"}, 1},
		{"e", []string{"a", "b", "c", "d", "e"}, 0},
	} {
		if got := count(c.identity, c.present...); got != c.want {
			t.Errorf("%s among %v has %d of 4 shards, want %d", c.identity, c.present, got, c.want)
		}
	}
}

// A Lease that the replica does not take for which it is meant is kept by the one that does, until the replicas change.
func TestShareKeepsWhatNobodyElseTakes(t *testing.T) {
	server := &apply.Cluster{}
	tn := &tenure{
		daemon: &daemon{Runner: &Runner{log: slog.New(slog.DiscardHandler)}}, identity: "b", shards: v1alpha1.Shards{By: v1alpha1.ByEnvironment},
		present: map[*apply.Cluster][]string{server: {"a", "b"}},
	}
	given := false
	leads, giveUp := context.WithCancel(t.Context())
	s := &seat{part: part{server: server, lease: "syncer-data.dev"}, leads: leads, giveUp: func() { given = true; giveUp() }}
	tn.seats = map[part]*seat{s.part: s}
	if !tn.yields(s) {
		t.Fatal("it does not leave the Lease to a first")
	}
	tn.share()
	tn.running.Wait()
	if given || !s.holds() {
		t.Error("it gives away what nobody else takes")
	}
	tn.present[server] = []string{"a", "b", "c"}
	tn.share()
	tn.running.Wait()
	if !given || s.holds() {
		t.Error("it keeps the Lease although the replicas have changed")
	}
}
