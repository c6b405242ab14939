package apply

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/api/v1alpha1"
	"github.com/syncerdev/syncer/pkg/manifest"
)

// OwnedError says that an object belongs to another target, or to another tool's ApplySet.
type OwnedError struct {
	ID     manifest.ID
	Target v1alpha1.Target
	Owner  string
	// Namespace of the owner's record; empty where it has none.
	Namespace string
}

func (e *OwnedError) Error() string {
	text := fmt.Sprintf("%s: it belongs to %s, so %s may not take it; keep it in one of the two", e.ID, e.Owner, e.Target)
	if e.Owner == e.Target.String() {
		// Two syncers that deploy the same repository.
		text += fmt.Sprintf(" (the record of the owner is in namespace %s)", e.Namespace)
	}
	return text
}

// PruneRefusedError says that a commit would delete more than it may.
type PruneRefusedError struct {
	Target  v1alpha1.Target
	Objects []manifest.ID
	Of      int    // the size of the inventory
	Limit   string // the limit that is exceeded
}

func (e *PruneRefusedError) Error() string {
	names := make([]string, len(e.Objects))
	for i, id := range e.Objects {
		names[i] = id.String()
	}
	const shown = 10
	if len(names) > shown {
		names = append(names[:shown], fmt.Sprintf("and %d more", len(names)-shown))
	}
	return fmt.Sprintf("this commit would delete %d of the %d objects of %s, which is above %s: %s; if that is meant, add the trailer `Syncer-Allow-Prune: %s` to a commit message",
		len(e.Objects), e.Of, e.Target, e.Limit, strings.Join(names, ", "), e.Target)
}

// explain says which object a request was about, what went wrong, and what to do. The API server's text is kept, less
// the values that may not be shown: those of the object, and those of its live state where that is known, which an
// admission policy may quote as well.
func explain(obj *unstructured.Unstructured, id manifest.ID, doing string, err error, live ...*unstructured.Unstructured) error {
	switch {
	case err == nil:
		return nil
	case meta.IsNoMatchError(err):
		return &unservedError{fmt.Sprintf("%s: the cluster serves no kind %s in %s; install its CRD, or mend apiVersion and kind", id, id.Kind, id.APIVersion), err}
	case isEndingNamespace(err):
		return &passingError{fmt.Sprintf("%s: namespace %s is being deleted; syncer tries again when it is gone", id, id.Namespace)}
	case isMissingNamespace(err, id.Namespace):
		return reworded(err, fmt.Sprintf("%s: namespace %s is not there; add a Namespace object to a pipeline, or create it", id, id.Namespace))
	case apierrors.IsForbidden(err):
		err = rights(err)
	case isImmutable(err) && !isAdvised(err):
		err = &advised{err, "a live object cannot change this field: " + wayOut(id)}
	}
	if text := quotable(obj, err.Error(), live...); text != err.Error() {
		err = reworded(err, text)
	}
	return fmt.Errorf("%s: %s: %w", id, doing, err)
}

// reworded is an error with another text. The first one is not wrapped: it would give what was cut away to whoever
// unwraps it. Of an answer of the API server it keeps what kind of answer it was.
func reworded(err error, text string) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		was := status.Status()
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: was.Status, Reason: was.Reason, Code: was.Code, Message: text}}
	}
	return errors.New(text)
}

// got begins what the API server says about a value of a wrong type: the value follows, in Go's notation.
var got = regexp.MustCompile(`(?s), got &.*`)

// unstructuredValue is what got begins for a plain value.
var unstructuredValue = regexp.MustCompile(`got &value\.valueUnstructured\{Value:([^{}]*)\}`)

// wayOut says what to do about an object whose change the API server refuses for good.
func wayOut(id manifest.ID) string {
	if slices.Contains(irreplaceable, id.GroupKind()) {
		return "give the object a new name; syncer never deletes a " + id.Kind + " to create it again"
	}
	return fmt.Sprintf("give the object a new name, or annotate it with %s: %s to have it deleted and created again", annotationForce, enabled)
}

