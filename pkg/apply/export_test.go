package apply

import (
	"time"

	"k8s.io/client-go/rest"
)

// Connected makes a Cluster of a client configuration, whose transport a test may have wrapped.
func Connected(config *rest.Config, options Options) (*Cluster, error) {
	return ConnectedWithin(config, options, defaultWaits.read, defaultWaits.write)
}

// ConnectedWithin is Connected with limits to the silence of the API server.
func ConnectedWithin(config *rest.Config, options Options, read, write time.Duration) (*Cluster, error) {
	l, err := openLogin(func() (*rest.Config, error) { return config, nil }, func() []string { return nil })
	if err != nil {
		return nil, err
	}
	return connect(l, waits{read: read, write: write}, options)
}

// SetID is the ID of a target's ApplySet.
var SetID = setID

// HashOf is the hash that a plan gives an object of its set.
func HashOf(plan *Plan, name string) string {
	for key, hash := range plan.hashes {
		if key.Name == name {
			return hash
		}
	}
	return ""
}
