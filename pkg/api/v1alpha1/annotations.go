package v1alpha1

import (
	"time"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Annotations of an object, in git or in the cluster, that tell syncer how to treat it.
const (
	AnnotationReconcile = Group + "/reconcile" // disabled
	AnnotationForce     = Group + "/force"     // enabled
	AnnotationOnRunning = Group + "/on-running"
	AnnotationAdopt     = Group + "/adopt" // enabled: syncer takes the object over from the tool that manages it
	AnnotationPrune     = Group + "/prune" // disabled

	Disabled = "disabled"
	Enabled  = "enabled"
)

// Decided is when a record's spec was written last, by the API server's clock.
func Decided(record *PipelineSync) time.Time {
	for _, entry := range record.ManagedFields {
		if entry.Manager == manifest.FieldManager && entry.Subresource == "" && entry.Time != nil {
			return entry.Time.Time
		}
	}
	return record.CreationTimestamp.Time
}

// IsDisabled reports whether a record says that its target is left alone.
func IsDisabled(record *PipelineSync) bool {
	return record.Annotations[AnnotationReconcile] == Disabled
}
