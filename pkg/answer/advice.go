package answer

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// advised is an error with advice on what to do.
type advised struct {
	error
	advice string
}

func (e *advised) Error() string { return WithoutDiff(e.error.Error()) + " (" + e.advice + ")" }

func (e *advised) Unwrap() error { return e.error }

func isAdvised(err error) bool {
	_, is := errors.AsType[*advised](err)
	return is
}

// WayOut gives advice for an object whose change the API server refuses permanently.
func WayOut(id manifest.ID) string {
	if slices.Contains(manifest.Irreplaceable, id.GroupKind()) {
		return "give the object a new name; syncer never deletes a " + id.Kind + " to create it again"
	}
	return fmt.Sprintf("give the object a new name, or annotate it with %s: %s to have it deleted and created again", v1alpha1.AnnotationForce, v1alpha1.Enabled)
}

// Unclear gives advice for a refusal that may concern the update only: that of a webhook or a policy, which names no
// field.
func Unclear(obj *unstructured.Unstructured) string {
	const remedy = "if a live object cannot change in this way, give it a new name, or delete it and syncer creates it again"
	return fmt.Sprintf("%s; %s: %s does it only where the API server names the field", remedy, v1alpha1.AnnotationForce, v1alpha1.Enabled)
}

// Advise adds advice to an error.
func Advise(err error, advice string) error { return &advised{err, advice} }