// quotable cuts what may not be shown of an object out of the API server's text, and whole objects, which it prints when
// it refuses a change of one: a Job's template is two thousand characters and may hold passwords as well.
func quotable(obj *unstructured.Unstructured, text string, live ...*unstructured.Unstructured) string {
	if manifest.IsSecret(obj) {
		text = got.ReplaceAllString(text, "")
	}
	for _, state := range append([]*unstructured.Unstructured{obj}, live...) {
		if state != nil {
			text = manifest.Redact(state, text)
		}
	}
	text = withoutDiff(unstructuredValue.ReplaceAllString(text, "got $1"))
	const invalid = "Invalid value: "
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, invalid)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString(invalid)
		if dump := json.NewDecoder(strings.NewReader(rest)); strings.HasPrefix(rest, "{") && dump.Decode(&map[string]any{}) == nil {
			out.WriteString("{...}")
			rest = rest[dump.InputOffset():]
		}
		text = rest
	}
}

// diffLines are those of the comparison that the API server adds when it refuses a change of a Pod or of a volume: they
// show whole specs, passwords of env included.
var diffLines = regexp.MustCompile(`(?m)\n(?:[ \t\x{a0}+\-}@…].*)?$`)

func withoutDiff(text string) string { return diffLines.ReplaceAllString(text, "") }

// unauthorized is how the API server says that RBAC forbids a request: the verb, the resource and its group. Admission
// answers Forbidden too, with its own words.
var unauthorized = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"`)

// rights adds what to do about a request that RBAC forbids.
func rights(err error) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	match := unauthorized.FindStringSubmatch(err.Error())
	if match == nil {
		return err
	}
	resource := match[3]
	if match[4] != "" {
		resource += "." + match[4]
	}
	return fmt.Errorf("%w (give %s a Role or ClusterRole that allows to %s %s; syncer needs get, list, create, patch and delete for what it deploys)",
		err, match[1], match[2], resource)
}

// isMissingNamespace tells the 404 for a namespace from the 404 for an object in it.
func isMissingNamespace(err error, namespace string) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	details := status.Status().Details
	return details.Kind == "namespaces" && details.Name == namespace
}

// isEndingNamespace reports whether nothing can be made in a namespace because it is being deleted.
func isEndingNamespace(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// immutable are the API server's own words for a field that no update may change: those of declarative validation
// (k8s.io/apimachinery/pkg/api/validate), of the validation of single kinds (k8s.io/kubernetes/pkg/apis), this and older
// releases, and of a CEL rule without a message.
var immutable = regexp.MustCompile(strings.Join([]string{
	`field is immutable`, `is immutable after creation`, `may not change once set`, `field can not be changed`,
	`field cannot be (?:set once created|cleared once set|modified once set)`,
	`updates to statefulset spec for fields other than`, `updates to .+ are forbidden`,
	`pod updates may not change fields other than`, `pod updates may not add or remove containers`,
	`cannot change roleRef`, `may not be changed in an update`, `failed rule: .*\boldSelf\b`,
}, "|"))

func isImmutable(err error) bool { return immutable.MatchString(err.Error()) }

func isAdvised(err error) bool {
	_, is := errors.AsType[*advised](err)
	return is
}

// passingError is a refusal that ends by itself.
type passingError struct{ text string }

func (e *passingError) Error() string { return e.text }

// IsPassing reports whether an error may end by itself.
func IsPassing(err error) bool {
	_, passes := errors.AsType[*passingError](err)
	_, overtaken := errors.AsType[*OvertakenError](err)
	return passes || overtaken || passing(err)
}

// IsPermanent reports whether an error is one that only a change of git or of the cluster can mend. Under server-side
// apply the API server answers 500 for manifests that do not fit their schema, such as a duplicate key of a list.
func IsPermanent(err error) bool {
	if IsPassing(err) {
		return false
	}
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsInternalError(err) || meta.IsNoMatchError(err)
}

// joinSorted joins errors in the order of their texts, so that two runs of one fault print one text.
func joinSorted(errs []error) error {
	kept := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	slices.SortStableFunc(kept, func(a, b error) int {
		switch x, y := a.Error(), b.Error(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return errors.Join(kept...)
}
