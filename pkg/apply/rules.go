package apply

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
)

// Rules has the policies for changes of a target's objects. The zero value waits for running work and ignores nothing.
type Rules struct {
	OnRunning   v1alpha1.OnRunning
	Rerun       v1alpha1.Rerun
	Propagation v1alpha1.Propagation // for deletes; empty: Background
	Ignore      []Ignore
}

// onRunning returns the policy for one object: the object's own policy, or else that of its target.
func (r Rules) onRunning(obj *unstructured.Unstructured) (v1alpha1.OnRunning, error) {
	switch own := v1alpha1.OnRunning(obj.GetAnnotations()[v1alpha1.AnnotationOnRunning]); own {
	case v1alpha1.Wait, v1alpha1.Replace, v1alpha1.Skip:
		return own, nil
	case "":
	default:
		return "", fmt.Errorf("annotation %s: %q is not a policy; use wait, replace or skip", v1alpha1.AnnotationOnRunning, own)
	}
	if r.OnRunning == "" {
		return v1alpha1.Wait, nil
	}
	return r.OnRunning, nil
}
