package health

import "github.com/syncerdev/syncer/pkg/manifest"

// States of an object beside those of its health.
const (
	ObjectMissing   = "Missing"
	ObjectCompleted = "Completed" // it ran, and is gone as it should be
)

// Object is an object of a target as it is in the cluster.
type Object struct {
	Object manifest.ID `json:"object"`
	// Health is a Status, ObjectMissing or ObjectCompleted.
	Health  string `json:"health"`
	Message string `json:"message"`
	// Touched says that a field that syncer applied was changed.
	Touched bool `json:"touched"`
}
