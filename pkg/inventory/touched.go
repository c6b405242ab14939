package inventory

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/cluster"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// Untouched reports whether a live object still has every field that syncer applied, with its value. key is that of the
// hashes of Secrets.
func Untouched(live *unstructured.Unstructured, entry v1alpha1.InventoryEntry, key []byte) bool {
	return live != nil && !entry.Unconfirmed && entry.Fields != "" && manifest.OwnedState(live, manifest.FieldManager, key) == entry.Fields && !WrittenSince(live, entry)
}

// WrittenSince reports whether a live object was written under syncer's name since the recorded apply: by another
// syncer, or by a person in its name. An apply that changes nothing does not change the time.
func WrittenSince(live *unstructured.Unstructured, entry v1alpha1.InventoryEntry) bool {
	if live == nil || entry.Written == nil {
		return false
	}
	written, known := manifest.LastWrite(live, manifest.FieldManager)
	return known && !written.Equal(entry.Written.Time)
}

// Keeps reports whether an object says that it outlives its place in git.
func Keeps(obj *unstructured.Unstructured) bool {
	return obj.GetAnnotations()[v1alpha1.AnnotationPrune] == v1alpha1.Disabled || IsDisabled(obj)
}

// LossOf says how syncer lost an object that it applied and of which it owns no field any more; nil: it did not.
func LossOf(live *unstructured.Unstructured, entry v1alpha1.InventoryEntry) *manifest.Loss {
	if live == nil || entry.Fields == "" || manifest.OwnedFields(live, manifest.FieldManager) != "" {
		return nil
	}
	lost := &manifest.Loss{Kind: manifest.Disowned}
	if entry.UID != "" && entry.UID != live.GetUID() {
		lost.Kind, lost.By = manifest.Recreated, WriterOf(live)
	}
	return lost
}

// IsMember reports whether an object is in a target's ApplySet, like Members.
func IsMember(c *cluster.Cluster, target v1alpha1.Target, live *unstructured.Unstructured) bool {
	_, own := v1alpha1.MemberLabel(c.Namespace(), target)
	return live.GetLabels()[v1alpha1.LabelMember] == own && manifest.OwnedFields(live, manifest.FieldManager) != ""
}

// IsDisabled reports whether an object says, in git or in the cluster, that syncer leaves it alone.
func IsDisabled(obj *unstructured.Unstructured) bool {
	return obj != nil && obj.GetAnnotations()[v1alpha1.AnnotationReconcile] == v1alpha1.Disabled
}
