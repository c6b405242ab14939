package plan

import (
	"context"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/answer"
	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/health"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// refused judges an update that the API server refuses. It returns nil if the object may be deleted and created again.
// Otherwise its error names the remedy.
//
// The proof has two parts. First, a dry run of the same object under another name shows that the API server would accept it
// as a new object. Without this, the object would not come back after its deletion and would be lost. Second, only the
// update is refused. Either the API server says so itself, or it names fields that git changes and would accept the updated
// object, with the fields of others, as a new object.
func refused(ctx context.Context, c *Comparer, s *Step, err error) error {
	obj, live, id := s.Rendered, s.Change.Live, s.Change.ID
	if !answer.IsRefusal(err) || slices.Contains(manifest.Irreplaceable, id.GroupKind()) {
		return answer.Explain(obj, id, "trying", err, live)
	}
	asNew := c.cluster.TryNew(ctx, obj)
	if answer.Retryable(asNew) {
		return answer.Explain(obj, id, "trying as a new object", asNew, live)
	}
	fixed, accepted := answer.IsImmutableOnly(err), asNew == nil || answer.IsContested(asNew)
	if updated, changed := update(live, obj); !fixed && asNew == nil && isOnlyOf(err, changed) {
		asNew = c.cluster.TryNew(ctx, updated)
		fixed = asNew == nil || answer.IsContested(asNew)
	}
	switch {
	case fixed && accepted && mayReplace(obj):
		return nil
	case fixed && accepted:
		err = answer.Advise(err, "a live object cannot change this field: "+answer.WayOut(id))
	case fixed && mayReplace(obj):
		err = answer.Advise(err, "a live object cannot change this field, and syncer does not delete the object, because it would be refused as a new one: "+answer.WithoutDiff(asNew.Error()))
	case fixed || !answer.SameRefusal(err, asNew):
		err = answer.Advise(err, answer.Unclear(obj))
	}
	return answer.Explain(obj, id, "trying", err, live)
}

// isOnlyOf reports whether the API server names a field with each reason, and git changes each of these fields. A refusal of
// another field concerns a value of another owner.
func isOnlyOf(err error, changed []string) bool {
	causes := answer.Causes(err)
	if len(causes) == 0 {
		return false
	}
	return !slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool {
		return cause.Type == "" || !slices.ContainsFunc(changed, func(path string) bool { return related(plainPath(cause.Field), path) })
	})
}

// update returns a live object with the changes of git, without the values that the API server fills in. It also returns the
// fields that git changes or removes.
func update(live, obj *unstructured.Unstructured) (updated *unstructured.Unstructured, changed []string) {
	updated = manifest.Overlay(live, obj).DeepCopy()
	for _, field := range manifest.Diff(live, updated, nil) {
		changed = append(changed, plainPath(field.Path))
	}
	for _, leaf := range manifest.Leaves(live.Object) {
		if len(manifest.Find(obj.Object, leaf.Path)) == 0 && manifest.Owns(live, leaf.Path, manifest.FieldManager) {
			changed = append(changed, plainPath(leaf.Path.String()))
			manifest.Remove(updated.Object, leaf.Path)
		}
	}
	unstructured.RemoveNestedField(updated.Object, "status")
	metadata := map[string]any{}
	for _, kept := range []string{"name", "namespace", "labels", "annotations"} {
		if value, found, _ := unstructured.NestedFieldNoCopy(updated.Object, "metadata", kept); found {
			metadata[kept] = value
		}
	}
	updated.Object["metadata"] = metadata
	return updated, changed
}

// inBrackets matches the items of lists and the keys of maps in a path. The API server has its own format for them.
var inBrackets = regexp.MustCompile(`\["(?:[^"\\]|\\.)*"\]|\[[^\]]*\]`)

// plainPath returns a path without its items and keys. "" means the object itself.
func plainPath(path string) string {
	if path == "<nil>" { // a rule for the whole object
		return ""
	}
	return inBrackets.ReplaceAllString(path, "")
}

// related reports whether two fields are the same, or one contains the other.
func related(a, b string) bool {
	return a == "" || a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}

// mayReplace reports whether an object may be deleted and created again if the API server refuses to change it. A Job may:
// its template cannot be changed in any other way.
func mayReplace(obj *unstructured.Unstructured) bool {
	kind := manifest.IDOf(obj).GroupKind()
	if slices.Contains(manifest.Irreplaceable, kind) {
		return false
	}
	return health.KindOf(kind).Is(health.Recreated) || obj.GetAnnotations()[v1alpha1.AnnotationForce] == v1alpha1.Enabled
}
