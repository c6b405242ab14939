package apply

import (
	"time"

	"k8s.io/client-go/rest"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/connect"
)

// Connected makes a Cluster of a client configuration, whose transport a test may have wrapped.
func Connected(config *rest.Config, options Options) (*Cluster, error) {
	return ConnectedWithin(config, options, connect.DefaultLimits.Read, connect.DefaultLimits.Write)
}

// ConnectedWithin is Connected with limits to the silence of the API server.
func ConnectedWithin(config *rest.Config, options Options, read, write time.Duration) (*Cluster, error) {
	server, err := connect.With(config, connect.Limits{Read: read, Write: write}, options.login())
	if err != nil {
		return nil, err
	}
	return connected(server, options)
}

// SetID is the ID of a target's ApplySet.
var SetID = v1alpha1.ApplySetID

// HashOf is the hash that a plan gives an object of its set.
func HashOf(plan *Plan, name string) string {
	for key, hash := range plan.hashes {
		if key.Name == name {
			return hash
		}
	}
	return ""
}
