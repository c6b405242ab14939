package answer

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/syncerdev/syncer/pkg/manifest"
)

// Explain names the object of a request, the error, and what to do. It keeps the API server's text, without the values
// that must not be shown: those of the object, and those of its live state where it is known, which an admission policy
// may quote as well.
func Explain(obj *unstructured.Unstructured, id manifest.ID, doing string, err error, live ...*unstructured.Unstructured) error {
	switch {
	case err == nil:
		return nil
	case meta.IsNoMatchError(err):
		return &unservedError{fmt.Sprintf("%s: the cluster serves no kind %s in %s; install its CRD, or mend apiVersion and kind", id, id.Kind, id.APIVersion), err}
	case IsEndingNamespace(err):
		return WillPass(fmt.Sprintf("%s: namespace %s is being deleted; syncer tries again when it is gone", id, id.Namespace))
	case IsMissingNamespace(err, id.Namespace):
		return reworded(err, fmt.Sprintf("%s: namespace %s is not there; add a Namespace object to a pipeline, or create it", id, id.Namespace))
	case apierrors.IsForbidden(err):
		err = AdviseRight(err)
	case isImmutable(err) && !isAdvised(err):
		err = Advise(err, "a live object cannot change this field: "+WayOut(id))
	}
	if text := quotable(obj, err.Error(), live...); text != err.Error() {
		err = reworded(err, text)
	}
	return fmt.Errorf("%s: %s: %w", id, doing, err)
}

// reworded is an error with another text. It does not wrap the first error, because an unwrap would return the removed
// values. It keeps the kind of an API server's answer.
func reworded(err error, text string) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		was := status.Status()
		return &apierrors.StatusError{ErrStatus: metav1.Status{Status: was.Status, Reason: was.Reason, Code: was.Code, Message: text}}
	}
	return errors.New(text)
}

// got begins the API server's text about a value of a wrong type: the value follows, in Go's notation.
var got = regexp.MustCompile(`(?s), got &.*`)

// unstructuredValue is the begin of got for a plain value.
var unstructuredValue = regexp.MustCompile(`got &value\.valueUnstructured\{Value:([^{}]*)\}`)

// quotable removes from the API server's text the values of an object that must not be shown, and whole objects. The API
// server prints a whole object when it refuses a change of it: a Job's template has two thousand characters and may hold
// passwords as well.
func quotable(obj *unstructured.Unstructured, text string, live ...*unstructured.Unstructured) string {
	if manifest.IsSecret(obj) {
		text = got.ReplaceAllString(text, "")
	}
	for _, state := range append([]*unstructured.Unstructured{obj}, live...) {
		if state != nil {
			text = manifest.Redact(state, text)
		}
	}
	text = WithoutDiff(unstructuredValue.ReplaceAllString(text, "got $1"))
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

// diffLines are the lines of the comparison that the API server adds when it refuses a change of a Pod or of a volume:
// they show whole specs, with the passwords of env.
var diffLines = regexp.MustCompile(`(?m)\n(?:[ \t\x{a0}+\-}@…].*)?$`)

// WithoutDiff returns a text without the lines of diffLines.
func WithoutDiff(text string) string { return diffLines.ReplaceAllString(text, "") }

// unauthorized is the API server's text for a request that RBAC forbids: the verb, the resource and its group. Admission
// answers Forbidden too, with its own words.
var unauthorized = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"`)

// AdviseRight adds advice for a request that RBAC forbids.
func AdviseRight(err error) error {
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

// Join joins errors in the order of their texts, so that two runs with the same fault print the same text.
func Join(errs []error) error {
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
