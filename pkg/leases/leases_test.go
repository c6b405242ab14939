package leases

import (
	"fmt"
	"slices"
	"testing"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

func TestShards(t *testing.T) {
	config := &v1alpha1.Config{Name: "data", Environments: []v1alpha1.Environment{{Name: "dev"}, {Name: "prod"}}}
	server := &cluster.Cluster{}
	of := func(shards v1alpha1.Shards, pipeline string) string {
		split := *config
		split.Shards = shards
		at := ShardOf(&split, server, &config.Environments[1], pipeline)
		found := slices.Contains(shardsOf(&split, server, &config.Environments[1]), at)
		if !found {
			t.Errorf("%s belongs to %s, which has no election", pipeline, at.lease)
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
	server := &cluster.Cluster{}
	count := func(identity string, present ...string) int {
		config := &v1alpha1.Config{Shards: v1alpha1.Shards{By: v1alpha1.ByPipeline, Count: 4}}
		l := New(Parts{Config: config, Identity: identity})
		l.replicas[server] = &replicas{present: present}
		n := 0
		for i := range 4 {
			if l.isMeant(shard{server: server, index: i}) {
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
		{"a", nil, 4}, // no replica is known yet, and the work is to be done
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
