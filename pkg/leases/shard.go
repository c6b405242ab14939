package leases

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
)

// shard is the share of the work in one cluster that has a Lease.
type shard struct {
	server *cluster.Cluster
	lease  string
	index  int // among the shards
}

// shardsOf are the shards of an environment.
func shardsOf(config *v1alpha1.Config, server *cluster.Cluster, environment *v1alpha1.Environment) []shard {
	if config.Shards.By != v1alpha1.ByPipeline {
		return []shard{ShardOf(config, server, environment, "")}
	}
	all := make([]shard, config.Shards.Count)
	for i := range all {
		all[i] = numberedShard(config, server, i)
	}
	return all
}

// ShardOf returns the shard that a target belongs to.
func ShardOf(config *v1alpha1.Config, server *cluster.Cluster, environment *v1alpha1.Environment, pipeline string) shard {
	name := "syncer-" + config.Name
	switch config.Shards.By {
	case v1alpha1.ByEnvironment:
		index := slices.IndexFunc(config.Environments, func(e v1alpha1.Environment) bool { return e.Name == environment.Name })
		return shard{server, name + "." + environment.Name, index} // a configuration's name has no dot
	case v1alpha1.ByPipeline:
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(pipeline)) // never fails
		return numberedShard(config, server, int(hash.Sum32()%uint32(config.Shards.Count)))
	}
	return shard{server, name, 0}
}

func numberedShard(config *v1alpha1.Config, server *cluster.Cluster, i int) shard {
	return shard{server, fmt.Sprintf("syncer-%s.%d-of-%d", config.Name, i+1, config.Shards.Count), i}
}
