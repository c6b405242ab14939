package apply

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// refused judges an update that the API server does not take. It returns nil where the object may be deleted and created
// again, and else an error that says what to do.
//
// The proof has two parts. A dry run of the same object under another name says that it would be accepted as a new one: an
// object that does not come back after its deletion is a loss. And only the update is refused: by the API server's own
// words, or because it names fields that git changes and would accept the updated object, with what others set in it, as a
// new one.
func (p *planner) refused(ctx context.Context, resource dynamic.ResourceInterface, s *step, err error) error {
	obj, live, id := s.rendered, s.change.Live, s.change.ID
	if !isRefusal(err) || slices.Contains(irreplaceable, id.GroupKind()) {
		return explain(obj, id, "trying", err, live)
	}
	asNew := tryAsNew(ctx, resource, obj)
	if passing(asNew) {
		return explain(obj, id, "trying as a new object", asNew, live)
	}
	fixed, accepted := isImmutableOnly(err), asNew == nil || isContested(asNew)
	if updated, changed := update(live, obj); !fixed && asNew == nil && isOnlyOf(err, changed) {
		asNew = tryAsNew(ctx, resource, updated)
		fixed = asNew == nil || isContested(asNew)
	}
	switch {
	case fixed && accepted && mayReplace(obj):
		return nil
	case fixed && accepted:
		err = &advised{err, "a live object cannot change this field: " + wayOut(id)}
	case fixed && mayReplace(obj):
		err = &advised{err, "a live object cannot change this field, and syncer does not delete the object, because it would be refused as a new one: " + withoutDiff(asNew.Error())}
	case fixed || !sameRefusal(err, asNew):
		err = &advised{err, unclear(obj)}
	}
	return explain(obj, id, "trying", err, live)
}

// unclear says what to do about a refusal that may be one of the update only: that of a webhook or a policy, which names
// no field.
func unclear(obj *unstructured.Unstructured) string {
	const remedy = "if a live object cannot change in this way, give it a new name, or delete it and syncer creates it again"
	return fmt.Sprintf("%s; %s: %s does it only where the API server names the field", remedy, annotationForce, enabled)
}

// advised is an error of which it is known what to do.
type advised struct {
	error
	advice string
}

func (e *advised) Error() string { return withoutDiff(e.error.Error()) + " (" + e.advice + ")" }

func (e *advised) Unwrap() error { return e.error }

// isRefusal tells an answer about the object from one about rights, quota and the state of the server.
func isRefusal(err error) bool {
	switch {
	case apierrors.IsInvalid(err):
		return true
	case apierrors.IsForbidden(err):
		return !unauthorized.MatchString(err.Error()) && !isContested(err)
	}
	return apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "denied the request")
}

// contested is what the API server says of something that an object's predecessor holds: its addresses and ports, its
// place in a quota, its being the default.
var contested = regexp.MustCompile(`already allocated|exceeded quota|already marked as default`)

// isContested reports whether an object is refused for nothing but what its predecessor may hold.
func isContested(err error) bool {
	causes := causesOf(err)
	if len(causes) == 0 {
		return err != nil && contested.MatchString(err.Error())
	}
	return !slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool { return !contested.MatchString(cause.Message) })
}

// causesOf are the single reasons of a refusal, each with its field.
func causesOf(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

// sameRefusal reports whether two refusals share a reason.
func sameRefusal(err, other error) bool {
	if other == nil {
		return false
	}
	causes := causesOf(other)
	if len(causes) == 0 {
		return withoutNames(err) == withoutNames(other)
	}
	return slices.ContainsFunc(causesOf(err), func(cause metav1.StatusCause) bool { return slices.Contains(causes, cause) })
}

// withoutNames is the text of a refusal less what stands before the reason: the kind and the name of the object.
func withoutNames(err error) string {
	_, reason, found := strings.Cut(err.Error(), ": ")
	if !found {
		return err.Error()
	}
	return reason
}

// tryAsNew asks whether the API server accepts an object as a new one, by a dry run under a name that is free.
func tryAsNew(ctx context.Context, resource dynamic.ResourceInterface, obj *unstructured.Unstructured) error {
	obj = obj.DeepCopy()
	obj.SetGenerateName(obj.GetName() + "-") // the API server shortens it
	obj.SetName("")
	_, err := request(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return resource.Create(ctx, obj, metav1.CreateOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}})
	})
	return err
}

// isOnlyOf reports whether the API server names a field with each reason, and each is one that git changes. A refusal of
// another field is one of what somebody else wrote.
func isOnlyOf(err error, changed []string) bool {
	causes := causesOf(err)
	if len(causes) == 0 {
		return false
	}
	return !slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool {
		return cause.Type == "" || !slices.ContainsFunc(changed, func(path string) bool { return related(plainPath(cause.Field), path) })
	})
}

// update is a live object as git changes it, without what the API server fills in, and the fields that git changes or
// takes away.
func update(live, obj *unstructured.Unstructured) (updated *unstructured.Unstructured, changed []string) {
	updated = manifest.Overlay(live, obj).DeepCopy()
	for _, field := range manifest.Diff(live, updated, nil) {
		changed = append(changed, plainPath(field.Path))
	}
	for _, leaf := range manifest.Leaves(live.Object) {
		if len(manifest.Find(obj.Object, leaf.Path)) == 0 && manifest.Owns(live, leaf.Path, FieldManager) {
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

// inBrackets are the items of lists and the keys of maps in a path, which the API server writes in its own way.
var inBrackets = regexp.MustCompile(`\["(?:[^"\\]|\\.)*"\]|\[[^\]]*\]`)

// plainPath is a path without its items and keys; "" is the object itself.
func plainPath(path string) string {
	if path == "<nil>" { // a rule of the whole object
		return ""
	}
	return inBrackets.ReplaceAllString(path, "")
}

// related reports whether two fields are the same, or one is in the other.
func related(a, b string) bool {
	return a == "" || a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".")
}
