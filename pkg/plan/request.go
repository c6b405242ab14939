package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/ignore"
	"github.com/syncerdev/syncer/pkg/inventory"
	"github.com/syncerdev/syncer/pkg/manifest"
	"github.com/syncerdev/syncer/pkg/neighbour"
)

// Request has a target and the set that the target must become.
type Request struct {
	Target v1alpha1.Target
	// Record is the target's record. It is nil at the first deployment.
	Record *v1alpha1.PipelineSync
	// Set has the objects of git, with digests and the member label. An empty set prunes everything.
	Set manifest.Set
	// Provides has the namespaces and kinds that other sets of the same pass create. A dry run cannot see them yet.
	Provides neighbour.Provides
	// Neighbours are the other targets of the same commit.
	Neighbours neighbour.All
	// Shown has the live objects as watches or a list show them; nil: the API server is asked.
	Shown inventory.Shown
	// Full compares every object by a dry run, also objects whose apply is recorded and unchanged since.
	Full bool
	// Unowned compares also an object in which a field of git has another value, and syncer does not own the field. The
	// hashes of the record do not show this. It happens when an ignore rule is gone.
	Unowned bool
	// ReadOnly changes nothing in the cluster, not even bookkeeping.
	ReadOnly bool
	Policies Policies
}

// Policies say how the objects of a target may be changed. The zero value waits for running work and ignores nothing.
type Policies struct {
	OnRunning   v1alpha1.OnRunning
	Rerun       v1alpha1.Rerun
	Propagation v1alpha1.Propagation // for deletes; empty: Background
	Ignore      ignore.Rules
}

// ForRunning returns the policy for one object: the object's own policy, or else that of its target.
func (p Policies) ForRunning(obj *unstructured.Unstructured) (v1alpha1.OnRunning, error) {
	switch own := v1alpha1.OnRunning(obj.GetAnnotations()[v1alpha1.AnnotationOnRunning]); own {
	case v1alpha1.Wait, v1alpha1.Replace, v1alpha1.Skip:
		return own, nil
	case "":
	default:
		return "", fmt.Errorf("annotation %s: %q is not a policy; use wait, replace or skip", v1alpha1.AnnotationOnRunning, own)
	}
	if p.OnRunning == "" {
		return v1alpha1.Wait, nil
	}
	return p.OnRunning, nil
}
